"""`proxy.store.shelf.Shelf` in Redis: a hash for a document, one for its parts, and sorted sets to find them by."""

from collections.abc import Awaitable, Callable, Sequence

from proxy.domain.ids import TenantId
from proxy.store.redis_codec import pair_word
from proxy.store.redis_pipe import Reply
from proxy.store.redis_reads import Link
from proxy.store.shelf import Document

FIELDS = ("tenant", "version", "pending", "created", "content")


class RedisShelf:
    """`script` runs one of the store's scripts, `write` one command."""

    def __init__(
        self, link: Link, script: Callable[..., Awaitable[Reply]], write: Callable[..., Awaitable[Reply]]
    ) -> None:
        self._link = link
        self._script = script
        self._write = write

    async def put(self, document: Document) -> bool:
        said = await self._script(
            "put_document",
            document.kind,
            document.id,
            document.tenant,
            document.version,
            int(document.pending),
            repr(document.created_at),
            document.content,
        )
        return bool(said)

    async def get(self, kind: str, document_id: str) -> Document | None:
        found = await self._documents(kind, [document_id.encode()])
        return found[0] if found else None

    async def page(self, kind: str, tenant: TenantId, *, after: str | None, limit: int) -> list[Document]:
        key = self._link.key("documents", "of", pair_word(tenant, kind))
        start = 0
        if after is not None:
            rank = await self._link.ask("ZREVRANK", key, after)
            if rank is None:
                return []
            start = int(rank) + 1
        return await self._documents(kind, await self._link.ask("ZREVRANGE", key, start, start + limit - 1))

    async def pending(self, kind: str) -> list[Document]:
        return await self._documents(kind, await self._link.ask("ZRANGE", self._sorted("pending", kind), 0, -1))

    async def stale(self, kind: str, *, created_before: float, limit: int) -> list[Document]:
        before = f"({created_before!r}"
        found = await self._link.ask(
            "ZRANGE", self._sorted("ended", kind), "-inf", before, "BYSCORE", "LIMIT", 0, limit
        )
        return await self._documents(kind, found)

    async def remove(self, kind: str, document_id: str) -> None:
        await self._script("remove_document", kind, document_id)

    async def put_part(self, document_id: str, number: int, content: bytes) -> None:
        await self._write("HSET", self._link.key("parts", document_id), number, content)

    async def part(self, document_id: str, number: int) -> bytes | None:
        found: bytes | None = await self._link.ask("HGET", self._link.key("parts", document_id), number)
        return found

    def _sorted(self, which: str, kind: str) -> str:
        return self._link.key("documents", which, kind)

    async def _documents(self, kind: str, ids: Sequence[bytes]) -> list[Document]:
        names = [self._link.key("document", kind, document_id.decode()) for document_id in ids]
        rows = await self._link.ask_all(("HMGET", name, *FIELDS) for name in names)
        return [
            Document(
                kind=kind,
                id=document_id.decode(),
                tenant=TenantId(tenant.decode()),
                version=int(version),
                pending=pending == b"1",
                created_at=float(created),
                content=content,
            )
            for document_id, (tenant, version, pending, created, content) in zip(ids, rows, strict=True)
            if tenant is not None
        ]

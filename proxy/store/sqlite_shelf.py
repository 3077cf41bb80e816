"""`proxy.store.shelf.Shelf` in the tables `documents` and `parts`."""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from proxy.domain.ids import TenantId
from proxy.store.shelf import Document

Result = TypeVar("Result")
_COLUMNS = "kind, id, tenant, version, pending, created_at, content"


class Does(Protocol):
    """Runs work on a connection, elsewhere."""

    def __call__(self, work: Callable[[sqlite3.Connection], Result], /) -> Awaitable[Result]: ...


class SqliteShelf:
    """`write` and `read` are the store's own ways to its connections."""

    def __init__(self, write: Does, read: Does) -> None:
        self._write = write
        self._read = read

    async def put(self, document: Document) -> bool:
        row = (
            document.kind,
            document.id,
            document.tenant,
            document.version,
            document.pending,
            document.created_at,
            document.content,
        )
        return await self._write(lambda db: _put(db, row))

    async def get(self, kind: str, document_id: str) -> Document | None:
        found = await self._read(lambda db: _ask(db, "WHERE kind = ? AND id = ?", kind, document_id))
        return found[0] if found else None

    async def page(self, kind: str, tenant: TenantId, *, after: str | None, limit: int) -> list[Document]:
        where = "WHERE kind = ? AND tenant = ? ORDER BY n DESC LIMIT ?"
        arguments: tuple[object, ...] = (kind, tenant, limit)
        if after is not None:
            where = where.replace("ORDER", "AND n < (SELECT n FROM documents WHERE kind = ? AND id = ?) ORDER")
            arguments = (kind, tenant, kind, after, limit)
        return await self._read(lambda db: _ask(db, where, *arguments))

    async def pending(self, kind: str) -> list[Document]:
        return await self._read(lambda db: _ask(db, "WHERE kind = ? AND pending = 1 ORDER BY n", kind))

    async def stale(self, kind: str, *, created_before: float, limit: int) -> list[Document]:
        where = "WHERE kind = ? AND pending = 0 AND created_at < ? ORDER BY created_at LIMIT ?"
        return await self._read(lambda db: _ask(db, where, kind, created_before, limit))

    async def remove(self, kind: str, document_id: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, document_id))
            db.execute("DELETE FROM parts WHERE document_id = ?", (document_id,))

        await self._write(work)

    async def put_part(self, document_id: str, number: int, content: bytes) -> None:
        row = (document_id, number, content)

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO parts (document_id, number, content) VALUES (?, ?, ?)", row)

        await self._write(work)

    async def part(self, document_id: str, number: int) -> bytes | None:
        def work(db: sqlite3.Connection) -> bytes | None:
            found = db.execute("SELECT content FROM parts WHERE document_id = ? AND number = ?", (document_id, number))
            row = found.fetchone()
            return None if row is None else bytes(row["content"])

        return await self._read(work)


def _put(db: sqlite3.Connection, row: tuple[object, ...]) -> bool:
    kind, document_id, _, version, pending, _, content = row
    if version == 1:
        made = db.execute(f"INSERT OR IGNORE INTO documents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return made.rowcount == 1
    changed = db.execute(
        "UPDATE documents SET version = ?, pending = ?, content = ? WHERE kind = ? AND id = ? AND version = ? - 1",
        (version, pending, content, kind, document_id, version),
    )
    return changed.rowcount == 1


def _ask(db: sqlite3.Connection, where: str, *arguments: object) -> list[Document]:
    return [
        Document(
            kind=row["kind"],
            id=row["id"],
            tenant=TenantId(row["tenant"]),
            version=row["version"],
            pending=bool(row["pending"]),
            created_at=row["created_at"],
            content=bytes(row["content"]),
        )
        for row in db.execute(f"SELECT {_COLUMNS} FROM documents {where}", arguments)
    ]

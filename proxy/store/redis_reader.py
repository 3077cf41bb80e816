"""The shared store, opened only to be read: no member, no lease, and not one key that is written."""

from redis.asyncio import Redis

from proxy.domain.batch import Batch
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.ids import BatchId, RequestId, TenantId
from proxy.domain.money import LedgerRow
from proxy.domain.request import RequestState, RequestView
from proxy.store import redis_reads
from proxy.store.interface import Changes, LedgerTotal
from proxy.store.redis_pipe import Pipe, Script
from proxy.store.redis_reads import Link

SCHEMA_VERSION = 1
_ROWS = Script.read("rows")


class RedisReader:
    """`proxy.store.interface.Reader` in Redis. `start` before use."""

    def __init__(
        self, url: str, clock: Clock, *, namespace: str, patience_seconds: float, reply_seconds: float
    ) -> None:
        self._clock = clock
        self._namespace = namespace
        self._client = Redis.from_url(
            url,
            socket_timeout=reply_seconds,
            socket_connect_timeout=reply_seconds,
            socket_keepalive=True,
            protocol=2,
        )
        self._client.response_callbacks.clear()
        reads = Pipe(self._client, clock, [_ROWS], patience_seconds)
        self._link = Link(reads, "{" + namespace + "}", _ROWS.sha)
        self._batches: tuple[bytes | None, list[Batch]] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._link.space}>"

    async def start(self) -> None:
        self._link.pipe.start()
        try:
            check_schema(await self._link.ask("HGET", self._link.key("meta"), "schema"), self._namespace)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._link.pipe.close()
        with self._clock.hold():
            await self._client.aclose()

    async def get(self, request_id: RequestId, tenant: TenantId | None = None) -> RequestView | None:
        return await redis_reads.get(self._link, request_id, tenant)

    async def list_requests(
        self, tenant: TenantId | None, *, after: RequestId | None, limit: int, state: RequestState | None = None
    ) -> list[RequestView]:
        return await redis_reads.list_requests(self._link, tenant, after=after, limit=limit, state=state)

    async def changes(self, after: int | None) -> Changes:
        return await redis_reads.changes(self._link, after)

    async def open_batches(self) -> list[Batch]:
        version = await self._link.ask("GET", self._link.key("batches", "version"))
        if self._batches is None or self._batches[0] != version:
            ids = await self._link.ask("ZRANGE", self._link.key("batches", "open"), 0, -1)
            self._batches = version, await redis_reads.batches_of(self._link, ids)
        return list(self._batches[1])

    async def closed_batches(self, limit: int) -> list[Batch]:
        ids = await self._link.ask("ZREVRANGE", self._link.key("batches", "closed"), 0, limit - 1)
        return await redis_reads.batches_of(self._link, ids)

    async def batch(self, batch_id: BatchId) -> Batch | None:
        found = await redis_reads.batches_of(self._link, [batch_id.encode()])
        return found[0] if found else None

    async def ledger(self, *, since: float, until: float, tenant: TenantId | None = None) -> list[LedgerTotal]:
        return await redis_reads.ledger(self._link, since=since, until=until, tenant=tenant)

    async def ledger_begins_at(self) -> float | None:
        return await redis_reads.ledger_begins_at(self._link)

    async def ledger_rows(self, request_id: RequestId) -> list[LedgerRow]:
        return await redis_reads.ledger_rows(self._link, request_id)

    async def notes(self, prefix: str) -> dict[str, bytes]:
        return await redis_reads.notes(self._link, prefix)


def check_schema(schema: bytes | None, namespace: str) -> None:
    """Raises `StoreFault` where there is no store, or one that this Standby does not understand."""
    if schema is None:
        raise StoreFault(
            f"this Redis has no store in the namespace {namespace!r}; `standby serve` makes one, --store names another"
        )
    if int(schema) > SCHEMA_VERSION:
        raise StoreFault(f"this store was made by a newer Standby (schema {int(schema)}); upgrade this one")

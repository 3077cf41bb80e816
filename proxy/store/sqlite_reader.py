"""The embedded store, opened only to be read: beside the process that runs on it, or while none does.

Nothing is locked, and nothing in the store is made or changed. Beside a file that nobody has open SQLite makes the two
files of its write-ahead log; they are empty, and the next process takes them over.
"""

import asyncio
import sqlite3
from pathlib import Path
from urllib.parse import quote

from proxy.domain.batch import Batch
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.ids import BatchId, RequestId, TenantId
from proxy.domain.money import LedgerRow
from proxy.domain.request import RequestState, RequestView
from proxy.store import sqlite_reads
from proxy.store.interface import Changes, LedgerTotal
from proxy.store.sqlite_inline import InlineWorker
from proxy.store.sqlite_writer import Worker

SCHEMA_VERSION = 6
"""How many steps `schema/` has: a new file takes them all, an older one those that it lacks."""
BUSY_MILLISECONDS = 5_000


class SqliteReader:
    """`proxy.store.interface.Reader` of one file. `start` before use."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._reader: Worker | InlineWorker | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path} {'open' if self._reader else 'closed'}>"

    async def start(self) -> None:
        with self._clock.hold():
            reading = await asyncio.to_thread(self._open_to_read)
        self._reader = Worker(reading, self._clock, "store reader", grouped=False)

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()

    async def get(self, request_id: RequestId, tenant: TenantId | None = None) -> RequestView | None:
        return await self._reads.do(lambda db: sqlite_reads.get(db, request_id, tenant))

    async def list_requests(
        self, tenant: TenantId | None, *, after: RequestId | None, limit: int, state: RequestState | None = None
    ) -> list[RequestView]:
        return await self._reads.do(lambda db: sqlite_reads.list_requests(db, tenant, after, limit, state))

    async def changes(self, after: int | None) -> Changes:
        return await self._reads.do(lambda db: sqlite_reads.changes(db, after))

    async def open_batches(self) -> list[Batch]:
        return await self._reads.do(sqlite_reads.open_batches)

    async def closed_batches(self, limit: int) -> list[Batch]:
        return await self._reads.do(lambda db: sqlite_reads.closed_batches(db, limit))

    async def batch(self, batch_id: BatchId) -> Batch | None:
        return await self._reads.do(lambda db: sqlite_reads.batch(db, batch_id))

    async def ledger(self, *, since: float, until: float, tenant: TenantId | None = None) -> list[LedgerTotal]:
        return await self._reads.do(lambda db: sqlite_reads.ledger(db, since, until, tenant))

    async def ledger_begins_at(self) -> float | None:
        return await self._reads.do(sqlite_reads.ledger_begins_at)

    async def ledger_rows(self, request_id: RequestId) -> list[LedgerRow]:
        return await self._reads.do(lambda db: sqlite_reads.ledger_rows(db, request_id))

    async def notes(self, prefix: str) -> dict[str, bytes]:
        return await self._reads.do(lambda db: sqlite_reads.notes(db, prefix))

    @property
    def _reads(self) -> Worker | InlineWorker:
        if self._reader is None:
            raise StoreFault("the store is not started")
        return self._reader

    def _open_to_read(self) -> sqlite3.Connection:
        """In a thread: connect, and look whether this is a store that we can read."""
        if not self._path.exists():
            raise StoreFault(f"there is no store at {self._path}; `standby serve` makes one, --store names another")
        try:
            url = f"file:{quote(str(self._path.absolute()))}?mode=ro"
            db = sqlite3.connect(url, uri=True, isolation_level=None, check_same_thread=False)
            db.row_factory = sqlite3.Row
            db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreFault(f"the store {self._path} cannot be read: {error}") from error
        if version != SCHEMA_VERSION:
            db.close()
            raise StoreFault(f"the store {self._path} {_mismatch(version)}")
        return db


def _mismatch(version: int) -> str:
    if version == 0:
        return "is an SQLite file, and no store of Standby"
    if version > SCHEMA_VERSION:
        return f"was made by a newer Standby (schema {version}); upgrade this one"
    return f"was made by an older Standby (schema {version}); `standby serve` brings it up to date when it starts"

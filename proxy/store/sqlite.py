"""The embedded store: one SQLite file in WAL mode, one writer thread with group commit, one reader thread.

Every change is durable when its call returns (`synchronous=FULL`). One process at a time uses a file: a lock beside it,
which the kernel releases whatever happens to the process, keeps a second one out.
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, Line
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId
from proxy.domain.money import LedgerRow
from proxy.domain.moves import Move, MoveResult
from proxy.domain.request import Lane, Queue, Request, RequestView, Waiting
from proxy.store import codec, sqlite_moves, sqlite_reads
from proxy.store.interface import Accepted, Credential, Existing, Heard
from proxy.store.sqlite_inline import InlineWorker
from proxy.store.sqlite_reader import BUSY_MILLISECONDS, SCHEMA_VERSION, SqliteReader
from proxy.store.sqlite_shelf import Result, SqliteShelf
from proxy.store.sqlite_writer import Worker

CHANGES_KEPT = 100_000
"""Whoever has missed more changes than these is told everything."""
_INSERT_REQUEST = f"INSERT INTO requests ({codec.REQUEST}) VALUES ({codec.marks(codec.REQUEST)})"


class SqliteStore(SqliteReader):
    """`proxy.store.interface.Store` in one file. `start` before use.

    `durable` False is for simulations: the same tables and statements, on the caller's thread, and nothing survives.
    """

    def __init__(self, path: Path, clock: Clock, *, durable: bool = True) -> None:
        super().__init__(path, clock)
        self.shared = False
        self.warnings: Sequence[str] = ()
        self.member = "alone"
        self._durable = durable
        self._lock: int | None = None
        self._writer: Worker | InlineWorker | None = None
        self.shelf = SqliteShelf(self._write, self._read)

    async def start(self) -> None:
        with self._clock.hold():
            writing, reading = await asyncio.to_thread(self._open)
        if not self._durable:
            reading.close()
            writing.execute("PRAGMA synchronous = OFF")
            self._writer = self._reader = InlineWorker(writing)
            return
        self._writer = Worker(writing, self._clock, "store writer", grouped=True)
        self._reader = Worker(reading, self._clock, "store reader", grouped=False)

    async def close(self) -> None:
        if self._writer is not None and self._reader is not None:
            await self._reader.close()
            await self._writer.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def deployment(self) -> str:
        return await self._reads.do(sqlite_reads.deployment)

    async def accept(self, request: Request) -> Accepted | Existing:
        row = codec.request_row(request)
        key, tenant = request.idempotency_key, request.tenant

        def work(db: sqlite3.Connection) -> Accepted | Existing:
            existing = None if key is None else sqlite_reads.by_key(db, tenant, key)
            if existing is not None:
                return Existing(existing)
            db.execute(_INSERT_REQUEST, row)
            return Accepted()

        return await self._writes.do(work)

    async def find(self, tenant: TenantId, endpoint: str, fingerprint: bytes) -> list[RequestView]:
        return await self._reads.do(lambda db: sqlite_reads.find(db, tenant, endpoint, fingerprint))

    async def body(self, request_id: RequestId) -> bytes | None:
        return await self._reads.do(lambda db: sqlite_reads.body(db, request_id))

    async def result(self, request_id: RequestId) -> Answer | None:
        return await self._reads.do(lambda db: sqlite_reads.result(db, request_id))

    async def delivered(self, request_ids: Sequence[RequestId], at: float) -> None:
        rows = [(at, request_id) for request_id in request_ids]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("UPDATE requests SET delivered_at = ? WHERE id = ? AND delivered_at IS NULL", rows)

        await self._writes.do(work)

    async def webhooks_due(self, now: float, limit: int) -> list[RequestId]:
        return await self._reads.do(lambda db: sqlite_reads.webhooks_due(db, now, limit))

    async def webhook_again(self, request_id: RequestId, at: float | None) -> None:
        due = "webhook_at IS NOT NULL AND finished_at IS NOT NULL"

        def work(db: sqlite3.Connection) -> None:
            db.execute(f"UPDATE requests SET webhook_at = ? WHERE id = ? AND {due}", (at, request_id))

        await self._writes.do(work)

    async def apply(self, moves: Sequence[Move]) -> list[MoveResult]:
        waiting = [self._writes.do(partial(sqlite_moves.make, move=move)) for move in moves]
        return list(await asyncio.gather(*waiting))

    async def queues_of_batches(self) -> list[Queue]:
        return await self._reads.do(sqlite_reads.queues_of_batches)

    async def lines(self, batch_id: BatchId, *, after: AttemptId | None, limit: int, bodies: bool = True) -> list[Line]:
        return await self._reads.do(lambda db: sqlite_reads.lines(db, batch_id, after, limit, bodies))

    async def live_calls(self) -> list[tuple[Attempt, Waiting]]:
        return await self._reads.do(sqlite_reads.live_calls)

    async def book(self, rows: Sequence[LedgerRow]) -> None:
        content = codec.ledger_rows_json(rows)
        await self._writes.do(lambda db: sqlite_moves.book_all(db, content))

    async def save_credential(self, credential: Credential) -> None:
        row = (credential.id, credential.sealed)

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO credentials (id, sealed) VALUES (?, ?)", row)

        await self._writes.do(work)

    async def credential(self, credential_id: CredentialId) -> Credential | None:
        return await self._reads.do(lambda db: sqlite_reads.credential(db, credential_id))

    async def save_note(self, name: str, content: bytes) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO notes (name, content) VALUES (?, ?)", (name, content))

        await self._writes.do(work)

    async def lease(self, lanes: Sequence[Lane], seconds: float) -> set[Lane]:
        del seconds  # the lock on the file is a lease of everything
        return set(lanes)

    async def release(self, lanes: Sequence[Lane]) -> None:
        del lanes

    async def attend(self, post: bytes, seconds: float) -> dict[str, bytes]:
        del seconds
        return {self.member: post}

    async def returned(self, request_id: RequestId) -> None:
        del request_id

    async def watch(self, heard: Callable[[Heard], None]) -> None:
        del heard

    async def sweep(self, *, now: float, retention_seconds: float, limit: int) -> int:
        return await self._writes.do(lambda db: _sweep(db, now, retention_seconds, limit))

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._writes.do(work)

    async def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._reads.do(work)

    @property
    def _writes(self) -> Worker | InlineWorker:
        if self._writer is None:
            raise StoreFault("the store is not started")
        return self._writer

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        """In a thread: lock the file, make or check its schema, connect twice."""
        try:
            self._lock = _lock(self._path)
            writing = _connect(self._path)
            _prepare(writing, self._path)
            return writing, _connect(self._path)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreFault(f"the store {self._path} cannot be used: {reason}") from error


def _lock(path: Path) -> int:
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StoreFault(
            f"the store {path} is in use by another process; stop that one, or give this one another --store"
        ) from error
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA cache_size = -65536")
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreFault(f"the store {path} was made by a newer Standby (schema {version}); upgrade this one")
    made = f"INSERT INTO meta (name, value) VALUES ('deployment', '{secrets.token_hex(4)}');"
    steps = files("proxy.store") / "schema"
    for step in range(version + 1, SCHEMA_VERSION + 1):
        text = (steps / f"{step}.sql").read_text(encoding="utf-8") + (made if step == 1 else "")
        db.executescript(f"BEGIN IMMEDIATE; {text} PRAGMA user_version = {step}; COMMIT;")


def _sweep(db: sqlite3.Connection, now: float, retention_seconds: float, limit: int) -> int:
    """Delete final requests whose attempts are all dead, and closed batches that no attempt speaks of any more."""
    finished_before = now - retention_seconds
    rows = db.execute(
        "SELECT n FROM requests WHERE ((retention IS NULL AND finished_at < ?) "
        "OR (retention IS NOT NULL AND finished_at IS NOT NULL AND finished_at + retention < ?)) "
        "AND NOT EXISTS (SELECT 1 FROM attempts WHERE request_n = requests.n "
        "AND attempts.state IN ('written', 'sent')) LIMIT ?",
        (finished_before, now, limit),
    ).fetchall()
    gone = [(row["n"],) for row in rows]
    db.executemany("DELETE FROM attempts WHERE request_n = ?", gone)
    db.executemany("DELETE FROM requests WHERE n = ?", gone)
    db.execute(
        "DELETE FROM batches WHERE closed_at < ? AND NOT EXISTS "
        "(SELECT 1 FROM attempts WHERE batch_id = batches.id AND attempts.state IN ('written', 'sent'))",
        (finished_before,),
    )
    db.execute("DELETE FROM changes WHERE n <= (SELECT max(n) FROM changes) - ?", (CHANGES_KEPT,))
    return len(gone)

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.domain.errors import StoreFault
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite_inline import UNITS_PER_TRANSACTION, InlineWorker
from tests.store.samples import accepted, in_flight, request


def play(story: Callable[[InlineWorker, sqlite3.Connection], Awaitable[None]]) -> None:
    async def whole() -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("CREATE TABLE numbers (n INTEGER UNIQUE)")
        worker = InlineWorker(connection)
        await story(worker, connection)
        await worker.close()

    asyncio.run(whole())


def insert(*numbers: int) -> Callable[[sqlite3.Connection], None]:
    def work(db: sqlite3.Connection) -> None:
        for number in numbers:
            db.execute("INSERT INTO numbers VALUES (?)", (number,))

    return work


def count(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT count(*) FROM numbers").fetchone()[0]
    return found


def test_a_unit_that_fails_takes_back_its_own_changes_and_no_others() -> None:
    async def story(worker: InlineWorker, _: sqlite3.Connection) -> None:
        await worker.do(insert(1))
        with pytest.raises(StoreFault, match="UNIQUE"):
            await worker.do(insert(2, 1))
        await worker.do(insert(3))
        assert await worker.do(count) == 2

    play(story)


def test_work_is_committed_now_and_then() -> None:
    async def story(worker: InlineWorker, connection: sqlite3.Connection) -> None:
        for number in range(UNITS_PER_TRANSACTION):
            assert connection.in_transaction is (number > 0)
            await worker.do(insert(number))
        assert not connection.in_transaction

    play(story)


def test_a_closed_worker_does_nothing_more() -> None:
    async def story(worker: InlineWorker, _: sqlite3.Connection) -> None:
        await worker.close()
        with pytest.raises(StoreFault, match="closed"):
            await worker.do(insert(1))

    play(story)


def test_a_store_that_need_not_be_durable_does_the_same_without_a_thread(tmp_path: Path) -> None:
    async def whole() -> None:
        store = SqliteStore(tmp_path / "simulated.db", SystemClock(), durable=False)
        await store.start()
        one = request()
        await accepted(store, one)
        made, _ = await in_flight(store, request())
        assert {waiting.id for waiting in (await store.changes(None)).waiting} >= {one.id}
        assert [batch.id for batch in await store.open_batches()] == [made.id]
        await store.close()
        await store.close()

    asyncio.run(whole())
    assert sqlite3.connect(tmp_path / "simulated.db").execute("SELECT count(*) FROM requests").fetchone() == (2,)

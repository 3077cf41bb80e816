"""What is Redis's own about reading: not a key is written, and rows that have ended leave their sums."""

import asyncio
from pathlib import Path

import pytest

from proxy.domain.errors import StoreFault
from proxy.runtime.clock import SystemClock
from proxy.store.redis import RedisStore, Settings
from proxy.store.redis_reader import RedisReader
from tests.conftest import Servers
from tests.store.samples import call_for, ledger, request
from tests.store.test_reader import QUESTIONS, _fill


def _reader(url: str, namespace: str, patience_seconds: float = 3.0) -> RedisReader:
    return RedisReader(url, SystemClock(), namespace=namespace, patience_seconds=patience_seconds, reply_seconds=5.0)


def test_reading_writes_no_key(tmp_path: Path, shared_redis: Servers) -> None:
    server = shared_redis("valkey")
    namespace = tmp_path.as_posix()

    async def whole() -> None:
        store = RedisStore(Settings(server.url, namespace), SystemClock())
        await store.start()
        await _fill(store)
        before = await store._link.ask("INFO", "persistence")
        reader = _reader(server.url, namespace)
        await reader.start()
        for ask in QUESTIONS.values():
            await ask(reader)
        await reader.close()
        assert _writes(await store._link.ask("INFO", "persistence")) == _writes(before)
        await store.close()

    asyncio.run(whole())


def _writes(info: bytes) -> str:
    """How many changes the server has counted."""
    (line,) = [line for line in info.decode().splitlines() if line.startswith("rdb_changes_since_last_save")]
    return line


def test_an_hour_whose_rows_have_ended_is_counted_whole_where_it_begins(tmp_path: Path, shared_redis: Servers) -> None:
    server = shared_redis("valkey")
    namespace = tmp_path.as_posix()

    async def whole() -> None:
        store = RedisStore(Settings(server.url, namespace), SystemClock())
        await store.start()
        rows = [ledger(call_for(request()), booked_at=7200.0 + minute * 60) for minute in (10, 50)]
        await store.book(rows)
        halves = [(0.0, 9000.0), (9000.0, 99999.0)]
        assert [sum(t.rows for t in await store.ledger(since=a, until=b)) for a, b in halves] == [1, 1]
        await store._writes.do("DEL", store._link.key("ledger", "hour", "2"))
        assert [sum(t.rows for t in await store.ledger(since=a, until=b)) for a, b in halves] == [2, 0]
        assert await store.ledger_begins_at() == 7200.0
        await store.close()

    asyncio.run(whole())


def test_a_redis_that_is_not_there_is_one_line() -> None:
    with pytest.raises(StoreFault, match="cannot be reached") as caught:
        asyncio.run(_reader("redis://127.0.0.1:1/0", "standby", patience_seconds=0.2).start())
    assert "\n" not in str(caught.value)

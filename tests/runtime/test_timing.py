import asyncio
from pathlib import Path

import pytest

from proxy.domain.errors import StoreFault
from proxy.runtime.clock import SystemClock
from proxy.runtime.timing import OPERATIONS, time_store
from proxy.store.sqlite import SqliteStore


def test_everything_that_is_asked_of_a_store_is_an_operation() -> None:
    assert {"accept", "apply", "changes", "book", "lease", "sweep"} <= set(OPERATIONS)
    assert not {"start", "close", "watch", "shelf", "member"} & set(OPERATIONS)


def test_each_call_tells_what_it_took_and_a_fault_is_told_apart(tmp_path: Path) -> None:
    async def story() -> None:
        took: list[tuple[str, float]] = []
        failed: list[str] = []
        clock = SystemClock()
        store = SqliteStore(tmp_path / "standby.db", clock)
        time_store(store, clock, lambda operation, seconds: took.append((operation, seconds)), failed.append)
        await store.start()
        await store.save_note("a note", b"text")
        assert await store.notes("a ") == {"a note": b"text"}
        await store.close()
        with pytest.raises(StoreFault):
            await store.open_batches()
        assert [operation for operation, _ in took] == ["save_note", "notes"]
        assert all(0 <= seconds < 5 for _, seconds in took)
        assert failed == ["open_batches"]

    asyncio.run(story())

"""What is SQLite's own: one process at a time, a file that can be wrong, a disk that can be full, kill -9."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from proxy.domain.errors import StoreFault
from proxy.domain.ids import RequestId
from proxy.runtime.clock import SystemClock
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite_reader import SCHEMA_VERSION
from tests.store.samples import ALICE, accepted, request

ACCEPTOR = """
import asyncio, sys
from pathlib import Path
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from tests.store.samples import request

async def accept_for_ever(store, worker):
    number = 0
    while True:
        name = f"req-{worker}-{number}"
        await store.accept(request(name))
        print(name, flush=True)
        number += 1

async def main():
    store = SqliteStore(Path(sys.argv[1]), SystemClock())
    await store.start()
    await asyncio.gather(*(accept_for_ever(store, worker) for worker in range(8)))

asyncio.run(main())
"""


def _with_store(path: Path, story: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = SqliteStore(path, SystemClock())
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def _refusal(path: Path) -> str:
    async def start() -> None:
        await SqliteStore(path, SystemClock()).start()

    with pytest.raises(StoreFault) as caught:
        asyncio.run(start())
    return str(caught.value)


async def _nothing(_store: SqliteStore) -> None:
    return


def test_a_second_process_is_kept_out_and_told_which_file(tmp_path: Path) -> None:
    async def story(_store: SqliteStore) -> None:
        other = SqliteStore(tmp_path / "a.db", SystemClock())
        with pytest.raises(StoreFault, match=r"a\.db is in use by another process"):
            await other.start()
        await other.close()

    _with_store(tmp_path / "a.db", story)
    _with_store(tmp_path / "a.db", _nothing)


def test_a_store_of_a_newer_standby_is_left_alone(tmp_path: Path) -> None:
    _with_store(tmp_path / "a.db", _nothing)
    db = sqlite3.connect(tmp_path / "a.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert "newer Standby (schema 99)" in _refusal(tmp_path / "a.db")


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_store_of_an_older_standby_is_brought_up_to_date_with_what_is_in_it(tmp_path: Path, version: int) -> None:
    async def after(store: SqliteStore) -> None:
        assert await store.deployment() == "old"
        assert [row.paid_usd for row in await store.ledger_rows(RequestId("req-old"))] == [Decimal(2)]
        await store.accept(request("req-new", webhook="https://a.example"))
        view = await store.get(RequestId("req-new"))
        assert view is not None
        assert view.webhook == "https://a.example"

    db = sqlite3.connect(tmp_path / "a.db")
    for step in range(1, version + 1):
        db.executescript((files("proxy.store") / "schema" / f"{step}.sql").read_text())
    db.executescript(f"""
        INSERT INTO meta (name, value) VALUES ('deployment', 'old');
        INSERT INTO ledger
            (id, request_id, tenant, upstream, endpoint, model, policy, tier, kind, status, booked_at, paid)
            VALUES ('a', 'req-old', 't', 'u', '/v1', 'm', 'default', 'batch', 'primary', 200, 5.0, 2000000000000);
        PRAGMA user_version = {version};
    """)
    db.close()
    _with_store(tmp_path / "a.db", after)


def test_a_file_that_is_no_database_and_a_folder_that_is_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary, " * 100)
    assert "notes.txt cannot be used: file is not a database" in _refusal(tmp_path / "notes.txt")
    assert "No such file or directory" in _refusal(tmp_path / "nowhere" / "a.db")


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    modes: dict[str, int] = {}

    def files() -> list[Path]:
        return list(tmp_path.iterdir())

    async def story(store: SqliteStore) -> None:
        await accepted(store, request())
        modes.update({file.name: file.stat().st_mode & 0o777 for file in files()})

    _with_store(tmp_path / "a.db", story)
    assert {"a.db", "a.db-wal", "a.db.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_closing_twice_is_fine_and_leaves_no_thread(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        assert {"store writer", "store reader"} <= {thread.name for thread in threading.enumerate()}
        await store.close()
        with pytest.raises(StoreFault, match="closed"):
            await store.open_batches()

    _with_store(tmp_path / "a.db", story)
    assert not {"store writer", "store reader"} & {thread.name for thread in threading.enumerate()}


def test_a_store_that_was_not_started_says_so() -> None:
    with pytest.raises(StoreFault, match="not started"):
        asyncio.run(SqliteStore(Path("never.db"), SystemClock()).open_batches())


def test_a_full_disk_fails_the_writers_writes_nothing_by_halves_and_heals(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        writer = store._writes
        pages = await writer.do(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0]))
        await store._writes.do(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 8}").fetchone()[0])
        too_large = [request(body=b"x" * 40_000) for _ in range(5)]
        results = await asyncio.gather(*(store.accept(one) for one in too_large), return_exceptions=True)
        failed = [one for one, result in zip(too_large, results, strict=True) if isinstance(result, StoreFault)]
        assert failed
        assert all("full" in str(result) for result in results if isinstance(result, StoreFault))
        for one in failed:
            assert await store.get(one.id) is None
        await writer.do(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone()[0])
        (healed,) = await accepted(store, request())
        assert await store.get(healed.id) is not None

    _with_store(tmp_path / "a.db", story)


def test_a_unit_that_fails_takes_none_of_its_group_with_it(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        twice = request()
        others = [request() for _ in range(20)]
        results = await asyncio.gather(
            *(store.accept(one) for one in (twice, *others[:10], twice, *others[10:])), return_exceptions=True
        )
        assert sum(isinstance(result, StoreFault) for result in results) == 1
        assert len(await store.list_requests(ALICE, after=None, limit=100)) == 21

    _with_store(tmp_path / "a.db", story)


def test_a_caller_that_gives_up_does_not_break_the_writer(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        one = request()
        impatient = asyncio.gather(store.accept(one))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        (two,) = await accepted(store, request())
        assert await store.get(two.id) is not None

    _with_store(tmp_path / "a.db", story)


def test_virtual_time_stands_still_while_the_database_works(tmp_path: Path) -> None:
    async def story() -> None:
        clock = LoopClock()
        store = SqliteStore(tmp_path / "a.db", clock)
        await store.start()
        began = clock.now()
        async with asyncio.timeout(5.0):
            await accepted(store, *(request() for _ in range(50)))
        assert clock.now() == began
        await store.close()

    run(story(), start_at=1_800_000_000.0)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ACCEPTOR, tmp_path / "a.db"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(500)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += [line.strip() for line in process.stdout.readlines() if line.endswith("\n")]
    process.wait()
    process.stdout.close()

    async def story(store: SqliteStore) -> None:
        for name in acknowledged:
            assert await store.get(RequestId(name)) is not None, name

    assert len(acknowledged) >= 500
    _with_store(tmp_path / "a.db", story)

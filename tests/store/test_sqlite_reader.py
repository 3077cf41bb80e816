"""What is SQLite's own about reading: files that are missing, strange or of another version, and what is left."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.domain.errors import StoreFault
from proxy.domain.ids import RequestId
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite_reader import SCHEMA_VERSION, SqliteReader
from tests.store.samples import accepted, request

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from tests.store.samples import request

async def main():
    store = SqliteStore(Path(sys.argv[1]), SystemClock())
    await store.start()
    await store.accept(request("req-kept"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def _make(path: Path) -> None:
    async def whole() -> None:
        store = SqliteStore(path, SystemClock())
        await store.start()
        await accepted(store, request("req-1"))
        await store.close()

    asyncio.run(whole())


def _has(path: Path, name: str) -> bool:
    async def whole() -> bool:
        reader = SqliteReader(path, SystemClock())
        await reader.start()
        try:
            return await reader.get(RequestId(name)) is not None
        finally:
            await reader.close()

    return asyncio.run(whole())


def _refusal(path: Path) -> str:
    with pytest.raises(StoreFault) as caught:
        asyncio.run(SqliteReader(path, SystemClock()).start())
    return str(caught.value)


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    assert "there is no store at " in _refusal(tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (0, "no store of Standby"),
        (SCHEMA_VERSION - 1, "older Standby"),
        (SCHEMA_VERSION + 1, "newer Standby"),
    ],
)
def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path, version: int, said: str) -> None:
    _make(tmp_path / "a.db")
    db = sqlite3.connect(tmp_path / "a.db")
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    before = (tmp_path / "a.db").read_bytes()
    assert said in _refusal(tmp_path / "a.db")
    assert (tmp_path / "a.db").read_bytes() == before


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary, " * 100)
    assert "notes.txt cannot be read: file is not a database" in _refusal(tmp_path / "notes.txt")
    (tmp_path / "empty.db").touch()
    assert "no store of Standby" in _refusal(tmp_path / "empty.db")
    assert "cannot be read" in _refusal(tmp_path)


def test_a_file_is_read_without_a_lock_and_without_a_byte_of_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "odd name?#%.db"
    _make(path)
    (tmp_path / f"{path.name}.lock").unlink()
    before = path.read_bytes()
    assert _has(path, "req-1")
    assert path.read_bytes() == before
    left = {file.name: file.stat().st_size for file in tmp_path.iterdir()} | {path.name: 0}
    assert left.pop(path.name + "-shm", 0) >= 0
    assert set(left.values()) == {0}
    _make(path.with_name("b.db"))


def test_what_a_killed_process_has_left_in_the_write_ahead_log_is_read(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.db")], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.db-wal").stat().st_size > 0
    assert _has(tmp_path / "a.db", "req-kept")
    _make(tmp_path / "a.db")
    assert _has(tmp_path / "a.db", "req-1")


def test_nothing_can_be_written_through_it(tmp_path: Path) -> None:
    _make(tmp_path / "a.db")

    async def whole() -> None:
        reader = SqliteReader(tmp_path / "a.db", SystemClock())
        await reader.start()
        try:
            with pytest.raises(StoreFault, match="readonly"):
                await reader._reads.do(lambda db: db.execute("DELETE FROM requests"))
        finally:
            await reader.close()

    asyncio.run(whole())

"""The commands that look at a store: which store they take, and one clear line where there is nothing to see."""

import asyncio
import json
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.runtime.clock import SystemClock
from proxy.store.redis import RedisStore, Settings
from proxy.store.sqlite import SqliteStore
from tests.conftest import Servers
from tests.report.conftest import row

COMMANDS = ("report", "requests", "batches", "top")
JUNE = 1_750_000_000.0
"""2025-06-15 15:06 UTC."""
SINCE = ("--since", "2025-06-01", "--until", "2025-06-30")


def _standby(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> Result:
    with chdir(folder):
        return CliRunner().invoke(main, arguments, env=environ)


def _make(path: Path) -> None:
    async def whole() -> None:
        store = SqliteStore(path, SystemClock())
        await store.start()
        await store.book([row(at=JUNE)])
        await store.close()

    asyncio.run(whole())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    assert "--store" in shown.output


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 1, "there is no store at standby.db"),
        (("--store", "sqlite:folder/a.db"), 1, "there is no store at folder/a.db"),
        (("--store", "redis://127.0.0.1:1/0", "--config", "fast.yaml"), 1, "cannot be reached"),
        (("--store", "mysql://x"), 2, "sqlite:PATH"),
        (("--config", "nowhere.yaml"), 2, "nowhere.yaml cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_where_there_is_no_store_one_line_says_so_and_none_is_made(
    tmp_path: Path, command: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "fast.yaml").write_text("store: {patience: 0.2s}\n")
    done = _standby(command, *arguments, folder=tmp_path)
    assert done.exit_code == code
    assert done.output.startswith("standby: ")
    assert done.output.count("\n") == 1
    assert said in done.output
    assert [file.name for file in tmp_path.iterdir()] == ["fast.yaml"]


def test_one_thing_is_no_list(tmp_path: Path) -> None:
    _make(tmp_path / "standby.db")
    for command in ("requests", "batches"):
        done = _standby(command, "req-1", "--format", "csv", folder=tmp_path)
        assert (done.exit_code, done.output.count("\n")) == (2, 1)
        done = _standby(command, "req-1", folder=tmp_path)
        assert done.exit_code == 1
        assert "or not any more" in done.output


@pytest.mark.parametrize(
    ("by", "said"),
    [("week", "any of day, month, tenant"), ("day,day", "once at most"), (",", "one at least")],
)
def test_dimensions_that_cannot_be_meant_are_refused(tmp_path: Path, by: str, said: str) -> None:
    _make(tmp_path / "standby.db")
    done = _standby("report", "--by", by, folder=tmp_path)
    assert done.exit_code == 2
    assert said in done.output


def test_the_store_is_the_one_that_serve_would_take(tmp_path: Path) -> None:
    """Command line over environment over file; and no upstream's key is asked for."""
    for name in ("said", "set", "configured"):
        (tmp_path / name).mkdir()
        _make(tmp_path / name / "a.db")
    config = "store: {url: 'sqlite:configured/a.db'}\nupstreams: [{api_key_env: A_KEY_THAT_IS_NOT_SET}]\n"
    (tmp_path / "config.yaml").write_text(config)
    environ = {"STANDBY_STORE": "sqlite:set/a.db"}
    (tmp_path / "configured" / "a.db").unlink()
    assert "configured/a.db" in _standby("report", *SINCE, folder=tmp_path).output
    assert _standby("report", *SINCE, folder=tmp_path, environ=environ).exit_code == 0
    (tmp_path / "set" / "a.db").unlink()
    assert "set/a.db" in _standby("report", *SINCE, folder=tmp_path, environ=environ).output
    said = _standby("report", *SINCE, "--store", "sqlite:said/a.db", folder=tmp_path, environ=environ)
    assert "2025-06-15" in said.output


def test_a_redis_is_read_as_a_file_is(tmp_path: Path, shared_redis: Servers) -> None:
    server = shared_redis("valkey")

    async def whole() -> None:
        store = RedisStore(Settings(server.url, "looked-at"), SystemClock())
        await store.start()
        await store.book([row(at=JUNE)])
        await store.close()

    asyncio.run(whole())
    (tmp_path / "config.yaml").write_text("store: {namespace: looked-at}\ntimezone: Asia/Tokyo\n")
    done = _standby("report", *SINCE, "--format", "json", "--store", server.url, folder=tmp_path)
    read = json.loads(done.output)
    assert (read["timezone"], read["total"]["paid_usd"]) == ("Asia/Tokyo", "1")
    (tmp_path / "config.yaml").write_text("store: {namespace: nobody}\n")
    refused = _standby("report", "--store", server.url, folder=tmp_path)
    assert "has no store in the namespace 'nobody'" in refused.output

"""The commands that look at a store: which store they take, and one clear line where there is nothing to see."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.runtime.clock import SystemClock
from proxy.store.redis import RedisStore, Settings
from proxy.store.sqlite import SqliteStore
from tests.conftest import Servers
from tests.report.conftest import row

COMMANDS = ("report",)
JUNE = 1_750_000_000.0
"""2025-06-15 15:06 UTC."""
SINCE = ("--since", "2025-06-01", "--until", "2025-06-30")


def _standby(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=folder,
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


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
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("standby: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["fast.yaml"]


@pytest.mark.parametrize(
    ("by", "said"),
    [("week", "any of day, month, tenant"), ("day,day", "once at most"), (",", "one at least")],
)
def test_dimensions_that_cannot_be_meant_are_refused(tmp_path: Path, by: str, said: str) -> None:
    _make(tmp_path / "standby.db")
    done = _standby("report", "--by", by, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_store_is_the_one_that_serve_would_take(tmp_path: Path) -> None:
    """Command line over environment over file; and no upstream's key is asked for."""
    for name in ("said", "set", "configured"):
        (tmp_path / name).mkdir()
        _make(tmp_path / name / "a.db")
    config = "store: {url: 'sqlite:configured/a.db'}\nupstreams: [{api_key_env: A_KEY_THAT_IS_NOT_SET}]\n"
    (tmp_path / "config.yaml").write_text(config)
    environ = {"STANDBY_STORE": "sqlite:set/a.db"}
    (tmp_path / "configured" / "a.db").unlink()
    assert "configured/a.db" in _standby("report", *SINCE, folder=tmp_path).stderr
    assert _standby("report", *SINCE, folder=tmp_path, environ=environ).returncode == 0
    (tmp_path / "set" / "a.db").unlink()
    assert "set/a.db" in _standby("report", *SINCE, folder=tmp_path, environ=environ).stderr
    said = _standby("report", *SINCE, "--store", "sqlite:said/a.db", folder=tmp_path, environ=environ)
    assert "2025-06-15" in said.stdout


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
    read = json.loads(done.stdout)
    assert (read["timezone"], read["total"]["paid_usd"]) == ("Asia/Tokyo", "1")
    (tmp_path / "config.yaml").write_text("store: {namespace: nobody}\n")
    refused = _standby("report", "--store", server.url, folder=tmp_path)
    assert "has no store in the namespace 'nobody'" in refused.stderr

"""Real processes behind one address."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from proxy.config.settings import Config
from proxy.domain.errors import ConfigFault
from proxy.runtime.workers import listen
from proxy.server.settings import Settings
from tests.conftest import Servers
from tests.processes import Running, start, stop

WORKERS = 3


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody has; other tests look at the same time, so anywhere."""
    for first in random.sample(range(20_000, 32_000, 17), 500):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@contextmanager
def house(shared_redis: Servers, tmp_path: Path) -> Iterator[Running]:
    store = f"store: {{url: '{shared_redis('valkey').url}', namespace: '{tmp_path.as_posix()}'}}\n"
    (tmp_path / "config.yaml").write_text(store)
    port = str(free_ports(WORKERS + 1))
    running = start("serve", "--workers", str(WORKERS), "--port", port, folder=tmp_path)
    try:
        yield running
    finally:
        code = stop(running)
        assert code in {0, -signal.SIGKILL}


def processes(parent: int) -> list[int]:
    """The workers of a watching process."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def until_all_are_there(running: Running) -> list[int]:
    give_up_at = time.monotonic() + 15
    while time.monotonic() < give_up_at:
        with suppress(urllib.error.URLError):  # one that is started again does not listen yet
            metrics = [page(f"http://127.0.0.1:{running.port + 1 + n}/metrics") for n in range(WORKERS)]
            if all(f"standby_replicas {WORKERS}.0" in text for text in metrics):
                return processes(running.process.pid)
        time.sleep(0.1)
    raise AssertionError("the workers did not find each other")


@pytest.mark.timeout(90)
def test_workers_share_an_address_and_one_that_dies_is_replaced(shared_redis: Servers, tmp_path: Path) -> None:
    with house(shared_redis, tmp_path) as running:
        first = until_all_are_there(running)
        assert len(first) == WORKERS
        os.kill(first[0], signal.SIGKILL)
        answered = Counter(page(running.url + "/healthz") for _ in range(50))
        assert answered == {'{"status":"ok"}': 50}
        time.sleep(1.5)
        again = until_all_are_there(running)
        assert len(again) == WORKERS
        assert len(set(first) & set(again)) == WORKERS - 1
        assert stop(running) == 0
        assert not [pid for pid in again if Path(f"/proc/{pid}").exists()]
    assert "ended with -9 and is started again" in (tmp_path / "serve.log").read_text()


@pytest.mark.timeout(60)
def test_workers_stop_when_nobody_watches_over_them_any_more(
    shared_redis: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with house(shared_redis, tmp_path) as running:
        assert list(tmp_path.glob("standby-*/*.sock")), "where they meet"
        workers = processes(running.process.pid)
        running.kill()
        give_up_at = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < give_up_at:
            time.sleep(0.1)
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        assert not list(tmp_path.glob("standby-*/*.sock"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--workers 2 needs a store that processes can share"),
        (("--store", "redis://127.0.0.1:1/0"), 1, "the store cannot be reached"),
    ],
)
def test_workers_that_cannot_begin_say_why_and_end(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    command = [sys.executable, "-m", "proxy", "serve", "--workers", "2", "--port", "0", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


def test_an_address_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigFault, match=f"cannot listen on 127.0.0.1:{port}"):
            listen(Config(server=Settings(port=port)))

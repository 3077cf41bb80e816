"""Standby and the emulator as real processes on real time, a provider day lasting about two minutes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FAST_CONFIG = """
planner: {flex_under: 6s, batches: {prior_median: 3s, half_life_slow: 60s, half_life_fast: 15s, horizon: 120s}}
batching:
  tick: 0.05s
  look: 0.5s
  backoff: 0.2s
  backoff_max: 2s
  settle: 1s
  catch_up: 1.5s
  cut: {age: 0.5s, age_share: 0.1, deadline_near: 5s}
  poll: {min: 0.2s, max: 1s, closing: 0.2s, deadline_lead: 2s}
  escalate: {margin: 1.5s, service: 0.5s, cancel_lead: 1s, cancel_notice: 1s}
  flex: {lead: 1s, least: 0.2s}
"""
START_SECONDS = 20.0
_URL = re.compile(r"http://[0-9.]+:\d+")


@dataclass
class Running:
    """A started process, and the address that it said it listens on."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """kill -9: no word of farewell."""
        self.process.kill()
        self.process.wait(timeout=10)


def start(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> Running:
    """`standby ...` in a folder, waited for until it says where it listens."""
    log = (folder / f"{arguments[0]}.log").open("a")
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=folder,
        env=os.environ | (environ or {}),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    log.close()
    assert process.stdout is not None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = _URL.search(process.stdout.readline())
        if found is not None:
            return Running(process, found[0])
        if process.poll() is not None:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    raise AssertionError(f"standby {arguments[0]} did not start: {(folder / f'{arguments[0]}.log').read_text()}")


def stop(running: Running) -> int:
    """SIGTERM, and the exit code."""
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
    try:
        code = running.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        running.process.kill()
        raise
    finally:
        if running.process.stdout is not None:
            running.process.stdout.close()
    return code


@contextmanager
def emulator(folder: Path, *options: str) -> Iterator[Running]:
    running = start("emulate", "--port", "0", "--time-scale", "600", *options, folder=folder)
    try:
        yield running
    finally:
        stop(running)


def serve(
    folder: Path,
    provider: Running,
    *options: str,
    config: str = FAST_CONFIG,
    environ: dict[str, str] | None = None,
) -> Running:
    """`standby serve` in front of an emulator, with its store and its configuration in a folder."""
    (folder / "config.yaml").write_text(config)
    return start("serve", "--upstream", provider.url + "/v1", *options, folder=folder, environ=environ)


@contextmanager
def standby(folder: Path, provider: Running, *options: str, config: str = FAST_CONFIG) -> Iterator[Running]:
    running = serve(folder, provider, *(options or ("--port", "0")), config=config)
    try:
        yield running
    finally:
        stop(running)


def until_paused(pid: int) -> None:
    """Wait until a process has been stopped by a failpoint."""
    give_up_at = time.monotonic() + 20
    while "T (stopped)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < give_up_at, "was never paused"
        time.sleep(0.05)

"""One page of metrics for all workers behind an address, while one of them is killed: real processes, a real store."""

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.conftest import Servers
from tests.processes import FAST_CONFIG, Running, emulator, serve, stop
from tests.prometheus import promtool
from tests.runtime.test_workers import WORKERS, free_ports, page, processes

pytestmark = pytest.mark.timeout(120)
Sums = dict[str, float]


@contextmanager
def house(shared_redis: Servers, folder: Path) -> Iterator[Running]:
    store = f"store: {{url: '{shared_redis('valkey').url}', namespace: '{folder.as_posix()}'}}\n"
    port = str(free_ports(WORKERS + 1))
    with emulator(folder, "--time-scale", "1") as provider:
        running = serve(folder, provider, "--workers", str(WORKERS), "--port", port, config=store + FAST_CONFIG)
        try:
            yield running
        finally:
            stop(running)


def sums(url: str) -> Sums:
    """Every family's samples, added up over their labels."""
    added: Sums = {}
    for family in parse_text(page(url + "/metrics")):
        for sample in family.samples:
            added[sample.name] = added.get(sample.name, 0.0) + sample.value
    return added


def until(url: str, name: str, value: float) -> Sums:
    give_up_at = time.monotonic() + 20
    while (seen := sums(url))[name] != value:
        assert time.monotonic() < give_up_at, f"{name} is {seen[name]}, not {value}"
        time.sleep(0.1)
    return seen


def ask(running: Running, times: int, headers: dict[str, str] | None = None) -> None:
    """Each call over a connection of its own: whichever worker is faster accepts it."""
    for number in range(times):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"call {number}"}]}
        said = {"Authorization": "Bearer sk-alice"} | (headers or {})
        answer = httpx.post(running.url + "/v1/chat/completions", json=body, headers=said, timeout=30)
        assert answer.status_code in {200, 202}, answer.text


def workers(running: Running) -> list[str]:
    return [f"http://127.0.0.1:{running.port + 1 + number}" for number in range(WORKERS)]


def test_the_common_address_tells_of_all_workers_and_never_takes_a_count_back(
    shared_redis: Servers, tmp_path: Path
) -> None:
    with house(shared_redis, tmp_path) as running:
        ask(running, 60)
        seen = until(running.url, "standby_requests_total", 60)
        assert seen["standby_request_duration_seconds_count"] == 60
        alone = [sums(url).get("standby_requests_total", 0) for url in workers(running)]
        assert sum(alone) == 60
        victim = alone.index(max(alone))
        os.kill(worker_pid(running, victim), signal.SIGKILL)
        told = watched(running.url, for_seconds=4.0)
        assert told == [60.0] * len(told)
        ask(running, 30)
        until(running.url, "standby_requests_total", 90)
        assert sum(sums(url).get("standby_requests_total", 0) for url in workers(running)) < 90, "one began anew"


def watched(url: str, for_seconds: float) -> list[float]:
    """What the page says of finished requests, again and again."""
    told, ends_at = [], time.monotonic() + for_seconds
    while time.monotonic() < ends_at:
        told.append(sums(url)["standby_requests_total"])
        time.sleep(0.05)
    return told


def worker_pid(running: Running, number: int) -> int:
    """The process that listens at the worker's own address."""
    inode = next(
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{running.port + 1 + number:04X}") and line.split()[3] == "0A"
    )
    for pid in processes(running.process.pid):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if descriptor.is_symlink() and str(descriptor.readlink()) == f"socket:[{inode}]":
                return pid
    raise AssertionError(f"no worker {number}")


def test_what_is_waiting_is_told_once_and_what_is_everywhere_the_same_is_not_doubled(
    shared_redis: Servers, tmp_path: Path
) -> None:
    with house(shared_redis, tmp_path) as running:
        until(running.url, "standby_replicas", WORKERS)
        ask(running, 20, {"X-Deadline": "12h", "Prefer": "respond-async"})
        seen = until(running.url, "standby_open_requests", 20)
        assert seen["standby_accepted_requests_total"] == 20
        assert seen["standby_leader"] == seen["standby_lanes_held"] == seen["standby_build_info"] == 1
        memory = [sums(url)["process_resident_memory_bytes"] for url in workers(running)]
        assert seen["process_resident_memory_bytes"] > 2 * min(memory)
        started = [sums(url)["process_start_time_seconds"] for url in workers(running)]
        assert seen["process_start_time_seconds"] == min(started)
        ask(running, 5)
        until(running.url, "standby_requests_total", 5)
        assert_exemplars(running.url)
        assert promtool("check", "metrics", stdin=page(running.url + "/metrics")) == ""


def assert_exemplars(url: str) -> None:
    accepts = urllib.request.Request(
        url + "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(accepts, timeout=5) as answer:
        families = parse_openmetrics(answer.read().decode())  # type: ignore[no-untyped-call]  # prometheus_client's
    marks = [sample.exemplar for family in families for sample in family.samples if sample.exemplar]
    assert marks
    assert all(mark.labels["request_id"].startswith("req") for mark in marks)

"""A virtual batch whose process dies, or is paused, at an awkward moment: every line has one result, bought once."""

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import openai
import pytest

from proxy.config.settings import StoreSettings
from proxy.runtime.clock import SystemClock
from proxy.runtime.parts import build_store
from tests.processes import FAST_CONFIG, Running, emulator, serve, stop, until_paused
from tests.redis_server import RedisServer, binaries

LINES = 60
CONFIG = (
    FAST_CONFIG
    + "store: {replicas: {lease: 1.5s, share: 0.3s}}\n"
    + "upstreams: [{name: own, batch: false, flex: false, capacity: 8}]\n"
    + "virtual_batches: {enabled: true, look: 0.2s, open_max: 25}\n"
)
ENVIRON = {"STANDBY_SECRET_KEY": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="}
KILLS = [
    *("shelf.put.before:1", "shelf.put.after:1", "shelf.put.before:2", "shelf.put.after:2"),
    *("shelf.put.before:3", "shelf.put.after:3", "shelf.put.before:4", "shelf.put.after:4", "shelf.put.after:5"),
    *("shelf.put.before:6", "shelf.put.after:6", "shelf.put.before:8", "shelf.put.after:8", "shelf.put_part.after:1"),
    *("shelf.put_part.before:2", "shelf.put_part.after:2", "shelf.put_part.before:3", "shelf.put_part.after:3"),
    *("store.accept.before:1", "store.accept.after:10", "store.accept.after:40", "store.accept.after:60"),
    *("store.AttemptAnswered.before:20", "store.AttemptAnswered.after:20", "upstream.call.before:30"),
]
"""The first puts: an upload begun and ended, the batch made, read through, begun; then its progress."""
QUICK = {"shelf.put.after:3", "shelf.put.after:6", "shelf.put_part.after:2", "store.accept.after:40"}


def _content() -> bytes:
    url, body = "/v1/chat/completions", {"model": "gpt-4o-mini"}
    lines = [
        {
            "custom_id": f"line-{number:03}",
            "method": "POST",
            "url": url,
            "body": body | {"messages": [{"role": "user", "content": f"virtual-{number:03}"}]},
        }
        for number in range(LINES)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _client(proxy: Running) -> openai.OpenAI:
    """A stock client with patience: its retries carry on over a restart."""
    return openai.OpenAI(base_url=proxy.url + "/v1", api_key="sk-virtual", max_retries=20)


def _until_ended(client: openai.OpenAI, batch_id: str) -> openai.types.Batch:
    give_up_at = time.monotonic() + 60
    while (batch := client.batches.retrieve(batch_id)).status not in {"completed", "failed", "expired"}:
        assert time.monotonic() < give_up_at, batch
        time.sleep(0.2)
    return batch


def _judge(client: openai.OpenAI, batch: openai.types.Batch) -> None:
    assert batch.status == "completed", batch
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (LINES, LINES)
    content = client.files.content(batch.output_file_id or "").read()
    found = [json.loads(line) for line in content.splitlines()]
    assert sorted(line["custom_id"] for line in found) == [f"line-{number:03}" for number in range(LINES)]
    for line in found:
        text = line["response"]["body"]["choices"][0]["message"]["content"]
        assert text.startswith(f"echo: virtual-{line['custom_id'][-3:]}")


def _bought(provider: Running) -> int:
    with urllib.request.urlopen(f"{provider.url}/emulator/account?account=sk-virtual") as page:
        total: int = json.load(page)["total"]["requests"]
        return total


async def _unknown(url: str, folder: Path) -> int:
    """Calls that were under way when the process died: nobody can know whether they were billed."""
    path = folder / url.removeprefix("sqlite:")
    store = build_store(StoreSettings(f"sqlite:{path}" if url.startswith("sqlite") else url), SystemClock())
    await store.start()
    try:
        totals = await store.ledger(since=0.0, until=SystemClock().now() + 1)
    finally:
        await store.close()
    return sum(total.unknown_paid for total in totals)


@contextmanager
def _started_again(folder: Path, provider: Running, store: str, point: str) -> Iterator[tuple[Running, Thread]]:
    """A process that dies at a point, and is started anew by a thread, which ends then."""
    options = ("--store", store)
    failing = ENVIRON | {"STANDBY_FAILPOINT": point}
    first = serve(folder, provider, "--port", "0", *options, config=CONFIG, environ=failing)
    after: list[Running] = []

    def start_again() -> None:
        if first.process.wait(timeout=60) == -signal.SIGKILL:
            after.append(serve(folder, provider, "--port", str(first.port), *options, config=CONFIG, environ=ENVIRON))

    watcher = Thread(target=start_again)
    watcher.start()
    try:
        yield first, watcher
    finally:
        stop(first)
        watcher.join()
        for running in after:
            assert stop(running) == 0


@contextmanager
def _store(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield "sqlite:standby.db"
        return
    server = RedisServer(binaries()[kind], folder / "redis")
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in QUICK else (pytest.mark.long,)) for point in KILLS]
)
def test_whenever_it_dies_every_line_has_one_result_and_is_bought_once(tmp_path: Path, point: str, kind: str) -> None:
    with _store(kind, tmp_path) as store, emulator(tmp_path, "--latency-seconds", "60") as provider:
        with _started_again(tmp_path, provider, store, point) as (first, watcher), _client(first) as client:
            file = client.files.create(file=("mine.jsonl", _content()), purpose="batch")
            made = client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            batch = _until_ended(client, made.id)
            assert not watcher.is_alive(), f"{point} was not reached"
            _judge(client, batch)
            assert len(client.batches.list().data) == 1
        assert LINES <= _bought(provider) <= LINES + asyncio.run(_unknown(store, tmp_path))


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    "point",
    [
        "shelf.put_part.before:2",
        pytest.param("shelf.put_part.after:2", marks=pytest.mark.long),
        pytest.param("shelf.put.before:7", marks=pytest.mark.long),
        pytest.param("store.accept.before:30", marks=pytest.mark.long),
    ],
)
def test_a_runner_that_is_paused_does_no_harm_when_it_goes_on(tmp_path: Path, point: str) -> None:
    """What it was about to write is its own: the other one's results are not touched."""
    with (
        _store("valkey", tmp_path) as store,
        emulator(tmp_path, "--latency-seconds", "60") as provider,
        ExitStack() as stack,
    ):

        def replica(name: str, failpoint: str) -> Running:
            (tmp_path / name).mkdir()
            environ = ENVIRON | {"STANDBY_FAILPOINT": failpoint}
            options = ("--port", "0", "--store", store)
            running = serve(tmp_path / name, provider, *options, config=CONFIG, environ=environ)
            stack.callback(stop, running)
            return running

        paused = replica("one", f"{point}:pause")
        stack.callback(os.kill, paused.process.pid, signal.SIGCONT)
        with _client(paused) as client:
            file = client.files.create(file=("mine.jsonl", _content()), purpose="batch")
            made = client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        until_paused(paused.process.pid)
        with _client(replica("two", "")) as client:
            batch = _until_ended(client, made.id)
            _judge(client, batch)
            os.kill(paused.process.pid, signal.SIGCONT)
            time.sleep(3.0)
            assert client.batches.retrieve(made.id) == batch
            _judge(client, batch)

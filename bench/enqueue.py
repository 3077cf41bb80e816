"""Enqueues per second: deferrable calls accepted over HTTP, each on disk (WAL, FULL) before its 202.

    python -m bench.enqueue [--requests 20000] [--concurrency 64]

One `standby serve` on an embedded store, one load process on keep-alive connections. The same number of requests is
then handed to the store alone, in this process and with the same concurrency: the ratio says what HTTP, parsing and
deciding cost on top of the disk. Only figures of one run can be compared.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.holds import wait_for
from proxy.domain.decision import Delivery, Reason
from proxy.domain.ids import CredentialId, IdSource, TenantId, UpstreamName
from proxy.domain.request import Queue, Request
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore


def body(number: int) -> bytes:
    return json.dumps(
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"{number} " + "x" * 900}]}
    ).encode()


async def post(port: int, numbers: asyncio.Queue[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not numbers.empty():
        content = body(numbers.get_nowait())
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-bench\r\nX-Deadline: 20h\r\n"
            b"Prefer: respond-async\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 202"):
            raise AssertionError(head.decode())
        length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()


async def over_http(port: int, requests: int, concurrency: int) -> float:
    numbers: asyncio.Queue[int] = asyncio.Queue()
    for number in range(requests):
        numbers.put_nowait(number)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(post(port, numbers))
    return requests / (time.perf_counter() - began)


async def store_alone(folder: Path, requests: int, concurrency: int) -> float:
    store = SqliteStore(folder / "alone.db", SystemClock())
    await store.start()
    ids = IdSource()
    queue = Queue(UpstreamName("openai"), CredentialId("bench"), "/v1/chat/completions", "gpt-4o-mini")
    now = SystemClock().now()
    template = Request(
        id=ids.request(now),
        tenant=TenantId("bench"),
        queue=queue,
        body=b"",
        fingerprint=b"",
        idempotency_key=None,
        stream=False,
        include_usage=False,
        delivery=Delivery.ASYNC,
        policy="bench",
        reason=Reason.DEADLINE_ALLOWS,
        estimated_tokens=230,
        accepted_at=now,
        deadline_at=now + 72_000,
    )

    async def accept(numbers: range) -> None:
        for number in numbers:
            content = body(number)
            await store.accept(replace(template, id=ids.request(now), body=content, fingerprint=content[:32]))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for first in range(concurrency):
            group.create_task(accept(range(first, requests, concurrency)))
    rate = requests / (time.perf_counter() - began)
    await store.close()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text("logging: {level: error}\n")
        command = [sys.executable, "-m", "proxy", "serve", "--port", "9822", "--upstream", "http://127.0.0.1:9821/v1"]
        proxy = subprocess.Popen(command, cwd=folder)
        try:
            wait_for("http://127.0.0.1:9822/healthz")
            http = asyncio.run(over_http(9822, options.requests, options.concurrency))
        finally:
            proxy.terminate()
            proxy.wait()
        alone = asyncio.run(store_alone(folder, options.requests, options.concurrency))
    print(f"over HTTP {http:,.0f} enqueues/s; the store alone {alone:,.0f}/s; ratio {http / alone:.2f}")


if __name__ == "__main__":
    main()

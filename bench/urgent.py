"""CPU per urgent request: Standby against a bare aiohttp proxy, in one run, in front of the same upstream.

    python -m bench.urgent [--seconds 6] [--concurrency 32]

Every part is a process of its own. The load and the upstream are raw asyncio protocols, so that the proxies are what
is measured; CPU comes from /proc/PID/stat. Only the ratio means anything: compare within one run.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import uvloop
from aiohttp import web

from proxy.upstream.http import open_session

BODY = (
    b'{"model":"gpt-4o-mini","messages":[{"role":"system","content":"' + b"You are terse. " * 40 + b'"},'
    b'{"role":"user","content":"' + b"Tell me about proxies. " * 30 + b'"}],"max_tokens":200}'
)
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"' + b"words " * 150 + b'"},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":300,"completion_tokens":150,"total_tokens":450},"service_tier":"default"}'
)
TICKS = os.sysconf("SC_CLK_TCK")


class UpstreamProtocol(asyncio.Protocol):
    """Answers every request with the same bytes; a request ends with its content-length's worth of body."""

    HEAD = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: req_1\r\n"
        b"x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n"
        b"x-ratelimit-reset-requests: 6ms\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, gap, rest = self.buffer.partition(b"\r\n\r\n")
            if not gap:
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.transport.write(self.HEAD + ANSWER)


class LoadProtocol(asyncio.Protocol):
    """Sends a request, reads the answer whole, sends the next."""

    REQUEST = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer sk-bench\r\n"
        b"User-Agent: AsyncOpenAI/Python 2.54.0\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
        b"x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    ) + BODY

    def __init__(self, latencies: list[float]) -> None:
        self.latencies = latencies
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.buffer = b""
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.REQUEST)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, gap, body = self.buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        self.buffer = b""
        self.latencies.append(time.perf_counter() - self.began)
        if not self.stopped:
            self.send()


async def upstream(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(UpstreamProtocol, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def bare(port: int, target: str) -> None:
    """The reference: the shortest proxy that aiohttp allows, with the same tuning of its client."""
    session = open_session(connections_max=0)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name not in {"Host", "Content-Length"}}
        body = await request.content.read()
        async with session.request(request.method, target + request.raw_path, headers=headers, data=body) as answer:
            content = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
            return web.Response(status=answer.status, body=content, headers=kept)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def load(port: int, seconds: float, concurrency: int) -> list[float]:
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: LoadProtocol(latencies), "127.0.0.1", port) for _ in range(concurrency)
    ]
    await asyncio.sleep(seconds)
    for _, protocol in made:
        protocol.stopped = True
    await asyncio.sleep(0.2)
    for transport, _ in made:
        transport.close()
    return latencies


async def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError(f"nothing listens on {port}")


async def measure(name: str, process: subprocess.Popen[bytes], port: int, seconds: float, concurrency: int) -> float:
    await wait_for(port)
    await load(port, 1.0, concurrency)
    before = cpu_seconds(process.pid)
    latencies = sorted(await load(port, seconds, concurrency))
    spent = cpu_seconds(process.pid) - before
    per_request = spent / len(latencies) * 1000
    p50, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
    print(
        f"{name:<22}{per_request:>10.3f} ms CPU/request {len(latencies) / seconds:>9.0f} rps "
        f"p50 {p50:>6.2f} ms  p99 {p99:>6.2f} ms"
    )
    return per_request


def spawn(*arguments: str, folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL)


async def compare(seconds: float, concurrency: int, rounds: int) -> None:
    here = os.path.abspath(__file__)  # noqa: PTH100, ASYNC240  before anything runs
    with tempfile.TemporaryDirectory() as folder:
        provider = spawn(here, "--role", "upstream", "--port", "9801", folder=folder)
        await wait_for(9801)
        reference = spawn(here, "--role", "bare", "--port", "9802", folder=folder)
        options = ("--port", "9803", "--upstream", "http://127.0.0.1:9801/v1")
        standby = spawn("-m", "proxy", "serve", *options, folder=folder)
        try:
            ratios = []
            for _ in range(rounds):
                base = await measure("bare aiohttp proxy", reference, 9802, seconds, concurrency)
                ours = await measure("standby serve", standby, 9803, seconds, concurrency)
                ratios.append(ours / base)
            print("ratios: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))
        finally:
            for process in (standby, reference, provider):
                process.terminate()
                process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--role", choices=["compare", "upstream", "bare"], default="compare")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    match given.role:
        case "upstream":
            uvloop.run(upstream(given.port))
        case "bare":
            uvloop.run(bare(given.port, "http://127.0.0.1:9801"))
        case _:
            uvloop.run(compare(given.seconds, given.concurrency, given.rounds))


if __name__ == "__main__":
    main()

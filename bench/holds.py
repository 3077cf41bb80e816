"""Memory per held request: clients that wait on open connections for answers that do not come yet.

    python -m bench.holds [--holds 5000]

The emulator's batches are stuck. RSS of `standby serve` before the first and after the last hold, from
/proc/PID/status. Each hold has its 1 kB request in the store.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CONFIG = "batching:\n  cut: {age: 2s}\n"


def rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url).close()
        except OSError as error:
            if getattr(error, "code", None) is not None:
                return
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} does not answer")


def fetch(url: str) -> str:
    with urllib.request.urlopen(url) as page:
        content: bytes = page.read()
    return content.decode()


def request(number: int) -> bytes:
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"{number} " + "x" * 900}]})
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-bench\r\nX-Deadline: 20h\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def hold(port: int, count: int) -> list[asyncio.StreamWriter]:
    writers = []
    for number in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**12)
        writer.write(request(number))
        writers.append(writer)
        if number % 200 == 0:
            await asyncio.sleep(0.05)
    await asyncio.sleep(8)
    return writers


async def measure(count: int, pid: int, port: int) -> None:
    await hold(port, 50)
    before = rss_kib(pid)
    began = time.perf_counter()
    writers = await hold(port, count)
    held = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/metrics")
    after = rss_kib(pid)
    shown = next(line for line in held.splitlines() if line.startswith("standby_held_connections "))
    print(f"{count} holds in {time.perf_counter() - began:.1f} s: {(after - before) / count:.1f} KiB each; {shown}")
    for writer in writers:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holds", type=int, default=5000)
    count = parser.parse_args().holds
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.yaml").write_text(CONFIG)
        standby = [sys.executable, "-m", "proxy"]
        emulator = subprocess.Popen([*standby, "emulate", "--port", "9811", "--turnaround", "stuck"], cwd=folder)
        upstream = "http://127.0.0.1:9811/v1"
        proxy = subprocess.Popen([*standby, "serve", "--port", "9812", "--upstream", upstream], cwd=folder)
        try:
            wait_for("http://127.0.0.1:9811/emulator/account")
            wait_for("http://127.0.0.1:9812/healthz")
            asyncio.run(measure(count, proxy.pid, 9812))
        finally:
            for process in (proxy, emulator):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()

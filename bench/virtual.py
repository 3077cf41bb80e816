"""A virtual batch of many lines through a real `standby serve`: how fast, and in how much memory.

    python -m bench.virtual [--lines 50000] [--small 5000]

The emulator answers at once, 64 calls may be under way. SQLite keeps up to 64 MiB of pages for each of its two
connections: until both are full that is nearly all by which the memory grows.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import openai

from tests.processes import Running, emulator, standby

CONFIG = """
upstreams: [{name: own, batch: false, flex: false, capacity: 64}]
virtual_batches: {enabled: true}
"""


def content(lines: int) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a question of some length " * 40}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    return b"".join(json.dumps({"custom_id": f"line-{number}", **line}).encode() + b"\n" for number in range(lines))


def megabytes(running: Running, name: str) -> float:
    """Of a process's memory: RssAnon is its own, RssFile what it has mapped, VmRSS both."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def play(client: openai.OpenAI, proxy: Running, lines: int) -> None:
    body = content(lines)
    began = time.perf_counter()
    file = client.files.create(file=("lines.jsonl", body), purpose="batch")
    uploaded = time.perf_counter()
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while (batch := client.batches.retrieve(batch.id)).status != "completed":
        time.sleep(0.5)
    ended = time.perf_counter()
    assert batch.request_counts is not None
    assert batch.request_counts.completed == lines
    found = client.files.content(batch.output_file_id or "").read().splitlines()
    assert len({json.loads(line)["custom_id"] for line in found}) == lines
    print(
        f"{lines} lines, {len(body) / 1e6:.0f} MB: uploaded in {uploaded - began:.1f} s, "
        f"run at {lines / (ended - uploaded):.0f} lines/s, "
        f"memory {megabytes(proxy, 'RssAnon'):.0f} MB of its own, {megabytes(proxy, 'RssFile'):.0f} MB of mapped files"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--small", type=int, default=5_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        emulator(Path(name)) as provider,
        standby(Path(name), provider, config=CONFIG) as proxy,
        openai.OpenAI(base_url=proxy.url + "/v1", api_key="sk-bench") as client,
    ):
        print(f"at the start: {megabytes(proxy, 'VmRSS'):.0f} MB")
        for lines in (options.small, options.lines):
            play(client, proxy, lines)


if __name__ == "__main__":
    main()

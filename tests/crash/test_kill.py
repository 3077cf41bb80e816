"""kill -9 of the whole proxy, at awkward moments: every client that tries again finds its answer, bought once."""

import asyncio
import json
import urllib.request
from pathlib import Path

import openai
import pytest

from tests.processes import Running, emulator, serve, stop

REQUESTS = 30


async def _ask(proxy_url: str, n: int) -> str:
    """A stock client with patience: its retries carry on over the restart."""
    async with openai.AsyncOpenAI(base_url=proxy_url + "/v1", api_key="sk-crash", max_retries=12) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": f"crash-{n:03}"}],
            extra_headers={"X-Deadline": "45s"},
        )
    return answer.choices[0].message.content or ""


def _bought(provider: Running, text: str) -> int:
    with urllib.request.urlopen(f"{provider.url}/emulator/lines?text={text}") as page:
        bodies = json.load(page)["bodies"]
    return sum(int(body["sync"]) + int(body["batch"]) for body in bodies)


@pytest.mark.parametrize("after_seconds", [0.2, 0.6, 0.9, 1.3, 2.5])
def test_a_killed_proxy_loses_nothing_and_buys_nothing_twice(tmp_path: Path, after_seconds: float) -> None:
    """The moments: accepted, being cut, being submitted, in flight, being collected."""

    async def story(provider: Running, first: Running) -> tuple[list[str], Running]:
        asking = asyncio.gather(*(_ask(first.url, n) for n in range(REQUESTS)))
        await asyncio.sleep(after_seconds)
        await asyncio.to_thread(first.kill)
        again = await asyncio.to_thread(serve, tmp_path, provider, "--port", str(first.port))
        return await asking, again

    with emulator(tmp_path, "--turnaround", "constant:600") as provider:
        first = serve(tmp_path, provider, "--port", "0")
        answers, again = asyncio.run(story(provider, first))
        try:
            assert all(answer.startswith(f"echo: crash-{n:03}") for n, answer in enumerate(answers))
            assert [_bought(provider, f"crash-{n:03}") for n in range(REQUESTS)] == [1] * REQUESTS
        finally:
            assert stop(again) == 0
            assert first.process.stdout is not None
            first.process.stdout.close()

"""A clock that is set by hand, a small price list, and a client that talks to an emulator over real HTTP."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from proxy.emulator.serving import Running, serving
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant

CHAT = "/v1/chat/completions"
PRICES: Mapping[str, Mapping[str, object]] = {
    "gpt-4o-mini": {
        "mode": "chat",
        "litellm_provider": "openai",
        "input_cost_per_token": 1.5e-07,
        "input_cost_per_token_batches": 7.5e-08,
        "input_cost_per_token_priority": 2.5e-07,
        "output_cost_per_token": 6e-07,
        "output_cost_per_token_batches": 3e-07,
        "output_cost_per_token_priority": 1e-06,
        "cache_read_input_token_cost": 7.5e-08,
        "cache_read_input_token_cost_priority": 1.25e-07,
        "max_input_tokens": 128_000,
        "max_output_tokens": 16_384,
    },
    "gpt-5-mini": {
        "mode": "chat",
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-07,
        "input_cost_per_token_batches": 1.25e-07,
        "input_cost_per_token_flex": 1.25e-07,
        "output_cost_per_token": 2e-06,
        "output_cost_per_token_batches": 1e-06,
        "output_cost_per_token_flex": 1e-06,
    },
    "gpt-4o-audio-preview": {"mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05},
    "gpt-5-codex": {"mode": "responses", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05},
    "text-embedding-3-small": {
        "mode": "embedding",
        "litellm_provider": "openai",
        "input_cost_per_token": 2e-08,
        "input_cost_per_token_batches": 1e-08,
        "output_cost_per_token": 0.0,
        "output_vector_size": 1536,
        "max_input_tokens": 8191,
    },
    "gpt-3.5-turbo-instruct": {
        "mode": "completion",
        "litellm_provider": "text-completion-openai",
        "input_cost_per_token": 1.5e-06,
        "output_cost_per_token": 2e-06,
    },
    "omni-moderation-latest": {
        "mode": "moderation",
        "litellm_provider": "openai",
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
    },
}


class ManualClock:
    """Time moves when a test moves it, and jumps to the end of every sleep."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep_until(self, at: float) -> None:
        await asyncio.sleep(0)
        self.at = max(self.at, at)

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True, slots=True)
class Got:
    """One answer: the status, the headers, and the body as bytes and as JSON (None where it is none)."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    json: Any


class Site:
    """One emulator under test and a client for it."""

    def __init__(self, running: Running, clock: ManualClock, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.url = running.url
        self.emulator = running.emulator
        self.clock = clock
        self.session = session

    async def call(self, method: str, path: str, body: object = None, *, key: str = "sk-test", **more: Any) -> Got:
        """Send one request; `body` goes out as JSON."""
        headers = {"Authorization": f"Bearer {key}"} | more.pop("headers", {})
        if body is not None:
            more["json"] = body
        async with self.session.request(method, self.url + path, headers=headers, **more) as response:
            raw = await response.read()
            parsed = json.loads(raw) if response.content_type == "application/json" else None
            return Got(response.status, response.headers.copy(), raw, parsed)

    async def chat(self, text: str = "hello", *, key: str = "sk-test", **more: object) -> Got:
        """Ask gpt-4o-mini (or another `model`)."""
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]} | more
        return await self.call("POST", CHAT, body, key=key)

    async def upload(
        self, content: bytes | list[dict[str, object]], *, key: str = "sk-test", name: str = "in.jsonl", **fields: str
    ) -> Got:
        """Upload a file for a batch, as bytes or as lines."""
        raw = content if isinstance(content, bytes) else jsonl(content)
        form = aiohttp.FormData()
        for field, value in ({"purpose": "batch"} | fields).items():
            form.add_field(field, value)
        form.add_field("file", io.BytesIO(raw), filename=name)
        return await self.call("POST", "/v1/files", key=key, data=form)

    async def batch(
        self, content: bytes | list[dict[str, object]], *, key: str = "sk-test", endpoint: str = CHAT, **more: object
    ) -> Any:
        """Upload and create a batch; return the batch object as created."""
        file_id = (await self.upload(content, key=key)).json["id"]
        body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h"} | more
        created = await self.call("POST", "/v1/batches", body, key=key)
        assert created.status == 200, created.raw
        return created.json

    async def look(self, batch: Any, *, after: float = 0.0, key: str = "sk-test") -> Any:
        """Let so many seconds of the clock pass, then return the batch as it is."""
        self.clock.at += after
        return (await self.call("GET", f"/v1/batches/{batch['id']}", key=key)).json

    async def lines_of(self, file_id: str, *, key: str = "sk-test") -> list[Any]:
        """Download a file and return its lines."""
        got = await self.call("GET", f"/v1/files/{file_id}/content", key=key)
        assert got.status == 200, got.raw
        return [json.loads(line) for line in got.raw.splitlines()]

    async def fault(self, operation: str, kind: str, **more: object) -> Got:
        """Order a fault through the control route."""
        return await self.call("POST", "/emulator/faults", {"faults": [{"operation": operation, "kind": kind, **more}]})


def jsonl(lines: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def chat_line(custom_id: str, text: str = "", **more: object) -> dict[str, object]:
    messages = [{"role": "user", "content": text or custom_id}]
    body = {"model": "gpt-4o-mini", "messages": messages} | more
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


Story = Callable[[Site], Awaitable[None]]


@pytest.fixture
def play() -> Callable[..., None]:
    """Run a story against an emulator with these settings; batches take 480 s unless told otherwise."""

    def run(story: Story, **chosen: Any) -> None:
        async def whole() -> None:
            clock = ManualClock()
            settings = Settings(**({"turnaround": Constant(480.0)} | chosen))
            async with serving(settings, clock, PRICES) as running, aiohttp.ClientSession() as session:
                await story(Site(running, clock, session))

        asyncio.run(whole())

    return run


@pytest.fixture
def line() -> Callable[..., dict[str, object]]:
    """Make a line of a chat batch."""
    return chat_line


@pytest.fixture
def prices() -> Mapping[str, Mapping[str, object]]:
    """Return the small price list."""
    return PRICES

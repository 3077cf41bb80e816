"""A provider that is not OpenAI-shaped, played by a small Anthropic-shaped server, through the real LiteLLM."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.config.settings import UpstreamSettings
from proxy.domain.events import CallFinished
from proxy.domain.ids import UpstreamName
from proxy.runtime.clock import SystemClock
from proxy.runtime.service import Service, running
from tests.world import SECRET, config_for

pytestmark = pytest.mark.timeout(120)
MODEL = "claude-haiku-4-5-20251001"
KEY = {"Authorization": "Bearer sk-ant-test"}
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "bonjour"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1000, "output_tokens": 100},
}
EVENTS = (
    {"type": "message_start", "message": ANSWER | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "bon"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "jour"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}},
    {"type": "message_stop"},
)


async def _messages(request: web.Request) -> web.StreamResponse:
    """`POST /v1/messages`, and nothing more of Anthropic's API."""
    body = await request.json()
    if request.headers.get("x-api-key") != "sk-ant-test":
        error = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
        return web.json_response(error, status=401)
    if not body.get("stream"):
        return web.json_response(ANSWER)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in EVENTS:
        await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    return response


@asynccontextmanager
async def _setting(folder: Path) -> AsyncIterator[tuple[Service, aiohttp.ClientSession, list[CallFinished]]]:
    app = web.Application()
    app.router.add_post("/v1/messages", _messages)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    upstream = UpstreamSettings(name=UpstreamName("anthropic"), base_url=base_url, litellm_provider="anthropic")
    config = config_for(folder, base_url, upstreams=(upstream,))
    finished: list[CallFinished] = []
    try:
        async with (
            running(config, SystemClock(), {"STANDBY_SECRET_KEY": SECRET}, with_logs=False) as service,
            aiohttp.ClientSession(headers=KEY) as http,
        ):
            service.announcer.connect(lambda e: finished.append(e) if isinstance(e, CallFinished) else None)
            yield service, http, finished
    finally:
        await runner.cleanup()


def _play(folder: Path, story: Callable[[Service, aiohttp.ClientSession, list[CallFinished]], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with _setting(folder) as (service, http, finished):
            await story(service, http, finished)

    asyncio.run(whole())


def _chat(**more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50, **more}


@pytest.mark.filterwarnings("ignore")  # LiteLLM's own
def test_calls_are_translated_both_ways_priced_and_streamed_and_errors_keep_their_status(tmp_path: Path) -> None:
    async def story(service: Service, http: aiohttp.ClientSession, finished: list[CallFinished]) -> None:
        url = service.url + "/v1/chat/completions"
        async with http.post(url, json=_chat(), headers={"X-Deadline": "4h"}) as response:
            assert response.status == 200
            assert response.headers["X-Standby-Reason"] == "no_batch_tier"
            assert (await response.json())["choices"][0]["message"]["content"] == "bonjour"
            assert Decimal(response.headers["X-Standby-Cost-Usd"]) == Decimal("0.0015")
        async with http.post(url, json=_chat(stream=True)) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            lines = (await response.text()).split("\n\n")
        assert lines[-2] == "data: [DONE]"
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
        text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        assert text == "bonjour"
        async with http.post(url, json=_chat(), headers={"Authorization": "Bearer sk-wrong"}) as response:
            assert response.status == 401
            assert "invalid x-api-key" in (await response.json())["error"]["message"]
        async with http.get(service.url + "/v1/files") as response:
            assert response.status == 404
        assert [event.status for event in finished] == [200, 200, 401, 404]

    _play(tmp_path, story)

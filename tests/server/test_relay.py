"""The urgent path changes nothing: what upstream gets and what the client gets back are the other side's own bytes."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from proxy.domain.events import AnyEvent, CallFinished, RateLimited
from proxy.runtime.service import Service, running
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.openai import OpenAIUpstream
from tests.world import MONDAY_NOON, SECRET, config_for

CHAT = b'{ "model": "gpt-4o-mini",\n  "messages": [{"role":"user","content":"h\\u00e9"}], "x_unknown": 1.50 }'
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    "service_tier": "default",
}


@dataclass
class Upstream:
    """A provider that notes what it gets, and answers as a test says."""

    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    requests: list[tuple[str, str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = [(name.decode(), value.decode()) for name, value in request.raw_headers]
        self.requests.append((request.method, request.raw_path, headers, await request.read()))
        try:
            return await self.answer(request)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class Setting:
    upstream: Upstream
    service: Service
    http: aiohttp.ClientSession
    clock: LoopClock
    events: list[AnyEvent]

    @property
    def url(self) -> str:
        return self.service.url


@asynccontextmanager
async def _setting(
    folder: Path, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[Setting]:
    upstream = Upstream(answer)
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(app, handler_cancellation=True, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    clock = LoopClock()
    events: list[AnyEvent] = []
    environ = {"STANDBY_SECRET_KEY": SECRET}
    try:
        async with (
            running(config_for(folder, address), clock, environ, with_logs=False) as service,
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("User-Agent",)) as http,
        ):
            service.announcer.connect(events.append)
            yield Setting(upstream, service, http, clock, events)
    finally:
        await runner.cleanup()


def _play(
    folder: Path,
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    story: Callable[[Setting], Awaitable[None]],
) -> None:
    async def whole() -> None:
        async with _setting(folder, answer) as setting:
            await story(setting)

    run(whole(), start_at=MONDAY_NOON)


async def _answer_chat(_request: web.Request) -> web.StreamResponse:
    headers = {"x-request-id": "req_up", "x-ratelimit-remaining-requests": "77", "openai-version": "2020-10-01"}
    return web.json_response(ANSWER, headers=headers)


KEY = {"Authorization": "Bearer sk-alice", "Content-Type": "application/json"}


def test_the_body_goes_upstream_byte_for_byte_with_unknown_fields_and_odd_spacing(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=KEY) as response:
            assert response.status == 200
        ((_, path, headers, body),) = setting.upstream.requests
        assert body == CHAT
        assert path == "/v1/chat/completions"
        named = {name.lower(): value for name, value in headers}
        assert named["authorization"] == "Bearer sk-alice"
        assert named["content-length"] == str(len(CHAT))

    _play(tmp_path, _answer_chat, story)


def test_standbys_own_and_hop_by_hop_headers_are_stripped_and_the_others_pass(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        headers = KEY | {
            "X-Priority": "urgent",
            "Prefer": "return=minimal",
            "OpenAI-Organization": "org-1",
            "X-Custom": "kept",
            "Connection": "keep-alive, X-Hop",
            "X-Hop": "dropped",
        }
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=headers):
            pass
        ((_, _, received, _),) = setting.upstream.requests
        names = {name.lower() for name, _ in received}
        assert {"openai-organization", "x-custom"} <= names
        assert not names & {"x-priority", "prefer", "x-hop", "x-deadline"}

    _play(tmp_path, _answer_chat, story)


def test_upstreams_status_headers_and_body_come_back_as_they_are_with_ours_beside(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=KEY) as response:
            assert json.loads(await response.read()) == ANSWER
            assert response.headers["x-request-id"] == "req_up"
            assert response.headers["x-ratelimit-remaining-requests"] == "77"
            assert response.headers["X-Standby-Tier"] == "standard"
            assert Decimal(response.headers["X-Standby-Cost-Usd"]) == Decimal("0.00021")

    _play(tmp_path, _answer_chat, story)


def test_an_upstream_error_is_the_clients_error_untouched(tmp_path: Path) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        body = b'{"error": {"message": "slow down", "type": "rate_limit", "param": null, "code": null}}'
        return web.Response(status=429, body=body, headers={"retry-after": "7", "Content-Type": "application/json"})

    async def story(setting: Setting) -> None:
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=KEY) as response:
            assert (response.status, response.headers["retry-after"]) == (429, "7")
            assert b"slow down" in await response.read()
        assert any(isinstance(event, RateLimited) for event in setting.events)

    _play(tmp_path, refuse, story)


def test_a_stream_is_relayed_chunk_by_chunk_as_it_arrives(tmp_path: Path) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(5):
            await response.write(b'data: {"n": %d}\n\n' % number)
            await asyncio.sleep(10)
        return response

    async def story(setting: Setting) -> None:
        began = setting.clock.now()
        body = json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": []}).encode()
        async with setting.http.post(setting.url + "/v1/chat/completions", data=body, headers=KEY) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            seen = [(round(setting.clock.now() - began), chunk) async for chunk in response.content.iter_any()]
        assert seen == [(n * 10, b'data: {"n": %d}\n\n' % n) for n in range(5)]

    _play(tmp_path, stream, story)


def test_a_streams_usage_is_read_from_its_end_and_booked(tmp_path: Path) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(2000):
            await response.write(
                b'data: {"model": "gpt-4o-mini", "choices": [{"delta": {"content": "' + b"x" * 300 + b'"}}]}\n\n'
            )
        usage = json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": ANSWER["usage"]}).encode()
        await response.write(b"data: " + usage + b"\n\ndata: [DONE]\n\n")
        return response

    async def story(setting: Setting) -> None:
        body = json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": []}).encode()
        async with setting.http.post(setting.url + "/v1/chat/completions", data=body, headers=KEY) as response:
            await response.read()
        (finished,) = [event for event in setting.events if isinstance(event, CallFinished)]
        assert finished.row is not None
        assert finished.row.paid_usd == Decimal("0.00021")

    _play(tmp_path, stream, story)


def test_a_client_that_leaves_ends_the_call_upstream_too(tmp_path: Path) -> None:
    async def forever(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError("nobody waits that long")

    async def story(setting: Setting) -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        with suppress(TimeoutError):
            await setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=KEY, timeout=timeout)
        async with asyncio.timeout(5):
            await setting.upstream.cancelled.wait()
        await asyncio.sleep(1)
        (finished,) = [event for event in setting.events if isinstance(event, CallFinished)]
        assert finished.status == 499
        assert finished.row is not None
        assert finished.row.paid_usd is None

    _play(tmp_path, forever, story)


def test_an_upstream_that_breaks_off_in_the_middle_breaks_off_the_client_too(tmp_path: Path) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: {}\n\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def story(setting: Setting) -> None:
        broken = False
        try:
            async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=KEY) as response:
                await response.read()
        except aiohttp.ClientError:
            broken = True
        assert broken

    _play(tmp_path, half, story)


def test_an_upstream_that_is_down_is_a_502_in_openais_shape(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        upstream = setting.service.house.accounts.of(None).upstream
        assert isinstance(upstream, OpenAIUpstream)
        upstream._base = "http://127.0.0.1:1"
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=KEY) as response:
            assert response.status == 502
            error = (await response.json())["error"]
            assert error["code"] == "upstream_unreachable"
            assert "openai" in error["message"]

    _play(tmp_path, _answer_chat, story)


def test_compressed_answers_pass_compressed_and_are_priced(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(ANSWER).encode())

    async def answer(request: web.Request) -> web.StreamResponse:
        assert "br" not in request.headers["Accept-Encoding"]
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    async def story(setting: Setting) -> None:
        headers = KEY | {"Accept-Encoding": "gzip, br"}
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=headers) as response:
            assert await response.read() == packed
            assert response.headers["Content-Encoding"] == "gzip"
            assert Decimal(response.headers["X-Standby-Cost-Usd"]) == Decimal("0.00021")

    _play(tmp_path, answer, story)


def test_uploads_and_downloads_stream_through_and_cost_nothing(tmp_path: Path) -> None:
    sent = b"z" * 30_000_000

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(body=sent[:5_000_000], headers={"Content-Type": "application/octet-stream"})
        return web.json_response({"id": "file-1"})

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), 1_000_000):
            yield sent[start : start + 1_000_000]

    async def story(setting: Setting) -> None:
        headers = {"Authorization": "Bearer sk-alice", "Content-Type": "multipart/form-data; boundary=x"}
        async with setting.http.post(setting.url + "/v1/files", data=chunks(), headers=headers) as response:
            assert (await response.json())["id"] == "file-1"
        async with setting.http.get(setting.url + "/v1/files/file-1/content", headers=headers) as response:
            assert await response.read() == sent[:5_000_000]
            assert response.headers["Content-Length"] == "5000000"
            assert response.headers["X-Standby-Reason"] == "passthrough"
        assert setting.upstream.requests[0][3] == sent
        assert all(event.row is None for event in setting.events if isinstance(event, CallFinished))

    _play(tmp_path, answer, story)


def test_any_other_route_method_query_and_redirect_passes(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/moved"):
            return web.Response(status=307, headers={"Location": "https://elsewhere.example/"})
        return web.Response(status=204)

    async def story(setting: Setting) -> None:
        url = URL(setting.url + "/v1/vector_stores/vs_1?limit=3&after=a%2Fb", encoded=True)
        async with setting.http.delete(url, headers=KEY) as response:
            assert response.status == 204
        async with setting.http.get(setting.url + "/v1/moved", headers=KEY, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (307, "https://elsewhere.example/")
        method, path, _, _ = setting.upstream.requests[0]
        assert (method, path) == ("DELETE", "/v1/vector_stores/vs_1?limit=3&after=a%2Fb")

    _play(tmp_path, answer, story)


def test_a_client_that_asks_first_is_told_to_go_on(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        headers = KEY | {"Expect": "100-continue"}
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=headers) as response:
            assert response.status == 200
        assert setting.upstream.requests[0][3] == CHAT

    _play(tmp_path, _answer_chat, story)


def test_an_upload_that_asks_first_is_told_to_go_on(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        headers = KEY | {"Expect": "100-continue", "Content-Type": "application/octet-stream"}
        body = io.BytesIO(b"x" * 2**21)
        async with setting.http.post(setting.url + "/v1/files", data=body, headers=headers) as response:
            assert response.status == 200
        assert setting.upstream.requests[0][3] == b"x" * 2**21

    _play(tmp_path, _answer_chat, story)


def test_whose_account_is_billed_is_told_upstream_also_later(tmp_path: Path) -> None:
    async def story(setting: Setting) -> None:
        account = {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"}
        headers = KEY | account | {"X-Deadline": "4h", "Prefer": "respond-async"}
        async with setting.http.post(setting.url + "/v1/chat/completions", data=CHAT, headers=headers) as response:
            assert response.status == 202
        await asyncio.sleep(1800)
        _, path, sent, _ = setting.upstream.requests[0]
        assert path == "/v1/files"
        named = {name.lower(): value for name, value in sent}
        assert (named["openai-organization"], named["openai-project"]) == ("org-1", "proj_1")
        assert named["authorization"] == "Bearer sk-alice"

    _play(tmp_path, _answer_chat, story)

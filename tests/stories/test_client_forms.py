"""The forms in which clients call: every legal way to write a URL, a key or a body, urgent and deferred alike."""

import asyncio
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.ids import TenantId
from proxy.server.auth import ProxyKey
from tests.world import World, play

KEY = "Authorization: Bearer sk-alice"
URGENT, DEFERRED = "X-Nothing: said", "X-Deadline: 4h"
BOTH = pytest.mark.parametrize(("urgency", "tier"), [(URGENT, "standard"), (DEFERRED, "batch")])
JSON = "Content-Type: application/json"


def _body(text: str) -> bytes:
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}).encode()


def _head(*headers: str, path: str = "/v1/chat/completions", version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/{version}", "Host: standby", JSON, *headers, "", ""]).encode()


def _chunked(body: bytes, size: int) -> list[bytes]:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return [*(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces), b"0\r\n\r\n"]


async def _talk(world: World, *pieces: bytes) -> bytes:
    """Send bytes piece by piece; everything that comes back until the connection closes."""
    host, port = world.service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**25)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def _answer(received: bytes) -> tuple[bytes, str]:
    """The status line and the tier of the last answer."""
    *_, last = received.split(b"HTTP/1.1 ")
    head = last.partition(b"\r\n\r\n")[0].decode()
    tiers = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("X-Standby-Tier")]
    return last.partition(b"\r\n")[0], tiers[0] if tiers else ""


@BOTH
@pytest.mark.parametrize(("length", "chunk"), [(200, 1), (200, 7), (3_000_000, 2**16), (3_000_000, 2**23)])
def test_a_chunked_body_of_tiny_or_huge_chunks_is_read(
    urgency: str, tier: str, length: int, chunk: int, tmp_path: Path
) -> None:
    async def story(world: World) -> None:
        head = _head(KEY, urgency, "Transfer-Encoding: chunked", "Connection: close")
        received = await _talk(world, head, *_chunked(_body("in chunks") + b" " * length, chunk))
        assert _answer(received) == (b"200 OK", tier)
        assert await world.bought("in chunks") == ((1, 0) if tier == "standard" else (0, 1))

    play(tmp_path, story)


@BOTH
def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(urgency: str, tier: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = _body("hello")
        host, port = world.service.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(_head(KEY, urgency, "Expect: 100-continue", f"Content-Length: {len(body)}", "Connection: close"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert _answer(await reader.read()) == (b"200 OK", tier)
        writer.close()
        await writer.wait_closed()

    play(tmp_path, story)


@BOTH
def test_http_1_0_without_a_host_is_answered_and_closed(urgency: str, tier: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = _body("hello")
        head = f"POST /v1/chat/completions HTTP/1.0\r\n{KEY}\r\n{urgency}\r\nContent-Length: {len(body)}\r\n\r\n"
        received = await _talk(world, head.encode() + body)
        assert received.startswith(b"HTTP/1.0 200 OK\r\n")
        assert f"X-Standby-Tier: {tier}\r\n".encode() in received
        assert b"Transfer-Encoding" not in received

    play(tmp_path, story)


def test_pipelined_calls_are_answered_in_their_order_held_ones_included(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        texts = {"first": URGENT, "second": DEFERRED, "third": URGENT}
        calls = [
            _head(KEY, urgency, f"Content-Length: {len(_body(text))}", *last) + _body(text)
            for (text, urgency), last in zip(texts.items(), [(), (), ("Connection: close",)], strict=True)
        ]
        received = await _talk(world, b"".join(calls))
        places = [received.index(f"echo: {text}".encode()) for text in texts]
        assert places == sorted(places)
        assert received.count(b"HTTP/1.1 200 OK") == 3

    play(tmp_path, story)


@BOTH
def test_a_compressed_body_is_read_and_an_unreadable_one_refused(urgency: str, tier: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        packed = gzip.compress(_body("hello"))
        close = (f"Content-Length: {len(packed)}", "Connection: close")
        received = await _talk(world, _head(KEY, urgency, "Content-Encoding: gzip", *close) + packed)
        assert _answer(received) == (b"200 OK", tier)
        received = await _talk(world, _head(KEY, urgency, "Content-Encoding: br", *close) + packed)
        assert received.startswith(b"HTTP/1.1 415 ")
        received = await _talk(world, _head(KEY, urgency, "Content-Encoding: gzip", *close) + b"x" * len(packed))
        assert received.startswith(b"HTTP/1.1 400 ")

    play(tmp_path, story)


def test_the_same_call_in_another_spelling_is_the_same_work(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        said = {"model": "gpt-4o-mini", "messages": [{"content": "hello", "role": "user"}]}
        turned = json.dumps(dict(reversed(said.items())), indent=2).encode()
        spellings = {turned: "X-Spelled: plain", gzip.compress(_body("hello")): "Content-Encoding: gzip"}
        sends = [(_body("hello"), "X-Spelled: first"), *spellings.items()]
        heads = ("Idempotency-Key: once", "X-Deadline: 4h", "Prefer: respond-async", "Connection: close", KEY)
        seen = set()
        for body, spelled in sends:
            received = await _talk(world, _head(*heads, spelled, f"Content-Length: {len(body)}") + body)
            assert received.startswith(b"HTTP/1.1 202 ")
            seen.add(json.loads(received.partition(b"\r\n\r\n")[2])["id"])
        assert len(seen) == 1
        other = _body("something else")
        received = await _talk(world, _head(*heads, f"Content-Length: {len(other)}") + other)
        assert received.startswith(b"HTTP/1.1 422 ")

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "tier"),
    [
        ("/within/4h/v1/chat/completions", "batch"),
        ("/within/4h/v1/chat/completions/", "batch"),
        ("/within/4h/v1/chat/completions?", "batch"),
        ("/by/06:00/v1/chat/completions", "batch"),
        ("/by/06%3A00/v1/chat/completions", "batch"),
        ("/by/2027-01-15T20:00:00Z/v1/chat/completions", "batch"),
        ("/by/2027-01-15T20:00:00%2B01:00/v1/chat/completions", "batch"),
        ("/urgent/v1/chat/completions", "standard"),
        ("/v1/chat/completions", "standard"),
    ],
)
def test_a_base_url_says_how_long_it_may_take(path: str, tier: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("hello", path=path)
        assert (answer.status, answer.tier) == (200, tier)

    play(tmp_path, story)


@pytest.mark.parametrize("path", ["/within/soon/v1/chat/completions", "/by/25:00/v1/chat/completions"])
def test_a_base_url_that_makes_no_sense_is_a_400_that_says_what_would_be_right(path: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("hello", path=path)
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_deadline")
        assert "/v1" in answer.json["error"]["message"]

    play(tmp_path, story)


@pytest.mark.parametrize("header", ["api-key", "x-api-key", "Authorization"])
@pytest.mark.parametrize("deadline", [None, "4h"])
def test_a_key_may_come_in_azures_header_or_in_anthropics(header: str, deadline: str | None, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        shown = "Bearer sb-team" if header == "Authorization" else "sb-team"
        said = {header: shown} | ({"X-Deadline": deadline} if deadline else {})
        body = json.loads(_body("hello"))
        answer = await world.send("POST", "/v1/chat/completions", headers=said, json_body=body)
        assert (answer.status, answer.tier) == (200, "batch" if deadline else "standard")
        refused = await world.send("POST", "/v1/chat/completions", headers=said | {header: "sb-no"}, json_body=body)
        assert refused.status == 401

    team = ProxyKey("team", TenantId("team"), hashlib.sha256(b"sb-team").hexdigest())
    play(
        tmp_path,
        story,
        keys=(team,),
        upstream=UpstreamSettings(api_key_env="PROVIDER_KEY"),
        environ={"PROVIDER_KEY": "sk-real"},
    )

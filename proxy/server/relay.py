"""Bytes to upstream, bytes back, as they are. What is bought is read from a copy of the answer that has passed."""

import io
from collections import deque
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from proxy.domain.credential import Auth
from proxy.domain.errors import UpstreamFault
from proxy.domain.events import RateLimited, UpstreamFailed
from proxy.domain.failure import SERVER_ERROR_MIN, FailureKind
from proxy.domain.money import LedgerRow
from proxy.routing.limitbook import Limits
from proxy.server.exchange import Exchange
from proxy.server.house import House
from proxy.server.native import book_ended, shows_batches
from proxy.server.outcome import Outcome, describe, row_of
from proxy.server.receive import go_on
from proxy.server.replies import BAD_GATEWAY, fail
from proxy.server.unpack import unpacked
from proxy.upstream.http import sendable, upstream_faults
from proxy.upstream.openai import OpenAIUpstream
from proxy.wire.body import estimate_tokens
from proxy.wire.headers import forwarded_request_headers, forwarded_response_headers
from proxy.wire.limits import read_rate
from proxy.wire.usage import Reading, read_stream_usage, read_usage

WHOLE_BYTES_MAX = 2**20
"""Answers of a known length up to this are read before they are sent, so that their headers can name the cost."""
TAIL_BYTES_MAX = 2**18
"""How much of a stream's end is kept to read its usage from."""
TOO_MANY_REQUESTS = 429
READABLE_ENCODINGS = "gzip, deflate"
"""What a call that is booked may be compressed with: encodings that we can read the usage from."""
OWN_AUTH = frozenset({"authorization", "api-key", "x-api-key", "openai-organization", "openai-project"})


async def relay(
    house: House, exchange: Exchange, upstream: OpenAIUpstream, limits: Limits | None, outcome: Outcome
) -> web.StreamResponse:
    """Forward the call, and send back what upstream answers as it arrives."""
    request = exchange.request
    outcome.asked = house.clock.monotonic()
    try:
        async with (
            upstream_faults(f"{request.method} {exchange.endpoint}"),
            house.session.request(
                request.method,
                upstream.url(exchange.path),
                headers=_request_headers(house, exchange, upstream),
                data=_payload(house, exchange),
                allow_redirects=False,
                timeout=upstream.relay_timeout,
            ) as answer,
        ):
            _note_limits(house, exchange, limits, answer)
            outcome.status = answer.status
            if answer.status >= SERVER_ERROR_MIN:
                _note_failure(house, exchange, FailureKind.SERVER_ERROR)
            length = answer.content_length
            if length is not None and length <= WHOLE_BYTES_MAX and request.method != "HEAD":
                return await _send_whole(house, exchange, answer, outcome)
            return await _send_stream(house, exchange, answer, outcome)
    except UpstreamFault as fault:
        _note_failure(house, exchange, FailureKind.UNREACHABLE)
        if outcome.begun is not None:
            _break_off(request)
            return outcome.begun
        outcome.status = BAD_GATEWAY
        headers = describe(exchange, None)
        message = f"The upstream {upstream.name!r} did not answer. {fault.message}"
        return fail(BAD_GATEWAY, message, "upstream_unreachable", headers)


async def _send_whole(
    house: House, exchange: Exchange, answer: aiohttp.ClientResponse, outcome: Outcome
) -> web.StreamResponse:
    body = await answer.read()
    outcome.first_chunk = house.clock.monotonic()
    if exchange.buys:
        outcome.reading = read_usage(unpacked(body, answer.headers.get("Content-Encoding")))
        outcome.row = row_of(house, exchange, outcome)
    headers = _response_headers(exchange, answer, outcome.row, keep_length=False)
    response = web.Response(status=answer.status, reason=answer.reason, body=body, headers=headers)
    outcome.begun = response
    await response.prepare(exchange.request)
    await response.write_eof()
    if shows_batches(exchange.endpoint):
        await book_ended(house, exchange, answer.status, unpacked(body, answer.headers.get("Content-Encoding")))
    return response


async def _send_stream(
    house: House, exchange: Exchange, answer: aiohttp.ClientResponse, outcome: Outcome
) -> web.StreamResponse:
    has_length = answer.content_length is not None
    headers = _response_headers(exchange, answer, None, keep_length=has_length)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    outcome.begun = response
    await response.prepare(exchange.request)
    tail = _Tail()
    async for chunk in answer.content.iter_any():
        if outcome.first_chunk is None:
            outcome.first_chunk = house.clock.monotonic()
        tail.add(chunk)
        await response.write(chunk)
    await response.write_eof()
    if exchange.buys:
        outcome.reading = _read_tail(answer, tail)
    if shows_batches(exchange.endpoint) and tail.whole:
        content = unpacked(tail.join(), answer.headers.get("Content-Encoding"))
        await book_ended(house, exchange, answer.status, content)
    return response


class _Tail:
    """The last bytes of a stream."""

    __slots__ = ("_chunks", "_size", "whole")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.whole = True

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) > TAIL_BYTES_MAX:
            self._size -= len(self._chunks.popleft())
            self.whole = False

    def join(self) -> bytes:
        return b"".join(self._chunks)


def _read_tail(answer: aiohttp.ClientResponse, tail: _Tail) -> Reading | None:
    encoding = answer.headers.get("Content-Encoding")
    if encoding and not tail.whole:
        return None
    content = unpacked(tail.join(), encoding)
    if answer.content_type == "text/event-stream":
        return read_stream_usage(content)
    return read_usage(content) if tail.whole else None


def _request_headers(house: House, exchange: Exchange, upstream: OpenAIUpstream) -> CIMultiDict[str]:
    request, account = exchange.request, exchange.account
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
    headers = CIMultiDict(forwarded_request_headers(raw))
    headers.extend(upstream.headers)
    headers.add("Via", f"1.1 {house.hop}")
    if account.auth is not None or exchange.caller.auth is None:
        _replace_auth(headers, account.buys_with(exchange.caller))
    if exchange.body is not None:
        headers.popall("Content-Length", None)
    if exchange.buys or shows_batches(exchange.endpoint):
        streams = exchange.hints is not None and exchange.hints.stream
        _narrow_encodings(headers, "identity" if streams else READABLE_ENCODINGS)
    return headers


def _replace_auth(headers: CIMultiDict[str], auth: Auth) -> None:
    for name in OWN_AUTH:
        headers.popall(name, None)
    headers.extend(auth.headers)


def _narrow_encodings(headers: CIMultiDict[str], readable: str) -> None:
    if "Accept-Encoding" in headers:
        headers["Accept-Encoding"] = readable


def _payload(house: House, exchange: Exchange) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
    if exchange.body is not None:
        return sendable(exchange.body)
    if not exchange.request.body_exists:
        return None
    go_on(exchange.request)
    return _arriving(house, exchange)


async def _arriving(house: House, exchange: Exchange) -> AsyncIterator[bytes]:
    with house.arrivals.reading(exchange.request):
        async for chunk in exchange.request.content.iter_any():
            yield chunk


def _response_headers(
    exchange: Exchange, answer: aiohttp.ClientResponse, row: LedgerRow | None, *, keep_length: bool
) -> CIMultiDict[str]:
    """Upstream's headers with ours beside. Without `keep_length` the length is left to whoever sends the body."""
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers]
    headers = CIMultiDict(forwarded_response_headers(raw))
    if not keep_length:
        headers.popall("Content-Length", None)
    headers.extend(describe(exchange, row))
    return headers


def _note_limits(house: House, exchange: Exchange, limits: Limits | None, answer: aiohttp.ClientResponse) -> None:
    if limits is None:
        return
    now = house.clock.now()
    reading = read_rate(answer.headers, now=now)
    limits.actual.observe(reading, now)
    if answer.status == TOO_MANY_REQUESTS:
        kind = limits.actual.refused(reading, estimate_tokens(exchange.body or b""), now)
        house.announce(RateLimited(exchange.account.upstream.name, exchange.model, kind, now))


def _note_failure(house: House, exchange: Exchange, kind: FailureKind) -> None:
    house.announce(UpstreamFailed(exchange.account.upstream.name, exchange.model, kind, house.clock.now()))


def _break_off(request: web.BaseRequest) -> None:
    """The answer cannot be completed: close the connection, so that its client sees that it is cut."""
    if request.transport is not None:
        request.transport.close()

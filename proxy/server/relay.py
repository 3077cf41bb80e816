"""The urgent path: bytes to upstream, bytes back, as they are. It waits for neither the store nor anything deferred.

What is bought is read from a copy of the answer that has passed, and booked behind it.
"""

from collections import deque
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from proxy.domain.credential import Auth
from proxy.domain.decision import Reason
from proxy.domain.errors import UpstreamFault
from proxy.domain.events import CallFinished, RateLimited, ShadowLimited
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier
from proxy.routing.limitbook import Limits
from proxy.routing.savings import ledger_row
from proxy.server.exchange import Exchange
from proxy.server.house import House
from proxy.server.replies import BAD_GATEWAY, fail
from proxy.server.unpack import unpacked
from proxy.upstream.http import upstream_faults
from proxy.wire.body import estimate_tokens
from proxy.wire.headers import forwarded_request_headers, forwarded_response_headers, outcome_headers
from proxy.wire.limits import read_rate
from proxy.wire.usage import Reading, read_stream_usage, read_usage, served_tier

WHOLE_BYTES_MAX = 2**20
"""Answers of a known length up to this are read before they are sent, so that their headers can name the cost."""
TAIL_BYTES_MAX = 2**18
"""How much of a stream's end is kept to read its usage from."""
CLIENT_LEFT = 499
TOO_MANY_REQUESTS = 429
RELAY_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=None)
READABLE_ENCODINGS = "gzip, deflate"
"""What a call that is booked may be compressed with: encodings that we can read the usage from."""
OWN_AUTH = frozenset({"authorization", "api-key", "x-api-key", "openai-organization", "openai-project"})


class _Outcome:
    """What becomes of one relayed call, filled in as it goes."""

    __slots__ = ("asked", "begun", "first_chunk", "reading", "row", "status")

    def __init__(self) -> None:
        self.status = CLIENT_LEFT
        self.reading: Reading | None = None
        self.asked: float | None = None
        self.first_chunk: float | None = None
        self.begun: web.StreamResponse | None = None
        self.row: LedgerRow | None = None


async def relay(house: House, exchange: Exchange) -> web.StreamResponse:
    """Serve a call at once. Every end of it, the client's leaving included, is announced and booked."""
    outcome = _Outcome()
    limits = _spend(house, exchange)
    house.calls_under_way += 1
    try:
        return await _forward(house, exchange, limits, outcome)
    finally:
        house.calls_under_way -= 1
        _close_books(house, exchange, outcome)


async def _forward(house: House, exchange: Exchange, limits: Limits | None, outcome: _Outcome) -> web.StreamResponse:
    request = exchange.request
    upstream = exchange.account.upstream
    outcome.asked = house.clock.monotonic()
    try:
        async with (
            upstream_faults(f"{request.method} {exchange.endpoint}"),
            house.session.request(
                request.method,
                upstream.url(exchange.path),
                headers=_request_headers(house, exchange),
                data=_payload(exchange),
                allow_redirects=False,
                timeout=RELAY_TIMEOUT,
            ) as answer,
        ):
            _note_limits(house, exchange, limits, answer)
            outcome.status = answer.status
            length = answer.content_length
            if length is not None and length <= WHOLE_BYTES_MAX and request.method != "HEAD":
                return await _send_whole(house, exchange, answer, outcome)
            return await _send_stream(house, exchange, answer, outcome)
    except UpstreamFault as fault:
        if outcome.begun is not None:
            _break_off(request)
            return outcome.begun
        outcome.status = BAD_GATEWAY
        headers = outcome_headers(
            request_id=exchange.request_id, tier=exchange.decision.tier, reason=exchange.decision.reason
        )
        message = f"The upstream {upstream.name!r} did not answer. {fault.message}"
        return fail(BAD_GATEWAY, message, "upstream_unreachable", headers)


async def _send_whole(
    house: House, exchange: Exchange, answer: aiohttp.ClientResponse, outcome: _Outcome
) -> web.StreamResponse:
    body = await answer.read()
    outcome.first_chunk = house.clock.monotonic()
    if _is_booked(exchange):
        outcome.reading = read_usage(unpacked(body, answer.headers.get("Content-Encoding")))
        outcome.row = _row(house, exchange, outcome)
    headers = _response_headers(exchange, answer, outcome.row, keep_length=False)
    response = web.Response(status=answer.status, reason=answer.reason, body=body, headers=headers)
    outcome.begun = response
    await response.prepare(exchange.request)
    await response.write_eof()
    return response


async def _send_stream(
    house: House, exchange: Exchange, answer: aiohttp.ClientResponse, outcome: _Outcome
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
    if _is_booked(exchange):
        outcome.reading = _read_tail(answer, tail)
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


def _request_headers(house: House, exchange: Exchange) -> CIMultiDict[str]:
    request, account = exchange.request, exchange.account
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
    headers = CIMultiDict(forwarded_request_headers(raw))
    headers.extend(account.upstream.headers)
    headers.add("Via", f"1.1 {house.hop}")
    if exchange.caller.auth is None:
        _replace_auth(headers, account.buys_with(exchange.caller))
    if exchange.body is not None:
        headers.popall("Content-Length", None)
    if _is_booked(exchange):
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


def _payload(exchange: Exchange) -> bytes | AsyncIterator[bytes] | None:
    if exchange.body is not None:
        return exchange.body
    return exchange.request.content.iter_any() if exchange.request.body_exists else None


def _response_headers(
    exchange: Exchange, answer: aiohttp.ClientResponse, row: LedgerRow | None, *, keep_length: bool
) -> CIMultiDict[str]:
    """Upstream's headers with ours beside. Without `keep_length` the length is left to whoever sends the body."""
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers]
    headers = CIMultiDict(forwarded_response_headers(raw))
    if not keep_length:
        headers.popall("Content-Length", None)
    headers.extend(
        outcome_headers(
            request_id=exchange.request_id,
            tier=row.tier if row else exchange.decision.tier,
            reason=exchange.decision.reason,
            cost_usd=row.paid_usd if row else None,
            saved_usd=row.saved_usd if row else None,
            deadline_at=exchange.decision.deadline_at,
        )
    )
    return headers


def _is_booked(exchange: Exchange) -> bool:
    """Whether the call buys tokens: files, lists and unknown routes do not, as far as can be known."""
    return exchange.decision.reason is not Reason.PASSTHROUGH


def _spend(house: House, exchange: Exchange) -> Limits | None:
    """Charge the real and the shadow limits. An urgent call is never held back by them."""
    if not _is_booked(exchange) or not exchange.model:
        return None
    now = exchange.started_at
    limits = house.limits.of(exchange.account.upstream.name, exchange.model, now)
    tokens = estimate_tokens(exchange.body or b"")
    limits.actual.spend(tokens, now)
    over = limits.shadow.arrive(tokens, now)
    if over is not None:
        house.announce(ShadowLimited(exchange.account.upstream.name, exchange.model, over, now))
    return limits


def _note_limits(house: House, exchange: Exchange, limits: Limits | None, answer: aiohttp.ClientResponse) -> None:
    if limits is None:
        return
    now = house.clock.now()
    reading = read_rate(answer.headers, now=now)
    limits.actual.observe(reading, now)
    if answer.status == TOO_MANY_REQUESTS:
        kind = limits.actual.refused(reading, now)
        house.announce(RateLimited(exchange.account.upstream.name, exchange.model, kind, now))


def _close_books(house: House, exchange: Exchange, outcome: _Outcome) -> None:
    row = outcome.row
    if row is None and _is_booked(exchange):
        row = _row(house, exchange, outcome)
    if row is not None:
        house.bookings.add(row)
    asked = outcome.asked if outcome.asked is not None else exchange.started
    house.announce(
        CallFinished(
            request_id=exchange.request_id,
            tenant=exchange.caller.tenant,
            upstream=exchange.account.upstream.name,
            model=exchange.model,
            endpoint=exchange.endpoint,
            policy=exchange.decision.policy,
            tier=row.tier if row else exchange.decision.tier,
            status=outcome.status,
            deadline_at=exchange.decision.deadline_at,
            started_at=exchange.started_at,
            finished_at=house.clock.now(),
            overhead_seconds=asked - exchange.started,
            first_chunk_seconds=None if outcome.first_chunk is None else outcome.first_chunk - asked,
            row=row,
        )
    )


def _row(house: House, exchange: Exchange, outcome: _Outcome) -> LedgerRow:
    """The ledger row. The tier that is billed is the one that the answer names, not the one that was asked for."""
    reading = outcome.reading
    succeeded = outcome.status < 400  # noqa: PLR2004  HTTP's border
    asked_tier = exchange.decision.tier
    tier = served_tier(reading.service_tier) if reading and reading.service_tier else asked_tier
    return ledger_row(
        house.prices,
        id=exchange.request_id,
        request_id=exchange.request_id,
        attempt_id=None,
        batch_id=None,
        tenant=exchange.caller.tenant,
        upstream=exchange.account.upstream.name,
        endpoint=exchange.endpoint,
        model=exchange.model,
        priced_model=reading.model if reading else None,
        policy=exchange.decision.policy,
        tier=tier if succeeded else Tier.STANDARD if asked_tier is Tier.BATCH else asked_tier,
        kind=Purchase.PRIMARY if succeeded else Purchase.FAILED,
        status=outcome.status,
        booked_at=house.clock.now(),
        usage=reading.usage if reading else None,
        paid_unknown=outcome.status in {CLIENT_LEFT, BAD_GATEWAY},
    )


def _break_off(request: web.BaseRequest) -> None:
    """The answer cannot be completed: close the connection, so that its client sees that it is cut."""
    if request.transport is not None:
        request.transport.close()

"""Calls to providers that are not OpenAI-shaped: LiteLLM translates them. No other call comes here."""

from collections.abc import AsyncIterator

from aiohttp import web
from multidict import CIMultiDict

from proxy.domain.errors import ClientFault, UpstreamFault
from proxy.domain.events import UpstreamFailed
from proxy.domain.failure import SERVER_ERROR_MIN, failure_of
from proxy.server.exchange import Exchange
from proxy.server.house import House
from proxy.server.outcome import Outcome, describe, row_of
from proxy.server.replies import BAD_GATEWAY, JSON, fail, reply
from proxy.upstream.litellm import FUNCTIONS, LiteLLMUpstream
from proxy.wire.sse import DONE, event
from proxy.wire.usage import read_stream_usage, read_usage

NOT_FOUND = 404


async def translate(
    house: House, exchange: Exchange, upstream: LiteLLMUpstream, outcome: Outcome
) -> web.StreamResponse:
    """Serve one call at once. Raises `ClientFault` for a route that is not translated."""
    if exchange.body is None or exchange.endpoint not in FUNCTIONS:
        outcome.status = NOT_FOUND
        raise ClientFault(
            f"The upstream {upstream.name!r} is not OpenAI-shaped: it serves only {', '.join(sorted(FUNCTIONS))}.",
            status=NOT_FOUND,
            code="unknown_url",
        )
    outcome.asked = house.clock.monotonic()
    auth = exchange.account.buys_with(exchange.caller)
    try:
        if exchange.hints is not None and exchange.hints.stream:
            chunks = upstream.stream(auth, exchange.endpoint, exchange.body)
            return await _send_stream(house, exchange, outcome, chunks)
        bought = await upstream.call(auth, exchange.endpoint, exchange.body, exchange.decision.tier)
    except UpstreamFault as fault:
        if fault.status is None or fault.status >= SERVER_ERROR_MIN:
            kind = failure_of(fault.status)
            house.announce(UpstreamFailed(upstream.name, exchange.model, kind, house.clock.now()))
        return _refused(exchange, upstream, outcome, fault)
    outcome.status = bought.answer.status
    outcome.reading = read_usage(bought.answer.body)
    outcome.row = row_of(house, exchange, outcome)
    return reply(outcome.status, bought.answer.body, (*bought.answer.headers, *describe(exchange, outcome.row)))


async def _send_stream(
    house: House, exchange: Exchange, outcome: Outcome, chunks: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Frame each chunk as an event. The status is spent with the first one, so that an early error keeps its own."""
    last = b""
    async for chunk in chunks:
        if outcome.begun is None:
            outcome.first_chunk = house.clock.monotonic()
            headers = (("Content-Type", "text/event-stream; charset=utf-8"), *describe(exchange, None))
            outcome.begun = web.StreamResponse(status=200, headers=CIMultiDict(headers))
            await outcome.begun.prepare(exchange.request)
        last = event(chunk)
        await outcome.begun.write(last)
    outcome.status = 200
    outcome.reading = read_stream_usage(last)
    response = outcome.begun or web.StreamResponse(status=200)
    if exchange.endpoint != "/v1/responses":
        await response.write(DONE)
    await response.write_eof()
    return response


def _refused(
    exchange: Exchange, upstream: LiteLLMUpstream, outcome: Outcome, fault: UpstreamFault
) -> web.StreamResponse:
    if outcome.begun is not None:
        if exchange.request.transport is not None:
            exchange.request.transport.close()
        return outcome.begun
    outcome.status = fault.status or BAD_GATEWAY
    headers = describe(exchange, None)
    if fault.status is not None:
        return reply(fault.status, fault.body, (JSON, *headers))
    message = f"The upstream {upstream.name!r} did not answer. {fault.message}"
    return fail(BAD_GATEWAY, message, "upstream_unreachable", headers)

"""Serving a call at once: charge the limits, relay or translate it, and close its books however it ends.

It waits for neither the store nor anything deferred: what was bought is booked behind the answer.
"""

from aiohttp import web

from proxy.domain.events import CallFinished, ShadowLimited
from proxy.routing.limitbook import Limits
from proxy.server.exchange import Exchange
from proxy.server.house import House
from proxy.server.outcome import Outcome, row_of
from proxy.server.relay import relay
from proxy.server.translate import translate
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.wire.body import estimate_tokens


async def serve_at_once(house: House, exchange: Exchange) -> web.StreamResponse:
    """Serve a call at once. Every end of it, the client's leaving included, is announced and booked."""
    outcome = Outcome()
    limits = _spend(house, exchange)
    house.calls_under_way += 1
    upstream = exchange.account.upstream
    try:
        with house.limits.calling(upstream.name):
            if isinstance(upstream, LiteLLMUpstream):
                return await translate(house, exchange, upstream, outcome)
            return await relay(house, exchange, upstream, limits, outcome)
    finally:
        house.calls_under_way -= 1
        _close_books(house, exchange, outcome)


def _spend(house: House, exchange: Exchange) -> Limits | None:
    """Charge the real and the shadow limits. An urgent call is never held back by them."""
    if not exchange.buys or not exchange.model:
        return None
    now = exchange.started_at
    limits = house.limits.of(exchange.account.upstream.name, exchange.model, now)
    tokens = estimate_tokens(exchange.body or b"")
    limits.actual.spend(tokens, now, urgent=True)
    over = limits.shadow.arrive(tokens, now)
    if over is not None:
        house.announce(ShadowLimited(exchange.account.upstream.name, exchange.model, over, now))
    return limits


def _close_books(house: House, exchange: Exchange, outcome: Outcome) -> None:
    row = outcome.row
    if row is None and exchange.buys:
        row = row_of(house, exchange, outcome)
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

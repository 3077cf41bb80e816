"""What becomes of a call that is served at once: filled in as it goes, priced, described in headers."""

from aiohttp import web

from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier
from proxy.routing.savings import Observed, ledger_row
from proxy.server.exchange import Exchange
from proxy.server.house import House
from proxy.server.replies import BAD_GATEWAY
from proxy.wire.headers import outcome_headers
from proxy.wire.usage import Reading, served_tier

CLIENT_LEFT = 499
"""The status that is noted for a client that left before it had an answer."""


class Outcome:
    """One call's. `asked` and `first_chunk` are monotonic seconds; `begun` is the answer that is being sent."""

    __slots__ = ("asked", "begun", "first_chunk", "reading", "row", "status")

    def __init__(self) -> None:
        self.status = CLIENT_LEFT
        self.reading: Reading | None = None
        self.asked: float | None = None
        self.first_chunk: float | None = None
        self.begun: web.StreamResponse | None = None
        self.row: LedgerRow | None = None


def row_of(house: House, exchange: Exchange, outcome: Outcome) -> LedgerRow:
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
        reason=exchange.decision.reason,
        observed=_observed(house, exchange) if succeeded else None,
        deadline_at=None if outcome.status == CLIENT_LEFT else exchange.decision.deadline_at,
    )


def _observed(house: House, exchange: Exchange) -> Observed | None:
    """What would have become of a call whose waiting was only observed."""
    would_be = exchange.decision.observed
    if would_be is None or would_be.grounds is None:
        return None
    return Observed(would_be.tier, would_be.grounds.odds, house.billed_twice_share)


def describe(exchange: Exchange, row: LedgerRow | None) -> list[tuple[str, str]]:
    """The call's outcome as headers; without a row, before its cost is known."""
    return outcome_headers(
        request_id=exchange.request_id,
        tier=row.tier if row else exchange.decision.tier,
        reason=exchange.decision.reason,
        cost_usd=row.paid_usd if row else None,
        saved_usd=row.saved_usd if row else None,
        deadline_at=exchange.decision.deadline_at,
        observed_tier=exchange.decision.observed.tier if exchange.decision.observed else None,
    )

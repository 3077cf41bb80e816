from decimal import Decimal

import pytest

from proxy.backtest.account import SLACK_EDGES, Account
from proxy.domain.decision import Reason
from proxy.domain.events import (
    RateLimited,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
    ShadowLimited,
    WasteBooked,
)
from proxy.domain.ids import RequestId, TenantId, UpstreamName
from proxy.domain.labels import EscalationReason, LimitKind, OutcomeLabel
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier

AT = 1_800_000_000.0
NAME, TENANT, MODEL = UpstreamName("u"), TenantId("t"), "m"


def row(tier: Tier, paid: str, listed: str, kind: Purchase = Purchase.PRIMARY, at: float = AT) -> LedgerRow:
    return LedgerRow(
        id="x",
        request_id=RequestId("r"),
        attempt_id=None,
        batch_id=None,
        tenant=TENANT,
        upstream=NAME,
        endpoint="/v1/chat/completions",
        model=MODEL,
        policy="default",
        tier=tier,
        kind=kind,
        status=200,
        booked_at=at,
        usage=None,
        paid_usd=Decimal(paid),
        list_usd=Decimal(listed),
    )


def escalated(request_id: str, *, blind: bool) -> RequestEscalated:
    return RequestEscalated(
        RequestId(request_id), NAME, MODEL, Tier.STANDARD, EscalationReason.DEADLINE, blind, slack_seconds=5.0, at=AT
    )


def finished(
    *,
    slack: float,
    tier: Tier | None = Tier.BATCH,
    outcome: OutcomeLabel = OutcomeLabel.OK,
    had: float = 3600.0,
    at: float = AT,
    request_id: str = "r",
) -> RequestFinished:
    return RequestFinished(
        request_id=RequestId(request_id),
        tenant=TENANT,
        upstream=NAME,
        model=MODEL,
        endpoint="/v1/chat/completions",
        policy="default",
        tier=tier,
        outcome=outcome,
        status=200,
        accepted_at=at + slack - had,
        deadline_at=at + slack,
        at=at,
        batch_id=None,
        row=None if tier is None else row(tier, "1" if tier is Tier.BATCH else "2", "2", at=at),
    )


@pytest.mark.parametrize(
    ("slack", "outcome", "missed"),
    [(0.0, OutcomeLabel.OK, 0), (-0.1, OutcomeLabel.OK, 1), (50.0, OutcomeLabel.ERROR, 1), (50.0, OutcomeLabel.OK, 0)],
)
def test_a_deadline_is_met_by_an_answer_in_time_and_by_nothing_else(
    slack: float, outcome: OutcomeLabel, missed: int
) -> None:
    account = Account(AT)
    account.listen(finished(slack=slack, outcome=outcome))
    assert (account.with_deadline, account.missed) == (1, missed)
    assert account.missed_by_class == ({3600: 1} if missed else {})


def test_slack_is_counted_in_classes() -> None:
    account = Account(AT)
    for slack in (-5.0, 0.0, 30.0, 3600.0, 3601.0, 1e6):
        account.listen(finished(slack=slack))
    assert account.slack_classes == {0: 2, 1: 1, 4: 1, 5: 1, len(SLACK_EDGES): 1}


def test_money_is_summed_by_hour_and_tier_and_what_was_saved_by_class() -> None:
    account = Account(AT)
    account.listen(finished(slack=10.0))
    account.listen(escalated("late", blind=False))
    account.listen(finished(slack=10.0, tier=Tier.STANDARD, at=AT + 4000, request_id="late"))
    account.listen(WasteBooked(row(Tier.BATCH, "1", "0", Purchase.DUPLICATE, at=AT + 4000)))
    assert [account.list_usd, account.paid_usd, account.duplicate_usd] == [Decimal(4), Decimal(4), Decimal(1)]
    assert account.spend_by_hour == {0: {Tier.BATCH: 1}, 1: {Tier.STANDARD: 2, Tier.BATCH: 1}}
    assert account.list_by_hour == {0: 2, 1: 2}
    assert account.saved_by_class == {3600: 1}
    assert (account.deferred, account.escalated, account.answered) == (2, 1, 2)


def test_an_expired_request_is_a_failure_and_costs_nothing() -> None:
    account = Account(AT)
    account.listen(finished(slack=-3600.0, tier=None, outcome=OutcomeLabel.EXPIRED))
    assert (account.failed, account.answered, account.missed) == (1, 0, 1)
    assert account.paid_usd == Decimal(0)


def test_rate_limits_and_blind_escalations_are_counted_and_the_rest_is_passed_over() -> None:
    account = Account(AT)
    account.listen(ShadowLimited(NAME, MODEL, LimitKind.REQUESTS, AT))
    account.listen(RateLimited(NAME, MODEL, LimitKind.REQUESTS, AT))
    for blind in (True, False):
        account.listen(escalated("r", blind=blind))
    account.listen(
        RequestDecided(
            RequestId("r"), TENANT, NAME, MODEL, "/v1/x", Tier.BATCH, Reason.DEADLINE_ALLOWS, "default", None, AT
        )
    )
    assert (account.over_limit, account.refused, account.blind) == (1, 1, 1)

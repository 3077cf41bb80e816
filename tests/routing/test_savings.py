from decimal import Decimal

import pytest

from proxy.domain.decision import Reason
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.tier import Tier
from proxy.routing.pricing import ModelPrice, PriceBook, TierPrice
from proxy.routing.savings import Observed, ledger_row

BOOK = PriceBook.from_cost_map(
    {},
    {
        "m": ModelPrice(standard=TierPrice(Decimal(2), Decimal(8)), batch=TierPrice(Decimal(1), Decimal(4))),
        "dear": ModelPrice(standard=TierPrice(Decimal(20)), batch=TierPrice(Decimal(10))),
        "sync-only": ModelPrice(standard=TierPrice(Decimal(2))),
        "batch-only": ModelPrice(batch=TierPrice(Decimal(1))),
    },
    "a test",
)
TOKENS = Usage(input_tokens=1_000_000, output_tokens=500_000)


def row(
    model: str = "m",
    tier: Tier = Tier.BATCH,
    kind: Purchase = Purchase.PRIMARY,
    status: int = 200,
    usage: Usage | None = TOKENS,
    *,
    priced_model: str | None = None,
    paid_unknown: bool = False,
    observed: Observed | None = None,
) -> LedgerRow:
    return ledger_row(
        BOOK,
        id="att-1",
        request_id=RequestId("req-1"),
        attempt_id=AttemptId("att-1"),
        batch_id=BatchId("bat-1"),
        tenant=TenantId("acme"),
        upstream=UpstreamName("openai"),
        endpoint="/v1/chat/completions",
        model=model,
        policy="default",
        tier=tier,
        kind=kind,
        status=status,
        booked_at=5.0,
        usage=usage,
        priced_model=priced_model,
        paid_unknown=paid_unknown,
        reason=Reason.DEADLINE_ALLOWS,
        observed=observed,
    )


def test_a_row_carries_what_it_was_given() -> None:
    assert row() == LedgerRow(
        id="att-1",
        request_id=RequestId("req-1"),
        attempt_id=AttemptId("att-1"),
        batch_id=BatchId("bat-1"),
        tenant=TenantId("acme"),
        upstream=UpstreamName("openai"),
        endpoint="/v1/chat/completions",
        model="m",
        policy="default",
        tier=Tier.BATCH,
        kind=Purchase.PRIMARY,
        status=200,
        booked_at=5.0,
        usage=TOKENS,
        paid_usd=Decimal(3),
        list_usd=Decimal(6),
        reason=Reason.DEADLINE_ALLOWS,
    )


@pytest.mark.parametrize(
    ("found", "paid_usd", "list_usd"),
    [
        (row(tier=Tier.STANDARD), 6, 6),
        (row(tier=Tier.FLEX), None, 6),
        (row("sync-only"), None, 2),
        (row("batch-only"), 1, None),
        (row("unheard-of"), None, None),
        # a late second answer was paid for and delivered nothing
        (row(kind=Purchase.DUPLICATE), 3, 0),
        (row("unheard-of", kind=Purchase.DUPLICATE), None, 0),
        # providers do not bill failed calls
        (row(kind=Purchase.FAILED, status=429, usage=None), 0, 0),
        (row("unheard-of", kind=Purchase.FAILED, status=400, usage=None), 0, 0),
        (row(status=400, usage=None), 0, 0),
        # unless they counted tokens for one
        (row(kind=Purchase.FAILED, status=500), 3, 0),
        # nobody knows what was billed
        (row(kind=Purchase.FAILED, status=0, usage=None), None, 0),
        (row(kind=Purchase.FAILED, status=502, usage=None, paid_unknown=True), None, 0),
        (row(status=499, usage=None, paid_unknown=True), None, None),
        (row(paid_unknown=True), None, 6),
        (row(usage=None), None, None),
        # the model of the answer counts, if it is known
        (row(priced_model="dear"), 10, 20),
        (row(priced_model="unheard-of"), 3, 6),
        (row("unheard-of", priced_model="m"), 3, 6),
    ],
)
def test_paid_and_list_price(found: LedgerRow, paid_usd: int | None, list_usd: int | None) -> None:
    assert (found.paid_usd, found.list_usd) == (paid_usd, list_usd)


def test_the_model_of_the_row_stays_the_one_that_was_asked_for() -> None:
    assert row(priced_model="dear").model == "m"


def test_what_was_only_observed_is_reckoned_with_its_odds() -> None:
    """Three of four batches in time, a third of the others billed all the same: 3/4 of 3 + 1/4 of (6 + 1/3 of 3)."""
    found = row(tier=Tier.STANDARD, observed=Observed(Tier.BATCH, odds=0.75, billed_twice_share=1 / 3))
    assert (found.paid_usd, found.list_usd, found.observed_tier) == (Decimal(6), Decimal(6), Tier.BATCH)
    assert found.observed_usd is not None
    assert float(found.observed_usd) == pytest.approx(0.75 * 3 + 0.25 * (6 + 1))


@pytest.mark.parametrize(
    ("model", "tier", "usage"),
    [("m", Tier.FLEX, TOKENS), ("m", Tier.BATCH, None), ("sync-only", Tier.BATCH, TOKENS), ("?", Tier.BATCH, TOKENS)],
)
def test_what_would_have_been_paid_is_unknown_where_odds_prices_or_tokens_are(
    model: str, tier: Tier, usage: Usage | None
) -> None:
    found = row(model, Tier.STANDARD, usage=usage, observed=Observed(tier, odds=0.75, billed_twice_share=0.3))
    assert (found.observed_tier, found.observed_usd) == (tier, None)

from decimal import Decimal

import pytest

from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.tier import Tier
from proxy.routing.pricing import ModelPrice, PriceBook, TierPrice
from proxy.routing.savings import ledger_row

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

from dataclasses import replace
from decimal import Decimal

import pytest

from proxy.domain.events import WasteBooked
from proxy.domain.ids import RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.tier import Tier
from proxy.routing import mixbook
from proxy.routing.mixbook import MixBook

NAME = UpstreamName("openai")
MODEL = "gpt-4o-mini"


def purchase(tier: Tier, usage: Usage | None, model: str = MODEL) -> WasteBooked:
    return WasteBooked(
        LedgerRow(
            id="row",
            request_id=RequestId("r"),
            attempt_id=None,
            batch_id=None,
            tenant=TenantId("alice"),
            upstream=NAME,
            endpoint="/v1/chat/completions",
            model=model,
            policy="default",
            tier=tier,
            kind=Purchase.PRIMARY,
            status=200,
            booked_at=0.0,
            usage=usage,
            paid_usd=Decimal(1),
            list_usd=Decimal(2),
        )
    )


def test_a_few_purchases_are_no_experience() -> None:
    book = MixBook()
    for _ in range(mixbook.PURCHASES_MIN - 1):
        book.listen(purchase(Tier.STANDARD, Usage(100, 10)))
    assert book.of(NAME, MODEL) is None
    book.listen(purchase(Tier.STANDARD, Usage(100, 10)))
    assert book.of(NAME, MODEL) is not None


def test_the_caches_of_calls_and_of_batches_are_told_apart() -> None:
    book = MixBook()
    for _ in range(50):
        book.listen(purchase(Tier.STANDARD, Usage(100, 20, cached_tokens=80)))
        book.listen(purchase(Tier.BATCH, Usage(100, 40, cached_tokens=10)))
    mix = book.of(NAME, MODEL)
    assert mix is not None
    assert mix.cached_share == pytest.approx(0.8)
    assert mix.cached_share_in_batches == pytest.approx(0.1)
    assert mix.output_per_input == pytest.approx(0.3)


def test_until_calls_have_been_seen_no_cache_is_assumed() -> None:
    book = MixBook()
    for _ in range(50):
        book.listen(purchase(Tier.BATCH, Usage(100, 20, cached_tokens=50)))
    mix = book.of(NAME, MODEL)
    assert mix is not None
    assert mix.cached_share == 0


def test_the_last_hundred_purchases_count_most() -> None:
    book = MixBook()
    for _ in range(1000):
        book.listen(purchase(Tier.FLEX, Usage(100, 10)))
    for _ in range(500):
        book.listen(purchase(Tier.FLEX, Usage(100, 10, cached_tokens=90)))
    mix = book.of(NAME, MODEL)
    assert mix is not None
    assert mix.cached_share == pytest.approx(0.9, abs=0.01)


def test_what_was_not_metered_is_passed_over() -> None:
    book = MixBook()
    for _ in range(100):
        book.listen(purchase(Tier.STANDARD, None))
        book.listen(purchase(Tier.STANDARD, Usage(0, 0)))
    assert book.of(NAME, MODEL) is None


def test_names_that_clients_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixbook, "MODELS_MAX", 3)
    book = MixBook()
    for _ in range(mixbook.PURCHASES_MIN):
        for model in ("a", "b", "c"):
            book.listen(purchase(Tier.STANDARD, Usage(100, 10), model))
    book.listen(purchase(Tier.STANDARD, Usage(100, 10), "d"))
    assert book.of(NAME, "a") is None
    assert book.of(NAME, "c") is not None


def test_another_account_has_its_own_mix() -> None:
    book = MixBook()
    other = UpstreamName("other")
    row = purchase(Tier.STANDARD, Usage(100, 10)).row
    for _ in range(mixbook.PURCHASES_MIN):
        book.listen(WasteBooked(replace(row, upstream=other)))
    assert book.of(NAME, MODEL) is None
    assert book.of(other, MODEL) is not None

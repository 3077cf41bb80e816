from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, from_picodollars, to_picodollars
from proxy.domain.tier import Tier

ROW = LedgerRow(
    id="req-1",
    request_id=RequestId("req-1"),
    attempt_id=None,
    batch_id=None,
    tenant=TenantId("acme"),
    upstream=UpstreamName("openai"),
    endpoint="/v1/chat/completions",
    model="gpt-5-mini",
    policy="default",
    tier=Tier.BATCH,
    kind=Purchase.PRIMARY,
    status=200,
    booked_at=0.0,
    usage=None,
    paid_usd=Decimal("0.25"),
    list_usd=Decimal("0.6"),
)


@given(st.integers(-(10**24), 10**24))
def test_every_whole_number_of_picodollars_survives_the_round_trip(picodollars: int) -> None:
    assert to_picodollars(from_picodollars(picodollars)) == picodollars


@given(st.decimals(-(10**6), 10**6, places=12))
def test_every_amount_of_twelve_places_survives_the_round_trip(amount: Decimal) -> None:
    assert from_picodollars(to_picodollars(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "picodollars"),
    [("1", 10**12), ("0.0000000001", 100), ("5e-13", 0), ("15e-13", 2), ("25e-13", 2), ("-15e-13", -2), ("0", 0)],
)
def test_amounts_are_rounded_half_even_to_a_picodollar(amount: str, picodollars: int) -> None:
    assert to_picodollars(Decimal(amount)) == picodollars


def test_an_unknown_amount_stays_unknown() -> None:
    assert to_picodollars(None) is None
    assert from_picodollars(None) is None


def test_a_row_saved_the_list_price_less_what_was_paid() -> None:
    assert ROW.saved_usd == Decimal("0.35")


def test_waste_saves_less_than_nothing() -> None:
    assert replace(ROW, kind=Purchase.DUPLICATE, list_usd=Decimal(0)).saved_usd == Decimal("-0.25")


def test_what_was_saved_is_unknown_while_either_amount_is() -> None:
    assert replace(ROW, paid_usd=None).saved_usd is None
    assert replace(ROW, list_usd=None).saved_usd is None


def test_a_free_answer_saved_its_whole_list_price() -> None:
    assert replace(ROW, paid_usd=Decimal(0)).saved_usd == Decimal("0.6")


def test_a_deadline_is_met_up_to_its_very_instant_and_where_there_is_none_nothing_is_met_or_missed() -> None:
    assert replace(ROW, booked_at=5.0, deadline_at=5.0).met is True
    assert replace(ROW, booked_at=5.5, deadline_at=5.0).met is False
    assert ROW.met is None


def test_who_got_no_answer_missed_his_deadline_even_if_he_was_told_at_its_very_instant() -> None:
    assert replace(ROW, kind=Purchase.EXPIRED, booked_at=5.0, deadline_at=5.0).met is False

from dataclasses import replace
from decimal import Decimal

import pytest

from proxy.demo.settlement import Settlement

GOOD = Settlement(
    by_tier={"batch": 8, "standard": 2},
    sent=10,
    right=10,
    met=8,
    missed=0,
    over_limit=3,
    rate_limited=0,
    list_usd=Decimal("1.00"),
    paid_usd=Decimal("0.60"),
    waste_usd=Decimal(0),
    billed_usd=Decimal("0.60"),
    unpriced=0,
    left_over=0,
)


def test_a_settlement_that_adds_up_has_no_faults() -> None:
    assert GOOD.faults() == []
    assert GOOD.saved_usd == Decimal("0.40")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("right", 9, "1 of 10 answers"),
        ("missed", 1, "1 deadlines"),
        ("billed_usd", Decimal("0.600001"), "the provider $0.600001"),
        ("unpriced", 2, "2 purchases"),
        ("left_over", 1, "1 files"),
    ],
)
def test_anything_that_does_not_add_up_is_said(field: str, value: object, said: str) -> None:
    (fault,) = replace(GOOD, **{field: value}).faults()  # type: ignore[arg-type]  # fields come from the table above
    assert said in fault

from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from proxy.domain.ids import TenantId
from proxy.routing import spending
from proxy.routing.spending import Spending, is_refused
from proxy.routing.terms import Budget, OverBudget

NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""
HOUR = 3600.0
ALICE, BOB = TenantId("alice"), TenantId("bob")


def test_what_is_bought_is_added_to_what_the_ledger_says() -> None:
    kept = Spending(UTC)
    kept.know(ALICE, Decimal("1.5"), NOON)
    kept.add(ALICE, Decimal("0.25"), NOON + 1)
    assert kept.of(ALICE, NOON + 2) == Decimal("1.75")
    kept.know(ALICE, Decimal("1.7"), NOON + 3)
    assert kept.of(ALICE, NOON + 4) == Decimal("1.7")


def test_of_a_tenant_that_the_ledger_was_not_asked_about_nothing_is_claimed() -> None:
    kept = Spending(UTC)
    kept.add(BOB, Decimal(5), NOON)
    assert kept.of(BOB, NOON) is None
    assert kept.known() == []


def test_every_day_begins_with_nothing_at_midnight_where_the_operator_is() -> None:
    kept = Spending(ZoneInfo("Europe/Berlin"))
    kept.know(ALICE, Decimal(9), NOON)
    assert kept.of(ALICE, NOON + 11 * HOUR - 1) == 9
    assert kept.of(ALICE, NOON + 11 * HOUR) == 0
    kept.add(ALICE, Decimal(1), NOON + 12 * HOUR)
    assert kept.of(ALICE, NOON + 12 * HOUR) == 1


def test_a_row_that_is_told_late_does_not_bring_yesterday_back() -> None:
    kept = Spending(UTC)
    kept.know(ALICE, Decimal(1), NOON + 13 * HOUR)
    kept.add(ALICE, Decimal(2), NOON)
    assert kept.of(ALICE, NOON + 13 * HOUR) == 3


@pytest.mark.parametrize(("noon", "hours"), [(1_806_235_200.0, 23), (1_824_984_000.0, 25)])
def test_days_on_which_clocks_change_are_as_long_as_they_are(noon: float, hours: int) -> None:
    """2027-03-28 and 2027-10-31."""
    begin, end = Spending(ZoneInfo("Europe/Berlin")).day(noon)
    assert begin < noon < end
    assert end - begin == hours * HOUR


def test_tenants_that_clients_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "TENANTS_MAX", 2)
    kept = Spending(UTC)
    for name in ("a", "b", "c"):
        kept.know(TenantId(name), Decimal(1), NOON)
    assert kept.known() == ["b", "c"]


@pytest.mark.parametrize(
    ("spent", "over", "urgent_and_waiting"),
    [
        ("9.99", OverBudget.REFUSE, (False, False)),
        ("10", OverBudget.REFUSE, (True, True)),
        ("10", OverBudget.DEFERRABLE_ONLY, (True, False)),
    ],
)
def test_over_the_budget_it_depends_on_what_the_policy_says(
    spent: str, over: OverBudget, urgent_and_waiting: tuple[bool, bool]
) -> None:
    budget = Budget(Decimal(10), over)
    refused = [is_refused(budget, Decimal(spent), can_wait=can_wait) for can_wait in (False, True)]
    assert tuple(refused) == urgent_and_waiting

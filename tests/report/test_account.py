"""Sums of a ledger are the ledger's own: by hand for a few rows, and against every row for many."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.ids import TenantId
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier
from proxy.report.account import Account, Dimension, Span, account
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from tests.report.conftest import NOW, row

EVER = Span(0.0, float("inf"))
HOUR, DAY = 3600.0, 86_400.0


def _account(
    path: Path,
    rows: Sequence[LedgerRow],
    *by: Dimension,
    span: Span = EVER,
    zone: tzinfo = UTC,
    tenant: str | None = None,
) -> Account:
    async def whole() -> Account:
        store = SqliteStore(path, SystemClock(), durable=False)
        await store.start()
        try:
            await store.book(rows)
            return await account(store, span, by, zone, NOW, None if tenant is None else TenantId(tenant))
        finally:
            await store.close()

    return asyncio.run(whole())


def _keys(found: Account) -> list[tuple[str, ...]]:
    return [entry.key for entry in found.entries]


def test_every_kind_of_purchase_is_counted_where_it_belongs(tmp_path: Path) -> None:
    rows = [
        row(paid="1", listed="2", deadline_at=NOW),
        row(kind=Purchase.DUPLICATE, paid="0.5", listed="0"),
        row(kind=Purchase.FAILED, paid="0.25", listed="0", deadline_at=NOW - HOUR),
        row(kind=Purchase.FAILED, paid=None, listed="0"),
        row(kind=Purchase.NATIVE, paid="3", listed="3"),
        row(kind=Purchase.EXPIRED, paid="0", listed="0", deadline_at=NOW - HOUR),
        row(paid="2", listed="2", tier=Tier.STANDARD, observed="1.25"),
        row(paid="4", listed=None),
    ]
    total = _account(tmp_path / "a.db", rows, Dimension.DAY).total
    assert (total.requests, total.duplicates, total.failed, total.native, total.expired) == (3, 1, 2, 1, 1)
    assert (total.paid_usd, total.list_usd, total.saved_usd) == (Decimal("10.75"), Decimal(7), Decimal("-3.75"))
    assert (total.duplicates_usd, total.failed_usd, total.native_usd) == (Decimal("0.5"), Decimal("0.25"), Decimal(3))
    assert (total.unpriced, total.met, total.missed) == (2, 1, 2)
    assert (total.observed, total.would_have_saved_usd) == (1, Decimal("0.75"))
    assert total.saved_percent == Decimal("-53.6")


def test_groups_are_in_order_and_a_request_that_nothing_was_bought_for_has_no_tier(tmp_path: Path) -> None:
    rows = [
        row(tier=Tier.STANDARD),
        row(tier=Tier.BATCH, model="a"),
        row(tier=Tier.PRIORITY),
        row(tier=Tier.FLEX),
        row(tier=Tier.STANDARD, kind=Purchase.EXPIRED, paid="0", listed="0"),
    ]
    assert _keys(_account(tmp_path / "a.db", rows, Dimension.TIER)) == [
        ("batch",),
        ("flex",),
        ("standard",),
        ("priority",),
        ("none",),
    ]
    assert _keys(_account(tmp_path / "b.db", rows, Dimension.MODEL, Dimension.TENANT)) == [
        ("a", "alice"),
        ("gpt-4o-mini", "alice"),
    ]


def test_a_day_is_a_day_of_the_time_zone(tmp_path: Path) -> None:
    rows = [row(at=NOW - 12 * HOUR - 1), row(at=NOW - 12 * HOUR), row(at=NOW - 18 * HOUR)]
    assert _keys(_account(tmp_path / "a.db", rows, Dimension.DAY)) == [("2027-01-14",), ("2027-01-15",)]
    east = _account(tmp_path / "b.db", rows, Dimension.DAY, zone=ZoneInfo("Asia/Kolkata"))
    assert [(entry.key, entry.figures.requests) for entry in east.entries] == [
        (("2027-01-14",), 1),
        (("2027-01-15",), 2),
    ]


def test_months_and_days_can_stand_beside_each_other(tmp_path: Path) -> None:
    rows = [row(at=NOW - 20 * DAY), row()]
    found = _account(tmp_path / "a.db", rows, Dimension.MONTH, Dimension.DAY)
    assert _keys(found) == [("2026-12", "2026-12-26"), ("2027-01", "2027-01-15")]


def test_only_the_span_and_only_the_tenant_are_counted(tmp_path: Path) -> None:
    rows = [row(at=NOW - 100), row(at=NOW - 50, tenant="bob"), row(at=NOW - 10)]
    span = Span(NOW - 100, NOW - 10)
    assert _account(tmp_path / "a.db", rows, Dimension.DAY, span=span).total.requests == 2
    assert _account(tmp_path / "b.db", rows, Dimension.MODEL, span=span).total.requests == 2
    assert _account(tmp_path / "c.db", rows, Dimension.MODEL, tenant="bob").total.requests == 1
    assert _account(tmp_path / "d.db", rows, Dimension.MODEL, tenant="nobody").entries == []


def test_an_empty_ledger_has_no_entries_and_a_total_of_nothing(tmp_path: Path) -> None:
    found = _account(tmp_path / "a.db", [], Dimension.DAY)
    assert (found.entries, found.total.paid_usd, found.total.saved_percent) == ([], Decimal(0), None)


def test_a_row_that_a_faster_clock_has_booked_is_there_too(tmp_path: Path) -> None:
    assert _keys(_account(tmp_path / "a.db", [row(at=NOW + 13 * HOUR)], Dimension.DAY)) == [("2027-01-16",)]


Amounts = st.none() | st.integers(0, 10**15).map(lambda picodollars: str(Decimal(picodollars) / 10**12))
Rows = st.lists(
    st.builds(
        row,
        at=st.floats(NOW - 40 * DAY, NOW),
        tenant=st.sampled_from(["alice", "bob"]),
        model=st.sampled_from(["a", "b"]),
        tier=st.sampled_from(Tier),
        kind=st.sampled_from(Purchase),
        paid=Amounts,
        listed=Amounts,
        deadline_at=st.none() | st.floats(NOW - 40 * DAY, NOW),
    ),
    max_size=20,
)
By = st.lists(st.sampled_from(Dimension), min_size=1, max_size=6, unique=True)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=Rows, by=By, zone=st.sampled_from([UTC, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")]))
def test_groups_sum_up_to_the_total_and_the_total_is_that_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[LedgerRow], by: list[Dimension], zone: tzinfo
) -> None:
    found = _account(tmp_path_factory.mktemp("ledger") / "a.db", rows, *by, zone=zone)
    paid = [(one.paid_usd, one.list_usd) for one in rows if one.paid_usd is not None]
    assert found.total.paid_usd == sum((paid_usd for paid_usd, _ in paid), Decimal(0))
    assert found.total.list_usd == sum((list_usd for _, list_usd in paid if list_usd is not None), Decimal(0))
    assert found.total.met == sum(one.met is True for one in rows)
    assert found.total.missed == sum(one.met is False for one in rows)
    for name in ("requests", "paid_usd", "list_usd", "duplicates", "failed", "native", "unpriced", "met", "missed"):
        assert sum(getattr(entry.figures, name) for entry in found.entries) == getattr(found.total, name), name

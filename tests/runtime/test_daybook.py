"""The ledger's day: exact, and read seldom."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.ids import TenantId
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier
from proxy.runtime.clock import SystemClock
from proxy.runtime.daybook import READ_SECONDS, DayBook, hours_of_day, sum_up
from proxy.store.interface import LedgerTotal
from proxy.store.sqlite import SqliteStore
from tests.store import samples

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: tzinfo = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


class CountingStore(SqliteStore):
    """A real store that counts how often its ledger is summed up, and can be away."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.asked: list[tuple[float, float]] = []
        self.away = False

    async def ledger(self, *, since: float, until: float, tenant: TenantId | None = None) -> list[LedgerTotal]:
        if self.away:
            raise StoreFault("away")
        self.asked.append((since, until))
        return await super().ledger(since=since, until=until, tenant=tenant)


def play(folder: Path, story: Callable[[CountingStore], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = CountingStore(folder / "standby.db", SystemClock())
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def row(name: str, booked_at: float) -> LedgerRow:
    return replace(samples.ledger(samples.call_for(samples.request()), booked_at=booked_at), id=name)


def test_the_days_sums_are_the_ledgers(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        noon = at("2027-01-15T12:00")
        await store.book([row("a", noon), row("b", noon - 7200), row("c", noon - 7200)])
        day = await DayBook(store, UTC).today(noon + 1)
        (total,) = await store.ledger(since=day.begins_at, until=noon + 1)
        assert (day.money.purchases, day.money.list_usd, day.money.paid_usd) == (3, total.list_usd, total.paid_usd)
        assert day.money.saved_usd == Decimal("0.75")
        assert [hour.money.purchases for hour in day.hours] == [0] * 10 + [2, 0, 1]

    play(tmp_path, story)


def test_yesterday_and_what_is_booked_ahead_do_not_count(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        midnight = at("2027-01-15T00:00", BERLIN)
        await store.book([row("yesterday", midnight - 0.001), row("today", midnight), row("later", midnight + 90_000)])
        day = await DayBook(store, BERLIN).today(midnight + 7201)
        assert (day.begins_at, day.timezone, day.money.purchases) == (midnight, "Europe/Berlin", 1)

    play(tmp_path, story)


def test_however_many_look_the_ledger_is_read_once_in_a_while(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        noon = at("2027-01-15T12:00")
        book = DayBook(store, UTC)
        await asyncio.gather(*(book.today(noon) for _ in range(100)))
        assert len(store.asked) == 13
        await book.today(noon + READ_SECONDS - 0.01)
        assert len(store.asked) == 13
        await book.today(noon + READ_SECONDS)
        assert len(store.asked) == 15

    play(tmp_path, story)


def test_a_row_that_is_booked_late_is_found_in_turn(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        noon = at("2027-01-15T12:00")
        book = DayBook(store, UTC)
        await book.today(noon)
        await store.book([row("late", noon - 8 * 3600)])
        looks = 0
        while (await book.today(noon + READ_SECONDS * looks)).money.purchases == 0:
            looks += 1
            assert looks <= 12

    play(tmp_path, story)


def test_an_hour_is_read_again_once_it_has_ended_and_a_new_day_begins_at_nothing(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        midnight = at("2027-01-15T00:00")
        book = DayBook(store, UTC)
        assert (await book.today(midnight - 10)).money.purchases == 0
        await store.book([row("last", midnight - 5), row("first", midnight + 5)])
        day = await book.today(midnight + 10)
        assert (day.begins_at, day.money.purchases, len(day.hours)) == (midnight, 1, 1)
        await store.book([row("second", midnight + 3599)])
        day = await book.today(midnight + 3601)
        assert [hour.money.purchases for hour in day.hours] == [2, 0]

    play(tmp_path, story)


def test_a_store_that_is_away_is_told_and_found_again(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        book = DayBook(store, UTC)
        store.away = True
        with pytest.raises(StoreFault):
            await book.today(1000.0)
        store.away = False
        await store.book([row("a", 500.0)])
        assert (await book.today(1000.0)).money.purchases == 1

    play(tmp_path, story)


def test_a_clock_that_jumps_back_is_believed(tmp_path: Path) -> None:
    async def story(store: CountingStore) -> None:
        book = DayBook(store, UTC)
        await book.today(at("2027-01-15T12:00"))
        assert (await book.today(at("2027-01-14T12:00"))).begins_at == at("2027-01-14T00:00")

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2027-01-15", UTC, 24),
        ("2027-03-28", BERLIN, 23),
        ("2026-10-25", BERLIN, 25),
        ("2027-01-15", ZoneInfo("Asia/Kolkata"), 25),
    ],
)
def test_a_day_has_the_hours_that_the_zone_gives_it(day: str, zone: tzinfo, hours: int) -> None:
    begins_at, found = hours_of_day(at(f"{day}T23:59", zone), zone)
    assert begins_at == at(f"{day}T00:00", zone)
    assert len(found) == hours
    assert list(found)[1:] == list(found.values())[:-1]
    assert all(hour % 3600 == 0 for hour in list(found)[1:]), "whole hours of the stores, the first one excepted"


def test_at_midnight_the_day_has_its_first_hour() -> None:
    midnight = at("2027-01-15T00:00")
    assert hours_of_day(midnight, UTC) == (midnight, {midnight: midnight + 3600})


KNOWN = LedgerTotal(
    tenant=TenantId("t"),
    upstream=samples.UPSTREAM,
    model="m",
    tier=Tier.BATCH,
    kind=Purchase.PRIMARY,
    rows=2,
    input_tokens=0,
    cached_tokens=0,
    output_tokens=0,
    paid_usd=Decimal(1),
    list_usd=Decimal(2),
    unknown_paid=0,
    unknown_list=0,
    unpriced=0,
    met=2,
)


def test_waste_lessens_the_saving_and_what_has_no_price_is_counted() -> None:
    unknown = replace(KNOWN, paid_usd=Decimal(0), list_usd=Decimal(0), unknown_paid=1, unknown_list=2, unpriced=2)
    wasted = replace(KNOWN, kind=Purchase.DUPLICATE, rows=1, paid_usd=Decimal("0.25"), list_usd=Decimal(0), met=0)
    money = sum_up([KNOWN, unknown, wasted])
    assert (money.saved_usd, money.paid_usd, money.wasted_usd) == (Decimal("0.75"), Decimal("1.25"), Decimal("0.25"))
    assert (money.purchases, money.unpriced, money.list_usd, money.met) == (5, 2, Decimal(2), 4)


def test_a_request_whose_time_ran_out_is_a_missed_deadline_and_no_purchase() -> None:
    expired = replace(KNOWN, kind=Purchase.EXPIRED, paid_usd=Decimal(0), list_usd=Decimal(0), met=0, missed=2)
    money = sum_up([KNOWN, expired])
    assert (money.purchases, money.met, money.missed) == (2, 2, 2)


def test_what_was_only_observed_is_told_apart() -> None:
    observed = replace(KNOWN, observed_rows=1, observed_usd=Decimal("0.5"), observed_list_usd=Decimal(1))
    money = sum_up([observed])
    assert (money.saved_usd, money.observed_usd) == (Decimal(1), Decimal("0.5"))

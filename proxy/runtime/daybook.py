"""What the ledger says of today, read hour by hour, and seldom however often it is asked for.

An hour that is over hardly changes, so that only the current one is read each time, and one of the others in turn: a
row that was booked late shows within a few minutes, and a busy day is never summed up from its first row again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from proxy.domain.money import Purchase
from proxy.domain.tier import Tier
from proxy.store.interface import LedgerTotal, Store
from proxy.telemetry.overview import Day, Hour, Money

READ_SECONDS = 5.0
"""The ledger is read no more often than this."""
HOUR_SECONDS = 3600.0
WASTE = frozenset({Purchase.DUPLICATE, Purchase.FAILED})


@dataclass(frozen=True, slots=True)
class _Reading:
    """An hour's totals, and when they were read."""

    at: float
    totals: list[LedgerTotal]


class DayBook:
    """Sums up today. Every caller gets the same sums until they are `READ_SECONDS` old."""

    def __init__(self, store: Store, timezone: tzinfo) -> None:
        self._store = store
        self._timezone = timezone
        self._readings: dict[float, _Reading] = {}
        self._day: Day | None = None
        self._reading = asyncio.Lock()

    async def today(self, now: float) -> Day:
        """The day so far. Raises `StoreFault` when it has to be read and cannot."""
        async with self._reading:
            if self._day is None or not 0 <= now - self._day.read_at < READ_SECONDS:
                self._day = await self._read(now)
            return self._day

    async def _read(self, now: float) -> Day:
        begins_at, hours = hours_of_day(now, self._timezone)
        self._readings = {hour: reading for hour, reading in self._readings.items() if hour in hours}
        for hour in self._to_read(hours):
            totals = await self._store.ledger(since=hour, until=hours[hour])
            self._readings[hour] = _Reading(now, totals)
        everything = [total for hour in hours for total in self._readings[hour].totals]
        tiers: defaultdict[Tier, list[LedgerTotal]] = defaultdict(list)
        models: defaultdict[str, list[LedgerTotal]] = defaultdict(list)
        for total in everything:
            tiers[total.tier].append(total)
            models[total.model].append(total)
        return Day(
            begins_at=begins_at,
            read_at=now,
            timezone=str(self._timezone),
            money=sum_up(everything),
            hours=[Hour(hour, sum_up(self._readings[hour].totals)) for hour in hours],
            tiers={tier: sum_up(totals) for tier, totals in tiers.items()},
            models={model: sum_up(totals) for model, totals in models.items()},
        )

    def _to_read(self, hours: dict[float, float]) -> list[float]:
        """The current hour, those that were never read since they ended, and the one whose reading is the oldest."""
        *over, current = hours
        unread = [hour for hour in over if hour not in self._readings or self._readings[hour].at < hours[hour]]
        read = sorted(set(over) - set(unread), key=lambda hour: self._readings[hour].at)
        return [*unread, *read[:1], current]


def hours_of_day(now: float, timezone: tzinfo) -> tuple[float, dict[float, float]]:
    """When the day began in a time zone, and its hours so far: where each begins, and where it ends.

    They are UTC's, cut off at midnight: stores keep sums of those.
    """
    midnight = datetime.fromtimestamp(now, timezone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    ends_at = (midnight + timedelta(days=1)).timestamp()
    hours: dict[float, float] = {}
    at = begins_at = midnight.timestamp()
    while at <= now or not hours:
        hours[at] = min((at // HOUR_SECONDS + 1) * HOUR_SECONDS, ends_at)
        at = hours[at]
    return begins_at, hours


def sum_up(totals: Iterable[LedgerTotal]) -> Money:
    """The sums of the page. A row of no dollars for a request whose time ran out is no purchase, but a deadline."""
    purchases = unpriced = met = missed = 0
    listed = paid = wasted = observed = Decimal(0)
    for total in totals:
        purchases += 0 if total.kind is Purchase.EXPIRED else total.rows
        unpriced += total.unpriced
        met += total.met
        missed += total.missed
        listed += total.list_usd
        paid += total.paid_usd
        observed += total.observed_list_usd - total.observed_usd
        if total.kind in WASTE:
            wasted += total.paid_usd
    return Money(
        purchases=purchases,
        list_usd=listed,
        paid_usd=paid,
        saved_usd=listed - paid,
        wasted_usd=wasted,
        unpriced=unpriced,
        observed_usd=observed,
        met=met,
        missed=missed,
    )

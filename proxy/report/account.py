"""The ledger, summed up: what was bought, what it cost, what it would have cost. Exact, and only the ledger's figures.

A row of the ledger is one purchase. `list` and `paid` are `standby_counterfactual_spend_usd_total` and
`standby_spend_usd_total`: what is not known to have cost anything is in neither, and counted as unpriced.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum

from proxy.domain.ids import TenantId
from proxy.domain.money import Purchase
from proxy.domain.tier import Tier
from proxy.report.periods import Period, Unit, day_of, midnight, periods
from proxy.store.interface import LedgerTotal, Reader

NONE = "none"
"""The tier of a request that nothing was bought for."""
_LADDER = [*(tier.value for tier in Tier), NONE]


class Dimension(StrEnum):
    """What figures can be told apart by."""

    DAY = "day"
    MONTH = "month"
    TENANT = "tenant"
    UPSTREAM = "upstream"
    MODEL = "model"
    TIER = "tier"


@dataclass(frozen=True, slots=True)
class Span:
    """`since <= instant < until`, in unix seconds."""

    since: float
    until: float


@dataclass(slots=True)
class Figures:
    """Purchases summed up.

    `requests` were answered. `duplicates` were answers that came when there was one already, `failed` brought no answer
    that was of use; both are part of what was paid. `native` are batches by clients' own hands. `unpriced` are rows
    whose amounts are not both known. `met` and `missed` are deadlines, `expired` the requests that got no answer at
    all. `observed` were served at once and would have been deferred.
    """

    requests: int = 0
    list_usd: Decimal = Decimal(0)
    paid_usd: Decimal = Decimal(0)
    duplicates: int = 0
    duplicates_usd: Decimal = Decimal(0)
    failed: int = 0
    failed_usd: Decimal = Decimal(0)
    native: int = 0
    native_usd: Decimal = Decimal(0)
    unpriced: int = 0
    met: int = 0
    missed: int = 0
    expired: int = 0
    observed: int = 0
    would_have_saved_usd: Decimal = Decimal(0)

    @property
    def saved_usd(self) -> Decimal:
        """Less than nothing where waste has eaten it up."""
        return self.list_usd - self.paid_usd

    @property
    def saved_percent(self) -> Decimal | None:
        """Of the list price, to a tenth; None where there is none."""
        if not self.list_usd:
            return None
        return (100 * self.saved_usd / self.list_usd).quantize(Decimal("0.1"))

    def add(self, total: LedgerTotal) -> None:
        """Count one of the ledger's totals in."""
        self.list_usd += total.list_usd
        self.paid_usd += total.paid_usd
        self.unpriced += total.unpriced
        self.met += total.met
        self.missed += total.missed
        self.observed += total.observed_rows
        self.would_have_saved_usd += total.observed_list_usd - total.observed_usd
        match total.kind:
            case Purchase.PRIMARY:
                self.requests += total.rows
            case Purchase.DUPLICATE:
                self.duplicates += total.rows
                self.duplicates_usd += total.paid_usd
            case Purchase.FAILED:
                self.failed += total.rows
                self.failed_usd += total.paid_usd
            case Purchase.NATIVE:
                self.native += total.rows
                self.native_usd += total.paid_usd
            case Purchase.EXPIRED:
                self.expired += total.rows


@dataclass(frozen=True, slots=True)
class Entry:
    """The figures of one group: `key` has a word for each dimension."""

    key: tuple[str, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Account:
    """A span of the ledger by dimensions. `total` is over everything in it."""

    span: Span
    by: tuple[Dimension, ...]
    entries: Sequence[Entry]
    total: Figures


async def account(
    reader: Reader, span: Span, by: Sequence[Dimension], zone: tzinfo, now: float, tenant: TenantId | None = None
) -> Account:
    """Sum the ledger up. Raises `StoreFault`."""
    groups: dict[tuple[str, ...], Figures] = defaultdict(Figures)
    whole = Figures()
    begins_at = await reader.ledger_begins_at()
    if begins_at is not None:
        inside = Span(max(span.since, begins_at), min(span.until, _horizon(now, zone)))
        for period in _divided(inside, by, zone):
            for total in await reader.ledger(since=period.since, until=period.until, tenant=tenant):
                groups[_key(total, by, period.label)].add(total)
                whole.add(total)
    entries = [Entry(key, groups[key]) for key in sorted(groups, key=lambda key: _order(key, by))]
    return Account(span, tuple(by), entries, whole)


def _horizon(now: float, zone: tzinfo) -> float:
    """The end of tomorrow: nothing is booked later, even if another machine's clock is ahead of this one's."""
    return midnight(day_of(now, zone) + timedelta(days=2), zone)


def _divided(span: Span, by: Sequence[Dimension], zone: tzinfo) -> Iterator[Period]:
    if Dimension.DAY in by:
        return periods(span.since, span.until, Unit.DAY, zone)
    if Dimension.MONTH in by:
        return periods(span.since, span.until, Unit.MONTH, zone)
    return iter([Period("", span.since, span.until)] if span.since < span.until else [])


def _key(total: LedgerTotal, by: Sequence[Dimension], label: str) -> tuple[str, ...]:
    words = {
        Dimension.DAY: label,
        Dimension.MONTH: label[:7],
        Dimension.TENANT: total.tenant,
        Dimension.UPSTREAM: total.upstream,
        Dimension.MODEL: total.model,
        Dimension.TIER: NONE if total.kind is Purchase.EXPIRED else total.tier.value,
    }
    return tuple(words[dimension] for dimension in by)


def _order(key: tuple[str, ...], by: Sequence[Dimension]) -> tuple[str, ...]:
    """By name, and tiers as they stand on the ladder."""
    return tuple(
        str(_LADDER.index(word)) if dimension is Dimension.TIER else word
        for dimension, word in zip(by, key, strict=True)
    )

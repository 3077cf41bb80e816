"""What each tenant has spent today, against the budget that its policy gives it. Pure: instants and sums come in.

The ledger is the truth: `know` takes over its sum, and what is bought afterwards is added as it is booked. Amounts that
nobody knows are not counted.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal

from proxy.domain.ids import TenantId
from proxy.routing.terms import Budget, OverBudget

TENANTS_MAX = 10_000
"""Tenants remembered; whoever was not heard of for the longest time is forgotten first, and asked for again."""


@dataclass(frozen=True, slots=True)
class _Spent:
    day_from: float
    usd: Decimal


class Spending:
    """Dollars by tenant, of one day at a time in the configured time zone."""

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self._spent: OrderedDict[TenantId, _Spent] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Spending of {len(self._spent)} tenants>"

    def day(self, now: float) -> tuple[float, float]:
        """When the day of an instant begins and ends, in unix seconds; its length varies with summer time."""
        today = datetime.fromtimestamp(now, self._timezone).date()
        midnights = (datetime.combine(date, time(), self._timezone) for date in (today, today + timedelta(days=1)))
        begin, end = (midnight.timestamp() for midnight in midnights)
        return begin, end

    def know(self, tenant: TenantId, usd: Decimal, now: float) -> None:
        """The ledger's sum of the day, replacing what was counted."""
        self._put(tenant, _Spent(self.day(now)[0], usd))

    def add(self, tenant: TenantId, usd: Decimal, now: float) -> None:
        """Something was bought. A tenant that is not known is left to the ledger."""
        known = self._today(tenant, now)
        if known is not None:
            self._put(tenant, replace(known, usd=known.usd + usd))

    def of(self, tenant: TenantId, now: float) -> Decimal | None:
        """What the tenant has spent today; None where the ledger has not been asked yet."""
        known = self._today(tenant, now)
        return None if known is None else known.usd

    def known(self) -> list[TenantId]:
        """The tenants that are kept count of."""
        return list(self._spent)

    def _today(self, tenant: TenantId, now: float) -> _Spent | None:
        known = self._spent.get(tenant)
        begin = self.day(now)[0]
        if known is None or known.day_from == begin:
            return known
        return _Spent(begin, Decimal(0)) if known.day_from < begin else known

    def _put(self, tenant: TenantId, spent: _Spent) -> None:
        self._spent[tenant] = spent
        self._spent.move_to_end(tenant)
        if len(self._spent) > TENANTS_MAX:
            self._spent.popitem(last=False)


def is_refused(budget: Budget, spent_usd: Decimal, *, can_wait: bool) -> bool:
    """Whether a request may not be bought any more today."""
    if spent_usd < budget.usd_per_day:
        return False
    return budget.over is OverBudget.REFUSE or not can_wait

"""Budgets at the door: refuses what a tenant's policy does not let it buy any more today.

A call waits for no store here: what a tenant has spent is known from the ledger, which is asked again and again, and
from what this process books in between. A tenant that nobody has asked about yet is asked about at once, and let in
until the answer is there.
"""

import asyncio
from decimal import Decimal

from proxy.domain.clock import Clock
from proxy.domain.decision import Decision
from proxy.domain.errors import ClientFault, StoreFault
from proxy.domain.events import Announce, AnyEvent, CallFinished, RequestFinished, StepFailed, WasteBooked
from proxy.domain.ids import TenantId
from proxy.domain.money import LedgerRow
from proxy.routing.spending import Spending, is_refused
from proxy.routing.terms import OverBudget, Terms
from proxy.store.interface import Store

TOO_MANY_REQUESTS = 429
LOOK_SECONDS = 10.0
"""How often the ledger is asked: what other replicas have bought is known after this."""


class Budgets:
    """Keeps count of the tenants that have a budget. `run` once; `listen` to every event."""

    def __init__(self, spending: Spending, store: Store, clock: Clock, announce: Announce) -> None:
        self._spending = spending
        self._store = store
        self._clock = clock
        self._announce = announce
        self._wanted: set[TenantId] = set()
        self._asked = asyncio.Event()

    def require_within(self, terms: Terms, tenant: TenantId, decision: Decision, now: float) -> None:
        """Raises `ClientFault` 429 where the tenant's budget is spent."""
        budget = terms.budget
        if budget is None:
            return
        spent_usd = self._spending.of(tenant, now)
        if spent_usd is None:
            self._wanted.add(tenant)
            self._asked.set()
            return
        if not is_refused(budget, spent_usd, can_wait=decision.can_wait):
            return
        ends_at = self._spending.day(now)[1]
        advice = "Nothing more is bought until then."
        if budget.over is OverBudget.DEFERRABLE_ONLY:
            advice = "Until then only requests that can wait are taken: send X-Deadline, such as X-Deadline: 4h."
        raise ClientFault(
            f"The tenant {tenant!r} has spent its budget of ${budget.usd_per_day:f} for today (policy rule "
            f"{terms.policy!r}); it begins anew in {(ends_at - now) / 3600:.1f} hours. {advice}",
            status=TOO_MANY_REQUESTS,
            code="budget_exceeded",
            after_seconds=ends_at - now,
        )

    def listen(self, event: AnyEvent) -> None:
        """Count what is bought."""
        match event:
            case CallFinished(row=row) | RequestFinished(row=row) | WasteBooked(row=row):
                self._count(row)
            case _:
                return

    def _count(self, row: LedgerRow | None) -> None:
        if row is not None and row.paid_usd is not None:
            self._spending.add(row.tenant, row.paid_usd, row.booked_at)

    async def run(self) -> None:
        """Ask the ledger, until cancelled: at once about tenants that are new, now and then about all."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                self._wanted.update(self._spending.known())
            self._asked.clear()
            await self._look()

    async def _look(self) -> None:
        wanted, self._wanted = self._wanted, set()
        now = self._clock.now()
        since, until = self._spending.day(now)
        try:
            for tenant in wanted:
                totals = await self._store.ledger(since=since, until=until, tenant=tenant)
                self._spending.know(tenant, sum((total.paid_usd for total in totals), Decimal(0)), now)
        except StoreFault as fault:
            self._announce(StepFailed("budgets", None, None, str(fault), now + LOOK_SECONDS, now))

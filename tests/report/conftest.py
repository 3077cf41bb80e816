"""A store with something in it, and a view of it whose clock stands still."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console

from proxy.domain.ids import TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier
from proxy.report.view import View
from proxy.routing import latency
from proxy.runtime.clock import SystemClock
from proxy.store.interface import Store
from proxy.store.sqlite import SqliteStore
from tests.store.samples import call_for, ledger, request

NOW = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""
_numbers = count(1)


class StandingClock(SystemClock):
    """It is always NOW."""

    def now(self) -> float:
        return NOW


def row(
    *,
    at: float = NOW - 60,
    tenant: str = "alice",
    model: str = "gpt-4o-mini",
    tier: Tier = Tier.BATCH,
    kind: Purchase = Purchase.PRIMARY,
    paid: str | None = "1",
    listed: str | None = "2",
    deadline_at: float | None = None,
    observed: str | None = None,
) -> LedgerRow:
    """One purchase."""
    made = ledger(call_for(request()), kind=kind, paid=paid, listed=listed, booked_at=at)
    return replace(
        made,
        id=f"row-{next(_numbers)}",
        tenant=TenantId(tenant),
        upstream=UpstreamName("openai"),
        model=model,
        tier=tier,
        deadline_at=deadline_at,
        observed_tier=None if observed is None else Tier.BATCH,
        observed_usd=None if observed is None else Decimal(observed),
    )


@dataclass
class Told:
    """What was said, and the exit code of who said it."""

    text: str = ""
    code: int = 0


@dataclass
class Scene:
    """What a test fills stores with, a fresh one each time, and what is then told of it."""

    folder: Path
    zone: tzinfo = UTC
    width: int = 200
    fill: Callable[[Store], Awaitable[object]] | None = None
    rows: Sequence[LedgerRow] = field(default_factory=list)

    def tell(self, command: Callable[[View], Awaitable[int]]) -> Told:
        """Fill the store, and run one command beside it."""

        async def whole() -> Told:
            store = SqliteStore(self.folder / f"{next(_numbers)}.db", SystemClock())
            await store.start()
            try:
                await store.book(self.rows)
                if self.fill is not None:
                    await self.fill(store)
                said = io.StringIO()
                console = Console(file=said, width=self.width, color_system=None)
                view = View(store, StandingClock(), self.zone, console, latency.Settings())
                code = await command(view)
                return Told(said.getvalue(), code)
            finally:
                await store.close()

        return asyncio.run(whole())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)

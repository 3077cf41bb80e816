"""The settlement: what was bought, from the ledger, held against the provider's own account."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.table import Table

from proxy.demo.figures import Figures
from proxy.demo.traffic import Tally
from proxy.domain.money import Purchase
from proxy.emulator.provider import Emulator
from proxy.runtime.service import Service


@dataclass(frozen=True, slots=True)
class Settlement:
    """The figures at the end. Money is exact; `left_over` are files of ours at the provider."""

    by_tier: Mapping[str, int]
    sent: int
    right: int
    met: int
    missed: int
    over_limit: int
    rate_limited: int
    list_usd: Decimal
    paid_usd: Decimal
    waste_usd: Decimal
    billed_usd: Decimal
    unpriced: int
    left_over: int

    @property
    def saved_usd(self) -> Decimal:
        return self.list_usd - self.paid_usd

    def faults(self) -> list[str]:
        """What does not add up; empty when everything does."""
        checks = {
            f"{self.sent - self.right} of {self.sent} answers are missing or wrong": self.right == self.sent,
            f"{self.missed} deadlines were missed": self.missed == 0,
            f"the ledger says ${self.paid_usd:f}, the provider ${self.billed_usd:f}": self.paid_usd == self.billed_usd,
            f"{self.unpriced} purchases have no known price": self.unpriced == 0,
            f"{self.left_over} files are left at the provider": self.left_over == 0,
        }
        return [fault for fault, holds in checks.items() if not holds]


async def settle(service: Service, emulator: Emulator, tally: Tally, figures: Figures) -> Settlement:
    """Add everything up. Ask when nothing is under way any more."""
    await service.house.bookings.flush()
    totals = await service.desk.store.ledger(since=0.0, until=float("inf"))
    account: dict[str, Any] = await emulator.account()
    by_tier: Counter[str] = Counter()
    for total in totals:
        if total.kind is Purchase.PRIMARY:
            by_tier[total.tier.value] += total.rows
    return Settlement(
        by_tier=by_tier,
        sent=tally.sent,
        right=tally.right,
        met=figures.met,
        missed=figures.missed,
        over_limit=figures.over_limit,
        rate_limited=account["rate_limited"],
        list_usd=sum((total.list_usd for total in totals), Decimal(0)),
        paid_usd=sum((total.paid_usd for total in totals), Decimal(0)),
        waste_usd=sum((total.paid_usd for total in totals if total.kind is Purchase.DUPLICATE), Decimal(0)),
        billed_usd=Decimal(account["total"]["usd"]),
        unpriced=sum(total.unknown_paid for total in totals),
        left_over=len(account["files"]),
    )


def table(settled: Settlement) -> Table:
    """The settlement for a person."""
    share = settled.saved_usd / settled.list_usd * 100 if settled.list_usd else Decimal(0)
    rows = {
        "requests answered right": f"{settled.right} of {settled.sent}",
        **{f"  bought at {tier}": str(count) for tier, count in sorted(settled.by_tier.items())},
        "deadlines met": f"{settled.met} of {settled.met + settled.missed}",
        "requests over the limit, all sent at once": str(settled.over_limit),
        "429s that really came": str(settled.rate_limited),
        "rate limits avoided": str(settled.over_limit - settled.rate_limited),
        "list price": f"${settled.list_usd:f}",
        "paid (the ledger)": f"${settled.paid_usd:f}",
        "billed (the provider's account)": f"${settled.billed_usd:f}",
        "of it bought twice": f"${settled.waste_usd:f}",
        "saved": f"${settled.saved_usd:f} ({share:.1f} %)",
        "provider files left over": str(settled.left_over),
    }
    drawn = Table(title="Settlement", show_header=False, title_justify="left")
    drawn.add_column("")
    drawn.add_column("", justify="right")
    for name, value in rows.items():
        drawn.add_row(name, value)
    return drawn

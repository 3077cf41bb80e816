"""What happened, counted from the events that the proxy announces, for the screen. The ledger has the last word."""

from collections import Counter, deque
from dataclasses import dataclass, field
from decimal import Decimal

from proxy.domain.events import (
    AnyEvent,
    BatchCut,
    BatchFilesDeleted,
    BatchSettled,
    BatchSubmitted,
    CallFinished,
    RateLimited,
    RequestEscalated,
    RequestFinished,
    ShadowLimited,
    WasteBooked,
)
from proxy.domain.ids import BatchId
from proxy.domain.money import LedgerRow

LINES_SHOWN = 8


@dataclass(slots=True)
class Figures:
    """Listens to events."""

    answered: Counter[str] = field(default_factory=Counter)
    met: int = 0
    missed: int = 0
    escalated: int = 0
    rate_limited: int = 0
    over_limit: int = 0
    paid_usd: Decimal = Decimal(0)
    list_usd: Decimal = Decimal(0)
    batches: dict[BatchId, str] = field(default_factory=dict)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_SHOWN))

    def listen(self, event: AnyEvent) -> None:
        match event:
            case CallFinished(row=row) if row is not None:
                self._answer(row, event.tier.value, event.deadline_at, event.finished_at)
            case RequestFinished(row=row):
                tier = "none" if event.tier is None else event.tier.value
                self._answer(row, tier, event.deadline_at, event.at)
            case WasteBooked(row=row):
                self._pay(row)
                self.said.append(f"a late duplicate of {row.request_id[-6:]} is booked as waste")
            case RequestEscalated():
                self.escalated += 1
                how = "blind" if event.blind else "harvested"
                self.said.append(f"{event.model}: {event.request_id[-6:]} moves to standard ({event.reason}, {how})")
            case BatchCut():
                self.batches[event.batch_id] = "planned"
                self.said.append(f"{event.model}: {event.lines} requests cut into a batch ({event.reason})")
            case BatchSubmitted():
                self.batches[event.batch_id] = "in flight"
            case BatchSettled():
                self.batches[event.batch_id] = event.outcome.value
                self.said.append(
                    f"{event.model}: batch {event.outcome} after {event.turnaround_seconds:.1f} s, "
                    f"{event.answered} answered, {event.missing} not run"
                )
            case BatchFilesDeleted():
                self.batches[event.batch_id] = "cleaned"
            case RateLimited():
                self.rate_limited += 1
            case ShadowLimited():
                self.over_limit += 1
            case _:
                return

    def _answer(self, row: LedgerRow | None, tier: str, deadline_at: float | None, at: float) -> None:
        self.answered[tier] += 1
        if deadline_at is not None and at <= deadline_at:
            self.met += 1
        elif deadline_at is not None:
            self.missed += 1
        if row is not None:
            self._pay(row)

    def _pay(self, row: LedgerRow) -> None:
        self.paid_usd += row.paid_usd or 0
        self.list_usd += row.list_usd or 0

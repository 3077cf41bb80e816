"""What happened in a backtest, added up from the engine's own events."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from proxy.domain.events import (
    AnyEvent,
    BatchSettled,
    BatchSubmitted,
    CallFinished,
    RateLimited,
    RequestEscalated,
    RequestFinished,
    ShadowLimited,
    StepFailed,
    WasteBooked,
)
from proxy.domain.ids import RequestId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.money import LedgerRow
from proxy.domain.tier import Tier

HOUR_SECONDS = 3600.0
SLACK_EDGES = (0.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
"""Upper edges, in seconds, of the classes that the slack at delivery is counted in; a last class is above them."""


def _no_spend() -> dict[Tier, Decimal]:
    return defaultdict(Decimal)


@dataclass(slots=True)
class Account:
    """Listens to a run. Hours count from its beginning; amounts are dollars."""

    began_at: float
    answered: int = 0
    deferred: int = 0
    with_deadline: int = 0
    missed: int = 0
    failed: int = 0
    escalated: int = 0
    blind: int = 0
    over_limit: int = 0
    refused: int = 0
    step_failures: int = 0
    batches: int = 0
    batch_outcomes: Counter[str] = field(default_factory=Counter)
    list_usd: Decimal = Decimal(0)
    paid_usd: Decimal = Decimal(0)
    duplicate_usd: Decimal = Decimal(0)
    spend_by_hour: dict[int, dict[Tier, Decimal]] = field(default_factory=lambda: defaultdict(_no_spend))
    list_by_hour: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    missed_by_hour: Counter[int] = field(default_factory=Counter)
    given_up: int = 0
    """Interactive calls whose client did not wait until the rate limit let them through."""
    by_class: Counter[int] = field(default_factory=Counter)
    """Requests with a deadline, by the time that they had, in seconds."""
    missed_by_class: Counter[int] = field(default_factory=Counter)
    """By class as above."""
    saved_by_class: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """What the delivered answers saved, duplicates not counted; by class as above."""
    slack_classes: Counter[int] = field(default_factory=Counter)
    _moved: set[RequestId] = field(default_factory=set)
    """Open requests that have left their batch for a faster tier."""

    def listen(self, event: AnyEvent) -> None:
        """Add an event."""
        match event:
            case RequestFinished():
                self._finished(event)
            case CallFinished():
                self._call_finished(event)
            case WasteBooked(row):
                self.duplicate_usd += row.paid_usd or 0
                self._book(row)
            case RequestEscalated():
                self.blind += event.blind
                self._moved.add(event.request_id)
            case ShadowLimited():
                self.over_limit += 1
            case RateLimited():
                self.refused += 1
            case StepFailed():
                self.step_failures += 1
            case BatchSubmitted():
                self.batches += 1
            case BatchSettled():
                self.batch_outcomes[event.outcome.value] += 1
            case _:
                return

    def _finished(self, event: RequestFinished) -> None:
        self.deferred += 1
        if event.request_id in self._moved:
            self._moved.discard(event.request_id)
            self.escalated += 1
        ok = event.outcome is OutcomeLabel.OK
        self.answered += ok
        self.failed += not ok
        self._judge(event.accepted_at, event.deadline_at, event.at, ok=ok)
        if event.row is not None:
            self.saved_by_class[round(event.deadline_at - event.accepted_at)] += event.row.saved_usd or 0
            self._book(event.row)

    def _call_finished(self, event: CallFinished) -> None:
        ok = event.row is not None
        self.answered += ok
        self.failed += not ok
        if event.deadline_at is not None:
            self._judge(event.started_at, event.deadline_at, event.finished_at, ok=ok)
        else:
            self.given_up += not ok
        if event.row is not None:
            self._book(event.row)

    def _judge(self, began_at: float, deadline_at: float, at: float, *, ok: bool) -> None:
        self.with_deadline += 1
        self.by_class[round(deadline_at - began_at)] += 1
        slack = deadline_at - at
        self.slack_classes[sum(slack > edge for edge in SLACK_EDGES)] += 1
        if ok and slack >= 0:
            return
        self.missed += 1
        self.missed_by_hour[self._hour(at)] += 1
        self.missed_by_class[round(deadline_at - began_at)] += 1

    def _book(self, row: LedgerRow) -> None:
        hour = self._hour(row.booked_at)
        paid, listed = row.paid_usd or Decimal(0), row.list_usd or Decimal(0)
        self.paid_usd += paid
        self.list_usd += listed
        self.spend_by_hour[hour][row.tier] += paid
        self.list_by_hour[hour] += listed

    def _hour(self, at: float) -> int:
        return int((at - self.began_at) / HOUR_SECONDS)

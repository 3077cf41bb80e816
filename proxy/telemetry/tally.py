"""What this process has seen since it began, in numbers for the built-in page, and the last hour by the minute.

`/metrics` is where figures are kept and compared. These are for a glance: a restart begins them anew.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TypeVar

from proxy.domain.events import AnyEvent, CallFinished, ForecastSettled, RateLimited, RequestFinished, ShadowLimited
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import OutcomeLabel
from proxy.domain.tier import Tier
from proxy.telemetry.metrics import outcome_of

MINUTE_SECONDS = 60.0
MINUTES = 60
PAIRS_MAX = 200
"""How many (upstream, model) are counted apart: a client can make up any number of models."""

Pair = tuple[UpstreamName, str]
Counts = TypeVar("Counts")


@dataclass(slots=True)
class Minute:
    """The requests that were finished within one minute, by the tier that they were bought at."""

    at: float
    requests: Counter[Tier] = field(default_factory=Counter)


@dataclass(slots=True)
class Rates:
    """How often a model's rate limit was met, and would have been met had everything been sent on arrival."""

    refused: int = 0
    avoided: int = 0


@dataclass(slots=True)
class Checks:
    """Quoted completion times of batches that held, of all that were checked."""

    covered: int = 0
    checked: int = 0


class Tally:
    """Listens to every event and counts."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[Tier, OutcomeLabel]] = Counter()
        """Finished requests that bought something."""
        self.deadlines_met = 0
        self.deadlines_missed = 0
        self.rates: dict[Pair, Rates] = {}
        self.forecasts: dict[Pair, Checks] = {}
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    def listen(self, event: AnyEvent) -> None:
        """Count what the event is about."""
        match event:
            case CallFinished():
                self._on_call(event)
            case RequestFinished():
                self._on_finished(event)
            case RateLimited():
                if (rates := _admitted(self.rates, (event.upstream, event.model), Rates)) is not None:
                    rates.refused += 1
            case ShadowLimited():
                if (rates := _admitted(self.rates, (event.upstream, event.model), Rates)) is not None:
                    rates.avoided += 1
            case ForecastSettled():
                if (checks := _admitted(self.forecasts, (event.upstream, event.model), Checks)) is not None:
                    checks.checked += 1
                    checks.covered += event.covered
            case _:
                return

    def minutes(self, now: float) -> list[Minute]:
        """The last hour, oldest first, the minutes without a request included; the last one is still going on."""
        this = now // MINUTE_SECONDS
        known = {minute.at // MINUTE_SECONDS: minute for minute in self._minutes}
        numbers = [this - back for back in reversed(range(MINUTES))]
        return [known.get(number) or Minute(number * MINUTE_SECONDS) for number in numbers]

    def _on_call(self, event: CallFinished) -> None:
        if event.row is None:
            return
        outcome = outcome_of(event.status)
        self._count(event.tier, outcome, event.finished_at)
        if event.deadline_at is not None and outcome is not OutcomeLabel.CANCELLED:
            self._judge(in_time=event.row.booked_at <= event.deadline_at)  # as the ledger has it

    def _on_finished(self, event: RequestFinished) -> None:
        if event.tier is not None:
            self._count(event.tier, event.outcome, event.at)
        if event.outcome is not OutcomeLabel.CANCELLED:
            self._judge(in_time=event.outcome is not OutcomeLabel.EXPIRED and event.at <= event.deadline_at)

    def _judge(self, *, in_time: bool) -> None:
        self.deadlines_met += in_time
        self.deadlines_missed += not in_time

    def _count(self, tier: Tier, outcome: OutcomeLabel, at: float) -> None:
        self.requests[tier, outcome] += 1
        number = at // MINUTE_SECONDS
        if not self._minutes or number > self._minutes[-1].at // MINUTE_SECONDS:
            self._minutes.append(Minute(number * MINUTE_SECONDS))
        self._minutes[-1].requests[tier] += 1  # one that is a moment late counts for the minute that has begun


def _admitted(known: dict[Pair, Counts], pair: Pair, make: type[Counts]) -> Counts | None:
    """What is known of a pair, made on first sight; None where too many are known already."""
    if pair not in known and len(known) >= PAIRS_MAX:
        return None
    return known.setdefault(pair, make())

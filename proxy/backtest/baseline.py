"""What to measure a policy against: the clairvoyant optimum, and buying everything synchronously.

The optimum (OPT-T) knows every batch's completion time in advance, and ignores rate limits: a request is bought in a
batch iff some batch that could be created at or after its arrival is complete by its deadline. No policy can save more,
but for the finished lines of batches that never complete.

The all-synchronous client has the same rate limit. It sends each request at arrival if it can, and else in the best
order there is (interactive first, then earliest deadline): what it misses, nobody could have met synchronously. An
interactive call that has waited for a minute is given up.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from proxy.backtest.provider import CALL_SECONDS, CALL_SECONDS_PER_TOKEN
from proxy.backtest.traces import Row
from proxy.backtest.weather import CompletionPath
from proxy.domain.money import Usage
from proxy.domain.tier import Tier
from proxy.routing.pricing import PriceBook

MINUTE_SECONDS = 60.0
PATIENCE_SECONDS = 60.0
"""After so long nobody waits for an interactive call any more: over the limit there are others behind it."""
_FIRST = 1e12
"""Far before every latest start."""


@dataclass(slots=True)
class Oracle:
    """Adds up what the clairvoyant optimum saves."""

    paths: Mapping[str, CompletionPath]
    prices: PriceBook
    saved_usd: Decimal = Decimal(0)
    list_usd: Decimal = Decimal(0)
    by_class: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """The savings by the time that requests had, in seconds."""

    def arrive(self, row: Row) -> None:
        """A request of the trace."""
        usage = Usage(row.prompt_tokens, row.completion_tokens)
        standard = self.prices.cost(row.model, Tier.STANDARD, usage)
        batch = self.prices.cost(row.model, Tier.BATCH, usage)
        if standard is None:
            return
        self.list_usd += standard
        if batch is None or row.within_seconds is None:
            return
        if self.paths[row.model].best_after(row.at) <= row.at + row.within_seconds:
            saved = max(Decimal(0), standard - batch)
            self.saved_usd += saved
            self.by_class[round(row.within_seconds)] += saved


@dataclass(slots=True)
class AllSynchronous:
    """One model's all-synchronous client under a limit of `rpm`, of which `burst` may be used at once (None: all)."""

    rpm: int
    burst: int | None = None
    missed: int = 0
    given_up: int = 0
    _level: float = 0.0
    _at: float = 0.0
    _waiting: list[tuple[float, float, float]] = field(default_factory=list)
    """(rank, deadline, service seconds), a heap. Interactive calls rank first, by arrival; others by latest start."""

    def __post_init__(self) -> None:
        self._level = self._full

    @property
    def _full(self) -> float:
        return float(self.rpm if self.burst is None else self.burst)

    def arrive(self, row: Row) -> None:
        """A request of the trace; rows come in order."""
        self.run_until(row.at)
        deadline_at = math.inf if row.within_seconds is None else row.at + row.within_seconds
        service = CALL_SECONDS + CALL_SECONDS_PER_TOKEN * row.completion_tokens
        rank = row.at - _FIRST if row.within_seconds is None else deadline_at - service
        heapq.heappush(self._waiting, (rank, deadline_at, service))

    def run_until(self, at: float) -> None:
        """Send what the limit lets through before `at`."""
        per_second = self.rpm / MINUTE_SECONDS
        while self._waiting:
            sent_at = self._at + max(0.0, 1.0 - self._level) / per_second
            if sent_at > at:
                break
            rank, deadline_at, service = heapq.heappop(self._waiting)
            if math.isinf(deadline_at) and sent_at - (rank + _FIRST) > PATIENCE_SECONDS:
                self.given_up += 1
                continue
            self._pass(sent_at, per_second)
            self._level -= 1.0
            self.missed += sent_at + service > deadline_at
        if at > self._at and not math.isinf(at):
            self._pass(at, per_second)

    def _pass(self, at: float, per_second: float) -> None:
        self._level = min(self._full, self._level + (at - self._at) * per_second)
        self._at = at

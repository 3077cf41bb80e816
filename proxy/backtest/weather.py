"""How long batches take in a world: for every model one path, known in advance to the oracle and to nobody else.

Every batch of a model that is created in minute `u` ends at `u + T(u)`. The normal world is the emulator's mixture of
regimes (`emulator.turnaround.Mixture`: an assumption shaped to what is publicly known, no measurement).
"""

import math
from array import array
from bisect import bisect_right
from enum import StrEnum

from proxy.domain.errors import Bug
from proxy.emulator.turnaround import LogNormal, Mixture, Turnarounds

MINUTE_SECONDS = 60.0
HOUR_SECONDS = 3600.0
TAIL_SECONDS = 49 * HOUR_SECONDS
"""How long a path goes on after the last request."""


class World(StrEnum):
    """Completion-time regimes to play a trace in."""

    NORMAL = "normal"
    """Hours of normal, congested and broken-down service, as the emulator draws them."""
    CONGESTED = "congested"
    """Every batch takes as long as in a congested spell: a median of three hours."""
    OUTAGE = "outage"
    """Normal, and every day from hour 10 to hour 18 nothing finishes, for any model."""
    STUCK = "stuck"
    """Normal, and for 48 hours in the middle nothing finishes."""
    SLOW3 = "slow3"
    """Normal, three times slower."""


class CompletionPath:
    """One model's completion times: a batch created at `at` is complete at `completed_at(at)`."""

    def __init__(self, world: World, span_seconds: float, model: str, seed: int) -> None:
        minutes = math.ceil((span_seconds + TAIL_SECONDS) / MINUTE_SECONDS)
        chosen = LogNormal(180 * MINUTE_SECONDS, 0.9) if world is World.CONGESTED else Mixture()
        if world is World.SLOW3:
            chosen = Mixture(3.0)
        draws = Turnarounds(chosen, _seed_of(model, seed))
        frozen = _frozen(world, span_seconds)
        self._ends = array("d")
        for minute in range(minutes):
            at = minute * MINUTE_SECONDS
            self._ends.append(_thawed(at, at + draws.draw(at).seconds, frozen))
        self._best = array("d", self._ends)
        for minute in range(minutes - 2, -1, -1):
            self._best[minute] = min(self._best[minute], self._best[minute + 1])

    def completed_at(self, at: float) -> float:
        """When a batch that is created at this second of the trace is complete."""
        return max(self._ends[self._minute(at)], at + 1.0)

    def best_after(self, at: float) -> float:
        """The earliest that any batch created at or after this second is complete: what only an oracle knows."""
        return self._best[self._minute(at)]

    def _minute(self, at: float) -> int:
        if at < 0:
            raise Bug(f"{at} is before the trace begins")
        return min(int(at / MINUTE_SECONDS), len(self._ends) - 1)


def _seed_of(model: str, seed: int) -> int:
    return int.from_bytes(f"{seed}:{model}".encode(), "big")


def _frozen(world: World, span_seconds: float) -> list[tuple[float, float]]:
    """When nothing finishes, for any model."""
    if world is World.STUCK:
        begin = max(0.0, span_seconds / 2 - 24 * HOUR_SECONDS)
        return [(begin, begin + 48 * HOUR_SECONDS)]
    if world is World.OUTAGE:
        days = range(math.ceil(span_seconds / (24 * HOUR_SECONDS)) + 2)
        return [((24 * day + 10) * HOUR_SECONDS, (24 * day + 18) * HOUR_SECONDS) for day in days]
    return []


def _thawed(created_at: float, ends_at: float, frozen: list[tuple[float, float]]) -> float:
    """When a batch ends if no work is done while the provider is frozen."""
    first = bisect_right(frozen, created_at, key=lambda spell: spell[1])
    for begin, end in frozen[first:]:
        if ends_at <= begin:
            break
        ends_at += end - max(begin, created_at)
    return ends_at

"""How long something takes, when some of it has not ended yet: Kaplan and Meier's estimator (1958) on a grid of times,
from weights that halve with time.

With `d` the weight of what ended in a cell and `y` that of all that had not ended before it,

    S(t) = product over the cells up to t of (1 - d / y)        F = 1 - S

What was still going on at some age counts in `y` up to that age: that it took longer is evidence too
("right-censored"). A belief is added as if it had been seen so many times.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

POINTS = 160
SCALE_MAX = 1e9
HALF_LIVES_MAX = 1000.0
"""After so many nothing is left of a weight."""


class Memory:
    """Weights of completed and of censored batches by grid cell, halving with time.

    Instead of all weights shrinking, new ones grow; `shares` divides by how much.
    """

    def __init__(self, half_life_seconds: float) -> None:
        self._half_life_seconds = half_life_seconds
        self._at: float | None = None
        self._completed = [0.0] * POINTS
        self._censored = [0.0] * POINTS

    def add(self, cell: int, at: float, *, completed: bool) -> None:
        weights = self._completed if completed else self._censored
        weights[cell] += self._scale(at)

    def shares(self, now: float) -> tuple[list[float], list[float]]:
        """Completed and censored, as weighted now."""
        scale = self._scale(now)
        return [weight / scale for weight in self._completed], [weight / scale for weight in self._censored]

    def snapshot(self, now: float) -> dict[str, object]:
        completed, censored = self.shares(now)
        return {
            "at": now,
            "completed": [round(weight, 6) for weight in completed],
            "censored": [round(weight, 6) for weight in censored],
        }

    def restore(self, snapshot: object) -> float:
        """Returns the instant of the snapshot. Raises ValueError for what is none."""
        match snapshot:
            case {"at": at, "completed": completed, "censored": censored}:
                self._completed, self._censored = weights_of(completed), weights_of(censored)
                self._at = number_of(at)
                return self._at
            case _:
                raise ValueError("a memory is missing in the snapshot")

    def _scale(self, at: float) -> float:
        if self._at is None:
            self._at = at
        half_lives = min(HALF_LIVES_MAX, max(0.0, at - self._at) / self._half_life_seconds)
        scale = math.exp2(half_lives)
        if scale < SCALE_MAX:
            return scale
        self._completed = [weight / scale for weight in self._completed]
        self._censored = [weight / scale for weight in self._censored]
        self._at = at
        return 1.0


def estimate(
    completed: Sequence[float], censored: Sequence[float], belief: Sequence[float], trust: float
) -> list[float]:
    """F at every grid point. `belief` is what is believed to end in each cell, of a whole of 1; `trust` its weight."""
    deaths = [seen + trust * share for seen, share in zip(completed, belief, strict=True)]
    at_risk = sum(deaths) + sum(censored) + trust * max(0.0, 1 - sum(belief))
    survival = 1.0
    curve: list[float] = []
    for died, left in zip(deaths, censored, strict=True):
        if at_risk > 0:
            survival *= max(0.0, 1 - died / at_risk)
        curve.append(1 - survival)
        at_risk -= died + left
    return list(accumulate(curve, max))


def steps(curve: Sequence[float]) -> list[float]:
    """What ends in each cell."""
    return [curve[0], *(later - earlier for earlier, later in pairwise(curve))]


def number_of(value: object) -> float:
    """A number of a snapshot. Raises ValueError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number of a snapshot")
    return float(value)


def weights_of(value: object) -> list[float]:
    """A snapshot's weights. Raises ValueError for what is none."""
    if not isinstance(value, list) or len(value) != POINTS:
        raise ValueError(f"a snapshot has {POINTS} weights")
    return [max(0.0, number_of(weight)) for weight in value]

"""How long a provider's batches take, learned online from what is seen of them, running batches included.

One `CompletionTimes` for each upstream and model. Its observations are batches, not requests: the lines of a batch are
one draw. The estimator is Kaplan and Meier's (`routing.survival`): a batch that is running, or was cancelled, or
expired, counts up to its age. Cancelling for the sake of deadlines does not bias this: deadlines are ours.

- *Two memories*: weights halve every `half_life_slow_seconds` and every `half_life_fast_seconds`; the smaller F of the
  two holds. In an outage the fast memory is soon full of old batches that do not finish.
- *Prior*: a mixture of three log-normals, as heavy as `prior_batches` batches, that never decays; or, where other
  models of the upstream are known, what they show (`routing.latencybook`). The fast memory's prior is the slow one's
  curve, so that silence falls back on long experience.
- *Progress*: a batch's own pace is a second opinion, as good as paces have turned out to be (`routing.progress`).
- *Congestion*: so many open batches are older than they should ever get, and nothing has completed since: F is halved.
- *Calibration*: for every batch one quantile is quoted. Whether it held is known as soon as the batch is older, or
  complete; the level of the next quotes is corrected by it (adaptive conformal inference, Gibbs and Candes 2021), so
  that in the long run the quoted share comes true whatever the provider does.

Times between two grid points are interpolated. The grid is logarithmic, 160 points over a factor of 50,000: 7 % apart.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from proxy.routing.progress import DONE_MAX, DONE_MIN, PaceErrors
from proxy.routing.survival import POINTS, Memory, estimate, number_of, steps

SPAN = 50_000.0
"""The grid's longest time over its shortest."""
PRIOR_PARTS = ((0.76, 1.0, 0.8), (0.19, 7.5, 0.9), (0.05, 22.5, 0.9))
"""The prior's mixture: weight, median as a multiple of `prior_median_seconds`, sigma."""
FAST_PRIOR_SHARE = 0.25
"""The fast memory trusts the slow one as if that had seen this share of `prior_batches`: a few batches overrule it."""
REBUILDS_PER_HALF_LIFE = 200
"""How often a curve is made anew while nothing is told."""
ALPHA_MIN, ALPHA_MAX = 0.002, 0.6
ONE_SIGMA = (0.16, 0.84)
"""A normal distribution's quantiles one sigma below and above its mean."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Settings:
    """How to learn.

    - `prior_median_seconds`: what half of all batches are believed to take before there is experience.
    - `prior_batches`: how many batches that belief is worth.
    - `half_life_slow_seconds`, `half_life_fast_seconds`: after which an observation counts half.
    - `horizon_seconds`: nothing completes later: the provider's window.
    - `quoted_share`: the quantile that is quoted for every batch; `calibration_step`: how much one result corrects it.
    - `congested_open`, `congested_share`: so many open batches past this quantile mean congestion.
    """

    prior_median_seconds: float = 480.0
    prior_batches: float = 20.0
    half_life_slow_seconds: float = 172_800.0
    half_life_fast_seconds: float = 10_800.0
    horizon_seconds: float = 86_400.0
    quoted_share: float = 0.9
    calibration_step: float = 0.02
    congested_open: int = 2
    congested_share: float = 0.95

    def __post_init__(self) -> None:
        durations = ("prior_median_seconds", "half_life_slow_seconds", "half_life_fast_seconds", "horizon_seconds")
        for name in (*durations, "prior_batches"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} must be more than 0")
        if self.half_life_fast_seconds > self.half_life_slow_seconds:
            raise ValueError(
                f"half_life_fast_seconds: {self.half_life_fast_seconds} is more than half_life_slow_seconds "
                f"{self.half_life_slow_seconds}; give the longer one to slow"
            )
        for name in ("quoted_share", "congested_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is no quantile; give a share between 0 and 1")
        if not 0 <= self.calibration_step < 1:
            raise ValueError(f"calibration_step: {self.calibration_step} is no step; give 0 or more, such as 0.02")
        if self.congested_open < 1:
            raise ValueError(f"congested_open: {self.congested_open} is no crowd; give at least 1")


@dataclass(frozen=True, slots=True)
class Forecast:
    """A quote that turned out: whether the batch was complete within it, and which quantile it was meant to be."""

    covered: bool
    quantile: float


@dataclass(slots=True)
class _Open:
    began_at: float
    quoted_seconds: float
    settled: bool = False
    pace_seconds: float | None = None
    """What its pace first said it would take."""


class CompletionTimes:
    """What is known of one model's batches at one upstream. Instants are unix seconds; no clock is read.

    `belief` says what is believed without experience, as what completes in each cell of the grid; None: the prior.
    """

    def __init__(self, settings: Settings, belief: Callable[[float], Sequence[float]] | None = None) -> None:
        self._settings = settings
        first = settings.horizon_seconds / SPAN
        self._grid = [first * math.pow(SPAN, point / (POINTS - 1)) for point in range(POINTS)]
        prior = steps([_prior(settings.prior_median_seconds, seconds) for seconds in self._grid])
        self._belief = belief or (lambda _: prior)
        self._slow = Memory(settings.half_life_slow_seconds)
        self._fast = Memory(settings.half_life_fast_seconds)
        self._paces = PaceErrors()
        self._alpha = 1 - settings.quoted_share
        self._open: dict[str, _Open] = {}
        self._results: list[bool] = []
        self._completed_at = -math.inf
        self._seen_at = 0.0
        self._curve: list[float] = []
        self._built_at = -math.inf

    def __repr__(self) -> str:
        return f"<CompletionTimes {len(self._open)} open, {self.observed:.1f} observed, alpha={self._alpha:.3f}>"

    @property
    def observed(self) -> float:
        """How many completed batches long experience is worth now; at 0, only the prior speaks."""
        return sum(self._slow.shares(self._seen_at)[0])

    def submitted(self, batch_id: str, at: float) -> None:
        """A batch begins to run. One that is known already is passed over."""
        if batch_id not in self._open:
            self._open[batch_id] = _Open(at, self.quote(at))
            self._see(at)

    def progressed(self, batch_id: str, at: float, done_share: float) -> None:
        """The provider says how much of a running batch is done, 0 to 1. Unknown ones are passed over."""
        batch = self._open.get(batch_id)
        if batch is not None and batch.pace_seconds is None and DONE_MIN <= done_share <= DONE_MAX:
            batch.pace_seconds = max(1.0, at - batch.began_at) / done_share

    def ended(self, batch_id: str, at: float, *, completed: bool) -> None:
        """A batch is complete, or ended otherwise: then it would have taken longer. Unknown ones are passed over."""
        batch = self._open.pop(batch_id, None)
        if batch is None:
            return
        seconds = max(0.0, at - batch.began_at)
        cell = min(bisect_left(self._grid, seconds), POINTS - 1)
        for memory in (self._slow, self._fast):
            memory.add(cell, at, completed=completed)
        if completed:
            self._completed_at = max(self._completed_at, at)
        if batch.pace_seconds is not None and (completed or seconds > batch.pace_seconds):
            self._paces.learn(batch.pace_seconds, max(1.0, seconds))
        if not batch.settled and (completed or seconds > batch.quoted_seconds):
            self._settle(covered=completed and seconds <= batch.quoted_seconds)
        self._see(at)
        self._built_at = -math.inf

    def settle_forecasts(self, now: float) -> list[Forecast]:
        """The forecasts that have turned out since the last call; each batch's once."""
        for batch in self._open.values():
            if not batch.settled and now - batch.began_at > batch.quoted_seconds:
                batch.settled = True
                self._settle(covered=False)
        results, self._results = self._results, []
        return [Forecast(covered, self._settings.quoted_share) for covered in results]

    def chance(self, within_seconds: float, now: float) -> float:
        """The odds that a batch that is submitted now is complete within so many seconds."""
        if within_seconds <= 0:
            return 0.0
        curve = self._curve_at(now)
        cell = bisect_right(self._grid, within_seconds)
        if cell == POINTS:
            return curve[-1]
        low_at, low = (self._grid[cell - 1], curve[cell - 1]) if cell else (0.0, 0.0)
        return low + (curve[cell] - low) * (within_seconds - low_at) / (self._grid[cell] - low_at)

    def chance_given(self, within_seconds: float, *, age_seconds: float, done_share: float, now: float) -> float:
        """The odds that a batch of this age is complete within so many seconds more.

        `done_share` is how much of it the provider says is done: its pace so far is a second opinion.
        """
        if within_seconds <= 0:
            return 0.0
        begun = self.chance(age_seconds, now)
        by_experience = (self.chance(age_seconds + within_seconds, now) - begun) / (1 - begun) if begun < 1 else 0.0
        if done_share < DONE_MIN or age_seconds <= 0:
            return by_experience
        by_pace = _NORMAL.cdf(math.log((age_seconds + within_seconds) * done_share / age_seconds) / self._paces.sigma)
        return by_experience + self._paces.weight_beside(self._sigma(now)) * (by_pace - by_experience)

    def quantile(self, share: float, now: float) -> float:
        """The time within which this share of batches is complete; the horizon where none is that late."""
        curve = self._curve_at(now)
        cell = bisect_left(curve, share)
        if cell == POINTS:
            return self._settings.horizon_seconds
        low_at, low = (self._grid[cell - 1], curve[cell - 1]) if cell else (0.0, 0.0)
        if curve[cell] <= low:
            return self._grid[cell]
        return low_at + (self._grid[cell] - low_at) * (share - low) / (curve[cell] - low)

    def quote(self, now: float) -> float:
        """The time within which `quoted_share` of batches has turned out to be complete: the calibrated quantile."""
        return self.quantile(1 - self._alpha, now)

    def evidence(self, now: float) -> tuple[list[float], list[float]]:
        """The weights that long experience gives, by cell of the grid: of batches that completed there, and of batches
        that are only known not to have completed by then, because they are open or ended otherwise.
        """
        return self._evidence(self._slow, now)

    def believed(self, now: float) -> Sequence[float]:
        """What is believed without experience: what completes in each cell of the grid, of a whole of 1."""
        return self._belief(now)

    def congested(self, now: float) -> bool:
        """Whether batches have stopped coming back."""
        return self._crowd(self._slow_curve(now), now)

    def snapshot(self) -> dict[str, object]:
        """What was learned, as plain JSON. Batches that are open are not in it: whoever restores it has them."""
        return {
            "horizon_seconds": self._settings.horizon_seconds,
            "alpha": self._alpha,
            "paces": self._paces.snapshot(),
            "slow": self._slow.snapshot(self._seen_at),
            "fast": self._fast.snapshot(self._seen_at),
        }

    @classmethod
    def restored(
        cls,
        settings: Settings,
        snapshot: Mapping[str, object],
        belief: Callable[[float], Sequence[float]] | None = None,
    ) -> "CompletionTimes":
        """Take up a snapshot; one on another grid is passed over. Raises ValueError for what is no snapshot."""
        made = cls(settings, belief)
        if number_of(snapshot.get("horizon_seconds")) != settings.horizon_seconds:
            return made
        seen_at = made._slow.restore(snapshot.get("slow"))
        made._fast.restore(snapshot.get("fast"))
        made._alpha = min(max(number_of(snapshot.get("alpha")), ALPHA_MIN), ALPHA_MAX)
        made._paces = PaceErrors.restored(snapshot.get("paces"))
        made._seen_at = seen_at
        return made

    def _see(self, at: float) -> None:
        self._seen_at = max(self._seen_at, at)

    def _settle(self, *, covered: bool) -> None:
        self._results.append(covered)
        target = 1 - self._settings.quoted_share
        corrected = self._alpha + self._settings.calibration_step * (target - (not covered))
        self._alpha = min(max(corrected, ALPHA_MIN), ALPHA_MAX)

    def _curve_at(self, now: float) -> list[float]:
        """F at every grid point."""
        stale_seconds = self._settings.half_life_fast_seconds / REBUILDS_PER_HALF_LIFE
        if not 0 <= now - self._built_at < stale_seconds:
            self._curve = self._build(now)
            self._built_at = now
        return self._curve

    def _build(self, now: float) -> list[float]:
        slow = self._slow_curve(now)
        trust = self._settings.prior_batches * FAST_PRIOR_SHARE
        fast = estimate(*self._evidence(self._fast, now), steps(slow), trust)
        lower = [min(pair) for pair in zip(slow, fast, strict=True)]
        return [value / 2 for value in lower] if self._crowd(slow, now) else lower

    def _slow_curve(self, now: float) -> list[float]:
        return estimate(*self.evidence(now), self.believed(now), self._settings.prior_batches)

    def _sigma(self, now: float) -> float:
        """How widely experience is spread, on a scale of logarithms."""
        low, high = (self.quantile(share, now) for share in ONE_SIGMA)
        return math.log(high / low) / 2 if high > low > 0 else 0.0

    def _evidence(self, memory: Memory, now: float) -> tuple[list[float], list[float]]:
        """As `evidence`, of either memory."""
        completed, censored = memory.shares(now)
        for batch in self._open.values():
            censored[min(bisect_left(self._grid, max(0.0, now - batch.began_at)), POINTS - 1)] += 1.0
        return completed, censored

    def _crowd(self, slow: Sequence[float], now: float) -> bool:
        """Whether enough open batches have grown too old since the last one completed."""
        cell = bisect_left(slow, self._settings.congested_share)
        if cell == POINTS:
            return False
        too_old_seconds = self._grid[cell]
        old = (batch.began_at + too_old_seconds for batch in self._open.values())
        crowd = [at for at in old if self._completed_at < at <= now]
        return len(crowd) >= self._settings.congested_open


def _prior(median_seconds: float, seconds: float) -> float:
    parts = ((weight, math.log(seconds / (median_seconds * times)) / sigma) for weight, times, sigma in PRIOR_PARTS)
    return sum(weight * _NORMAL.cdf(score) for weight, score in parts)

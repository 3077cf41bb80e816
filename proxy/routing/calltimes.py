"""How long synchronous calls take, by upstream, model and tier, learned from those that are made.

An escalation has to begin so early that even a slow call is in time: a reasoning model's may take minutes, and no
setting fits all models. What counts is a quantile of the last few thousand calls, on a scale of tenths: 99.9 % unless
a policy wants another confidence; 90 % at flex, which another call follows. Calls at flex that were cut off because
their time was up would have taken longer: they are right-censored, as running batches are (`routing.latency`).

Each call is held against the quantile that was last asked for, the usual one: so it shows whether that holds.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.domain.events import AnyEvent, CallFinished
from proxy.domain.ids import UpstreamName
from proxy.domain.tier import Tier

QUANTILE, FLEX_QUANTILE = 0.999, 0.9
SECONDS_MAX = 600.0
"""A call that takes longer says more about its client than about the provider."""
MODELS_MAX = 1000
_FADING = 0.9998
"""The weight that is left of a call after the next one: the last five thousand count most."""
_STEP = 1.1
_SHORTEST = 0.1
_PLACES = math.ceil(math.log(SECONDS_MAX / _SHORTEST, _STEP)) + 1
_FRESH_CALLS = 20
"""So many calls may come before the quantile is found again: fewer while few are known."""
_WEIGHT_MAX = 1e12
_ERROR = 400
Key = tuple[UpstreamName, str, Tier]


@dataclass(frozen=True, slots=True)
class Judged:
    """What has become of the quotes for one model's calls at one tier: how many calls took no longer, and how many
    did. `quantile` is what was quoted.
    """

    upstream: UpstreamName
    model: str
    tier: Tier
    quantile: float
    covered: int
    missed: int


class _Histogram:
    """Faded counts by classes of duration, each a tenth longer than the last."""

    def __init__(self, quantile: float) -> None:
        self.quantile = quantile
        self.covered = self.missed = 0
        self._ended: dict[int, float] = {}
        self._cut_off: dict[int, float] = {}
        self._weight = 1.0
        self._calls = self._stale = 0
        self._found: dict[float, float] = {}

    def add(self, seconds: float, *, ended: bool) -> None:
        """A newer call weighs more; that all older ones weigh less is the same, and needs no pass over them."""
        self._judge(seconds, ended=ended)
        place = max(0, math.ceil(math.log(max(seconds, _SHORTEST) / _SHORTEST, _STEP)))
        counts = self._ended if ended else self._cut_off
        counts[place] = counts.get(place, 0.0) + self._weight
        self._weight /= _FADING
        self._calls += 1
        self._stale += 1
        if self._weight > _WEIGHT_MAX:
            self._ended, self._cut_off = self._scaled(self._ended), self._scaled(self._cut_off)
            self._weight = 1.0

    def within_seconds(self, share: float) -> float:
        if self._stale > 0 and self._stale >= min(_FRESH_CALLS, self._calls // 10):
            self._stale = 0
            self._found.clear()
        found = self._found.get(share)
        if found is None:
            found = self._found[share] = self._estimate(share)
        return found

    def snapshot(self) -> dict[str, object]:
        return {
            "ended": sorted(self._scaled(self._ended).items()),
            "cut_off": sorted(self._scaled(self._cut_off).items()),
        }

    def restore(self, snapshot: object) -> None:
        """Raises ValueError for what is no snapshot."""
        if not isinstance(snapshot, Mapping):
            raise ValueError("the calls of a tier are missing")  # noqa: TRY004  the caller's promise
        self._ended, self._cut_off = _counts(snapshot.get("ended")), _counts(snapshot.get("cut_off"))

    def _scaled(self, counts: Mapping[int, float]) -> dict[int, float]:
        return {place: count / self._weight for place, count in counts.items()}

    def _judge(self, seconds: float, *, ended: bool) -> None:
        """Whether the last quote holds. That for a call which was cut off within it is never known."""
        quoted = self._found.get(self.quantile, 0.0)
        if quoted <= 0:
            return
        if seconds > quoted:
            self.missed += 1
        elif ended:
            self.covered += 1

    def _estimate(self, share: float) -> float:
        """Kaplan and Meier's quantile: the first class by which enough calls have ended."""
        places = sorted({*self._ended, *self._cut_off})
        at_risk = sum(self._ended.values()) + sum(self._cut_off.values())
        survival = 1.0
        for place in places:
            ended = self._ended.get(place, 0.0)
            survival *= max(0.0, 1 - ended / at_risk)
            at_risk -= ended + self._cut_off.get(place, 0.0)
            if survival <= 1 - share or (at_risk <= 0 and ended):
                return _SHORTEST * _STEP**place
        return SECONDS_MAX if places else 0.0


class CallTimes:
    """Remembers the calls of each model in use."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, _Histogram] = OrderedDict()

    def observe(
        self, upstream: UpstreamName, model: str, seconds: float, tier: Tier = Tier.STANDARD, *, ended: bool = True
    ) -> None:
        """A call was answered after so many seconds, or (`ended` False) was cut off and would have taken longer."""
        self._of((upstream, model, tier)).add(min(max(seconds, 0.0), SECONDS_MAX), ended=ended)
        self._known.move_to_end((upstream, model, tier))
        if len(self._known) > MODELS_MAX:
            self._known.popitem(last=False)

    def within_seconds(self, upstream: UpstreamName, model: str, share: float, tier: Tier = Tier.STANDARD) -> float:
        """The time within which this share of calls is answered; 0 before there is experience."""
        known = self._known.get((upstream, model, tier))
        return 0.0 if known is None else known.within_seconds(share)

    def forecasts(self) -> dict[Key, float]:
        """The time within which nearly every call at a tier is answered, at flex nine in ten."""
        return {key: known.within_seconds(known.quantile) for key, known in self._known.items()}

    def listen(self, event: AnyEvent) -> None:
        """Learn from urgent calls."""
        if isinstance(event, CallFinished) and event.row is not None and event.status < _ERROR:
            self.observe(event.upstream, event.model, event.finished_at - event.started_at, event.tier)

    def judge(self) -> list[Judged]:
        """What has become of the quotes since the last call."""
        judged = [
            Judged(*key, known.quantile, known.covered, known.missed)
            for key, known in self._known.items()
            if known.covered or known.missed
        ]
        for known in self._known.values():
            known.covered = known.missed = 0
        return judged

    def snapshot(self, upstream: UpstreamName, model: str) -> dict[str, object]:
        """What is known of one model, as plain JSON by tier; empty when that is nothing."""
        known = ((tier, self._known.get((upstream, model, tier))) for tier in Tier)
        return {tier.value: histogram.snapshot() for tier, histogram in known if histogram is not None}

    def restore(self, upstream: UpstreamName, model: str, snapshot: Mapping[str, object]) -> None:
        """Take over what was known of one model; what is known by own experience stays. Raises ValueError for what is
        no snapshot.
        """
        restored: dict[Key, _Histogram] = {}
        for name, calls in snapshot.items():
            key = upstream, model, Tier(name)
            restored[key] = _Histogram(_quantile(key[2]))
            restored[key].restore(calls)
        self._known.update((key, found) for key, found in restored.items() if key not in self._known)

    def _of(self, key: Key) -> _Histogram:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Histogram(_quantile(key[2]))
        return known


def _quantile(tier: Tier) -> float:
    return FLEX_QUANTILE if tier is Tier.FLEX else QUANTILE


def _counts(value: object) -> dict[int, float]:
    if not isinstance(value, list):
        raise ValueError("the calls of a tier are no list")  # noqa: TRY004  the caller's promise
    counts: dict[int, float] = {}
    for pair in value:
        match pair:
            case [int(place), int() | float() as count] if 0 <= place <= _PLACES and 0 <= count < _WEIGHT_MAX:
                counts[place] = float(count)
            case _:
                raise ValueError(f"{pair!r} is no class of calls")
    return counts

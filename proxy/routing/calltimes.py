"""How long synchronous calls take at worst, by upstream and model, learned from those that are made.

An escalation has to begin so early that even a slow call is in time: a reasoning model's may take minutes, and no
setting fits all models. What counts is a quantile of the last few thousand calls, 99.9 % unless a policy wants another
confidence, on a scale of tenths.
"""

import math
from collections import OrderedDict

from proxy.domain.events import AnyEvent, CallFinished
from proxy.domain.ids import UpstreamName

SECONDS_MAX = 600.0
"""A call that takes longer says more about its client than about the provider."""
MODELS_MAX = 1000
_FADING = 0.9998
"""The weight that is left of a call after the next one: the last five thousand count most."""
_STEP = 1.1
_SHORTEST = 0.1
_FRESH_CALLS = 20
"""So many calls may come before the quantile is found again."""
_WEIGHT_MAX = 1e12
_ERROR = 400


class _Histogram:
    """Faded counts by classes of duration, each a tenth longer than the last."""

    def __init__(self) -> None:
        self._counts: dict[int, float] = {}
        self._weight = 1.0
        self._stale = _FRESH_CALLS
        self._found: dict[float, float] = {}

    def add(self, seconds: float) -> None:
        """A newer call weighs more; that all older ones weigh less is the same, and needs no pass over them."""
        place = max(0, math.ceil(math.log(max(seconds, _SHORTEST) / _SHORTEST, _STEP)))
        self._counts[place] = self._counts.get(place, 0.0) + self._weight
        self._weight /= _FADING
        self._stale += 1
        if self._weight > _WEIGHT_MAX:
            self._counts = {known: count / self._weight for known, count in self._counts.items()}
            self._weight = 1.0

    def within_seconds(self, share: float) -> float:
        if self._stale >= _FRESH_CALLS:
            self._stale = 0
            self._found.clear()
        found = self._found.get(share)
        if found is None:
            found = self._found[share] = self._quantile(share)
        return found

    def _quantile(self, share: float) -> float:
        beyond = (1 - share) * sum(self._counts.values())
        for place in sorted(self._counts, reverse=True):
            beyond -= self._counts[place]
            if beyond <= 0:
                return _SHORTEST * _STEP**place
        return 0.0


class CallTimes:
    """Remembers the calls of each model in use."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UpstreamName, str], _Histogram] = OrderedDict()

    def observe(self, upstream: UpstreamName, model: str, seconds: float) -> None:
        """A call was answered after so many seconds."""
        key = upstream, model
        self._known.setdefault(key, _Histogram()).add(min(max(seconds, 0.0), SECONDS_MAX))
        self._known.move_to_end(key)
        if len(self._known) > MODELS_MAX:
            self._known.popitem(last=False)

    def within_seconds(self, upstream: UpstreamName, model: str, share: float) -> float:
        """The time within which this share of calls is answered; 0 before there is experience."""
        known = self._known.get((upstream, model))
        return 0.0 if known is None else known.within_seconds(share)

    def listen(self, event: AnyEvent) -> None:
        """Learn from urgent calls."""
        if isinstance(event, CallFinished) and event.row is not None and event.status < _ERROR:
            self.observe(event.upstream, event.model, event.finished_at - event.started_at)

"""The rate limits of every (upstream, model) that is in use, made on first sight."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from proxy.domain.ids import UpstreamName
from proxy.routing import ratelimit
from proxy.routing.ratelimit import RateLimits
from proxy.routing.shadow import Shadow


@dataclass(slots=True)
class Limits:
    """One model's limits at one upstream: what is really spent, and what all-synchronous traffic would have spent."""

    actual: RateLimits
    shadow: Shadow


class LimitBook:
    """Finds the limits for a call. `settings` holds the configured ceilings of each upstream."""

    def __init__(self, settings: Mapping[UpstreamName, ratelimit.Settings]) -> None:
        self._settings = settings
        self._known: dict[tuple[UpstreamName, str], Limits] = {}

    def of(self, upstream: UpstreamName, model: str, now: float) -> Limits:
        known = self._known.get((upstream, model))
        if known is None:
            actual = RateLimits(self._settings[upstream], now)
            known = Limits(actual, Shadow(actual, now))
            self._known[upstream, model] = known
        return known

    def __iter__(self) -> Iterator[tuple[UpstreamName, str, Limits]]:
        for (upstream, model), limits in self._known.items():
            yield upstream, model, limits

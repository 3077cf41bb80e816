"""The rate limits of every (upstream, model) that is in use, made on first sight, and shared between processes.

A process says what it has spent since it began; whoever hears it charges the difference to what it heard before. So
nothing is counted twice when a word is repeated, and nothing is missed when one is lost.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.domain.ids import UpstreamName
from proxy.domain.labels import LimitKind
from proxy.domain.request import Lane
from proxy.routing import ratelimit
from proxy.routing.ratelimit import RateLimits, Spent
from proxy.routing.shadow import Arrived, Shadow


@dataclass(slots=True)
class Limits:
    """One model's limits at one upstream: what is really spent, and what all-synchronous traffic would have spent."""

    actual: RateLimits
    shadow: Shadow


@dataclass(frozen=True, slots=True)
class Word:
    """What a process says of one lane: what it has spent and seen since it began, and what the provider has told it.

    `limits` are per minute.
    """

    upstream: UpstreamName
    model: str
    spent: Spent
    arrived: Arrived
    limits: dict[LimitKind, float]


class LimitBook:
    """Finds the limits for a call. `settings` holds the configured ceilings of each upstream."""

    def __init__(self, settings: Mapping[UpstreamName, ratelimit.Settings]) -> None:
        self._settings = settings
        self._known: dict[Lane, Limits] = {}
        self._heard: dict[str, dict[Lane, Word]] = {}
        self._under_way: Counter[UpstreamName] = Counter()

    @contextmanager
    def calling(self, upstream: UpstreamName) -> Iterator[None]:
        """While inside, a synchronous call is under way there."""
        self._under_way[upstream] += 1
        try:
            yield
        finally:
            self._under_way[upstream] -= 1

    def under_way(self, upstream: UpstreamName) -> int:
        """Synchronous calls that this process has under way there, urgent ones and those for deferred requests."""
        return self._under_way[upstream]

    def of(self, upstream: UpstreamName, model: str, now: float) -> Limits:
        lane = Lane(upstream, model)
        known = self._known.get(lane)
        if known is None:
            actual = RateLimits(self._settings[upstream], now)
            known = self._known[lane] = Limits(actual, Shadow(actual, now))
        return known

    def __iter__(self) -> Iterator[tuple[UpstreamName, str, Limits]]:
        for (upstream, model), limits in self._known.items():
            yield upstream, model, limits

    def words(self) -> list[Word]:
        """What this process has to say to the others."""
        return [
            Word(*lane, limits.actual.spent, limits.shadow.arrived, limits.actual.learned)
            for lane, limits in self._known.items()
        ]

    def hear(self, member: str, words: Sequence[Word], now: float) -> None:
        """Charge what another process has spent since it was last heard. What a new one had spent before is not
        charged. Lanes of upstreams that are not configured here are passed over.
        """
        is_new = member not in self._heard
        heard = self._heard.setdefault(member, {})
        for word in words:
            if word.upstream not in self._settings:
                continue
            lane = Lane(word.upstream, word.model)
            limits = self.of(*lane, now)
            for kind, limit in word.limits.items():
                limits.actual.learned_elsewhere(kind, limit, now)
            before = heard.get(lane)
            if before is not None or not is_new:
                limits.actual.spent_elsewhere(word.spent.minus(before.spent if before else Spent()), now)
                limits.shadow.arrived_elsewhere(word.arrived.minus(before.arrived if before else Arrived()), now)
            heard[lane] = word

    def forget_all_but(self, members: Collection[str]) -> None:
        """Other processes are gone."""
        for member in self._heard.keys() - set(members):
            del self._heard[member]

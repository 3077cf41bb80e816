"""The completion times of every (upstream, model) whose batches have been seen, made on first sight.

A model of which little is known is believed to take as long as all models of its upstream together: their weights,
summed, are the experience that its own is added to. What was believed before there was any is added to theirs.
"""

from collections.abc import Iterator, Mapping, Sequence

from proxy.domain.ids import UpstreamName
from proxy.routing import latency
from proxy.routing.latency import CompletionTimes
from proxy.routing.survival import estimate, steps

POOLINGS_PER_HALF_LIFE = 200
"""How often the models of an upstream are summed up anew, within the half-life of fast experience."""


class LatencyBook:
    """Finds what is known of a queue's completion times; `snapshot` and `restore` carry it over a restart."""

    def __init__(self, settings: latency.Settings) -> None:
        self._settings = settings
        self.prior = CompletionTimes(settings)
        """What is believed of batches that nothing is known of. Never told anything."""
        self._known: dict[tuple[UpstreamName, str], CompletionTimes] = {}
        self._pools: dict[UpstreamName, _Pool] = {}

    def of(self, upstream: UpstreamName, model: str) -> CompletionTimes:
        """The model's own completion times at this upstream: those of all its models, before there is experience."""
        known = self._known.get((upstream, model))
        if known is None:
            known = self._known[upstream, model] = CompletionTimes(self._settings, self._pool(upstream).belief)
        return known

    def __iter__(self) -> Iterator[tuple[UpstreamName, str, CompletionTimes]]:
        for (upstream, model), known in self._known.items():
            yield upstream, model, known

    def snapshot(self) -> list[dict[str, object]]:
        """Everything that is known, as plain JSON."""
        return [{"upstream": upstream, "model": model, **known.snapshot()} for upstream, model, known in self]

    def restore(self, snapshots: list[Mapping[str, object]]) -> None:
        """Take over what another process has learned. Raises ValueError for what is no snapshot."""
        for snapshot in snapshots:
            upstream, model = UpstreamName(str(snapshot.get("upstream"))), str(snapshot.get("model"))
            belief = self._pool(upstream).belief
            self._known[upstream, model] = CompletionTimes.restored(self._settings, snapshot, belief)

    def _pool(self, upstream: UpstreamName) -> "_Pool":
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = _Pool(self, upstream, self._settings)
        return pool


class _Pool:
    """All models of one upstream together."""

    def __init__(self, book: LatencyBook, upstream: UpstreamName, settings: latency.Settings) -> None:
        self._book = book
        self._upstream = upstream
        self._settings = settings
        self._stale_seconds = settings.half_life_fast_seconds / POOLINGS_PER_HALF_LIFE
        self._belief: Sequence[float] = ()
        self._made_at = 0.0

    def belief(self, now: float) -> Sequence[float]:
        """What completes in each cell of the grid."""
        if not self._belief or not 0 <= now - self._made_at < self._stale_seconds:
            self._belief, self._made_at = self._sum(now), now
        return self._belief

    def _sum(self, now: float) -> list[float]:
        completed, censored = self._book.prior.evidence(now)
        for upstream, _, known in self._book:
            if upstream == self._upstream:
                seen, unfinished = known.evidence(now)
                completed = [sum(pair) for pair in zip(completed, seen, strict=True)]
                censored = [sum(pair) for pair in zip(censored, unfinished, strict=True)]
        prior = self._book.prior.believed(now)
        return steps(estimate(completed, censored, prior, self._settings.prior_batches))

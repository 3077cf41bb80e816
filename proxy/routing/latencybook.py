"""The completion times of every (upstream, model) whose batches have been seen, made on first sight."""

from collections.abc import Iterator, Mapping

from proxy.domain.ids import UpstreamName
from proxy.routing import latency
from proxy.routing.latency import CompletionTimes


class LatencyBook:
    """Finds what is known of a queue's completion times; `snapshot` and `restore` carry it over a restart."""

    def __init__(self, settings: latency.Settings) -> None:
        self._settings = settings
        self.prior = CompletionTimes(settings)
        """What is believed of batches that nothing is known of. Never told anything."""
        self._known: dict[tuple[UpstreamName, str], CompletionTimes] = {}

    def of(self, upstream: UpstreamName, model: str) -> CompletionTimes:
        """The model's own completion times at this upstream: the prior, before there is experience."""
        known = self._known.get((upstream, model))
        if known is None:
            known = self._known[upstream, model] = CompletionTimes(self._settings)
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
            key = UpstreamName(str(snapshot.get("upstream"))), str(snapshot.get("model"))
            self._known[key] = CompletionTimes.restored(self._settings, snapshot)

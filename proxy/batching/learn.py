"""What is learned about completion times, kept over a restart and shared, and whether forecasts come true.

Whoever looks after a lane learns about it and saves it; the others read it now and then, for their own decisions.
"""

import json
from collections.abc import Callable, Collection, Mapping

from proxy.batching.desk import Desk
from proxy.domain.batch import BatchState
from proxy.domain.events import ForecastSettled
from proxy.domain.request import Lane
from proxy.routing.latencybook import LatencyBook

NOTE = "completion times"


async def recall(desk: Desk) -> None:
    """Take over what was learned about all lanes but one's own."""
    restore(desk.latencies, await desk.store.notes(NOTE), but=desk.keeps)


def restore(latencies: LatencyBook, notes: Mapping[str, bytes], *, but: Callable[[Lane], bool]) -> None:
    """Take over what was learned about all lanes but some.

    A note that cannot be read is passed over: it is experience, and comes again.
    """
    for name, content in notes.items():
        try:
            lane = Lane(*json.loads(name.removeprefix(NOTE)))
            if not but(lane):
                latencies.restore([json.loads(content)])
        except (ValueError, TypeError, AttributeError):
            continue


async def take_over(desk: Desk, lanes: Collection[Lane]) -> None:
    """Begin to learn about these lanes: with what is known, and with the batches that are running."""
    await recall(desk)
    for batch in await desk.store.open_batches():
        if batch.queue.lane in lanes and batch.state is BatchState.IN_FLIGHT and batch.submitted_at is not None:
            desk.latencies.of(*batch.queue.lane).submitted(batch.id, batch.submitted_at)


async def remember(desk: Desk, lanes: Collection[Lane]) -> None:
    """Keep what was learned about these lanes."""
    for upstream, model, times in desk.latencies:
        if Lane(upstream, model) in lanes:
            name = f"{NOTE} {json.dumps((upstream, model))}"
            snapshot = {"upstream": upstream, "model": model, **times.snapshot()}
            await desk.store.save_note(name, json.dumps(snapshot).encode())


def settle_forecasts(desk: Desk, now: float) -> None:
    """Announce what has become of the forecasts that were made."""
    for upstream, model, times in desk.latencies:
        for forecast in times.settle_forecasts(now):
            desk.announce(ForecastSettled(upstream, model, forecast.quantile, forecast.covered, now))

"""What the engine learns about completion times, kept over a restart, and whether its forecasts come true."""

import json

from proxy.batching.desk import Desk
from proxy.domain.batch import BatchState
from proxy.domain.events import ForecastSettled

NOTE = "completion times"


async def recall(desk: Desk) -> None:
    """Take over what an earlier process has learned, and count the batches that are running as running.

    A note that cannot be read is passed over: it is experience, and comes again.
    """
    content = await desk.store.note(NOTE)
    if content is not None:
        try:
            desk.latencies.restore(json.loads(content))
        except (ValueError, TypeError, AttributeError):
            await desk.store.save_note(NOTE, b"[]")
    for batch in await desk.store.open_batches():
        if batch.state is BatchState.IN_FLIGHT and batch.submitted_at is not None:
            desk.latencies.of(batch.queue.upstream, batch.queue.model).submitted(batch.id, batch.submitted_at)


async def remember(desk: Desk) -> None:
    """Keep what was learned."""
    await desk.store.save_note(NOTE, json.dumps(desk.latencies.snapshot()).encode())


def settle_forecasts(desk: Desk, now: float) -> None:
    """Announce what has become of the forecasts that were made."""
    for upstream, model, times in desk.latencies:
        for forecast in times.settle_forecasts(now):
            desk.announce(ForecastSettled(upstream, model, forecast.quantile, forecast.covered, now))

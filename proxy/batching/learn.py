"""What is learned about the times of batches and of calls, kept over a restart and shared, and whether forecasts come
true.

Whoever looks after a lane learns about it and saves it; the others read it now and then, for their own decisions.
"""

import json
from collections.abc import Callable, Collection, Mapping

from proxy.batching.desk import Desk
from proxy.domain.batch import BatchState
from proxy.domain.events import ForecastSettled
from proxy.domain.request import Lane
from proxy.routing.latencybook import LatencyBook

NOTE, CALLS_NOTE = "completion times", "call times"


async def recall(desk: Desk) -> None:
    """Take over what was learned about all lanes but one's own, and about calls of which there is no own experience."""
    restore(desk.latencies, await desk.store.notes(NOTE), but=desk.keeps)
    for name, content in (await desk.store.notes(CALLS_NOTE)).items():
        try:
            desk.call_times.restore(*Lane(*json.loads(name.removeprefix(CALLS_NOTE))), json.loads(content))
        except (ValueError, TypeError, AttributeError):
            continue


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
    for lane in lanes:
        calls = desk.call_times.snapshot(*lane)
        if calls:
            await desk.store.save_note(f"{CALLS_NOTE} {json.dumps(lane)}", json.dumps(calls).encode())


def settle_forecasts(desk: Desk, now: float) -> None:
    """Announce what has become of the forecasts that were made."""
    for upstream, model, times in desk.latencies:
        for forecast in times.settle_forecasts(now):
            desk.announce(ForecastSettled(upstream, model, forecast.quantile, forecast.covered, now))
    for calls in desk.call_times.judge():
        for covered, count in ((True, calls.covered), (False, calls.missed)):
            if count:
                settled = ForecastSettled(calls.upstream, calls.model, calls.quantile, covered, now, calls.tier, count)
                desk.announce(settled)

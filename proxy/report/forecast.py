"""When running batches can be expected back: from what was learned of their completion times and kept in the store."""

from collections.abc import Sequence

from proxy.batching.learn import NOTE, restore
from proxy.domain.batch import Batch, BatchState
from proxy.domain.ids import BatchId
from proxy.report.view import View
from proxy.routing.latencybook import LatencyBook


async def expected_at(view: View, batches: Sequence[Batch]) -> dict[BatchId, float]:
    """By when the quoted share (nine of ten, unless configured) of batches like these are back.

    A batch is left out that does not run, or of whose model nothing was learned yet. Raises `StoreFault`.
    """
    book = LatencyBook(view.batches)
    restore(book, await view.reader.notes(NOTE), but=lambda _: False)
    learned = {(upstream, model): times for upstream, model, times in book}
    now = view.clock.now()
    running = [
        (batch, batch.submitted_at, learned[batch.queue.lane])
        for batch in batches
        if batch.state is BatchState.IN_FLIGHT and batch.submitted_at is not None and batch.queue.lane in learned
    ]
    for batch, submitted_at, times in running:
        times.submitted(batch.id, submitted_at)
    return {batch.id: submitted_at + times.quote(now) for batch, submitted_at, times in running}

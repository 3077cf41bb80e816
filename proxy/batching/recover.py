"""Finding out what happened before acting again: after a lost reply, and after a restart."""

import math
from collections.abc import Collection, Iterable

from proxy.batching.desk import Desk
from proxy.batching.settle import lost_row, owed_to
from proxy.batching.submit import BATCH_KEY, submitted
from proxy.domain.attempt import Attempt
from proxy.domain.batch import Batch, BatchState
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.events import WasteBooked
from proxy.domain.ids import BatchId
from proxy.domain.moves import AttemptLost, AttemptWithdrawn, BatchPostponed, Conflict, InputRevoked, ProvedAbsent
from proxy.domain.request import Lane, Waiting
from proxy.upstream.interface import ProviderBatch

WATCHED = frozenset({BatchState.IN_FLIGHT, BatchState.ENDED})
"""Of such a batch it can be asked what it has brought."""
CLOCK_SKEW_SECONDS = 300.0
"""How far the provider's clock may be behind ours before its list is searched too short."""


def note_overdue(desk: Desk, batches: Iterable[Batch], lanes: Collection[Lane], now: float) -> None:
    """Lanes have just been taken: what is due there may not have been asked about since their last holder's end."""
    for batch in batches:
        if batch.queue.lane in lanes and batch.state in WATCHED and batch.due_at <= now:
            desk.memory.unheard_since.setdefault(batch.id, now)


def note_late(desk: Desk, batch: Batch) -> None:
    """A batch is about to be asked about or collected, perhaps long after its time: nobody could look at its requests
    in between, and the next look may find it ended as if that were no news.
    """
    now = desk.clock.now()
    if _is_late(desk, batch, now):
        desk.memory.unheard_since.setdefault(batch.id, now)


def unheard(desk: Desk, batches: Iterable[Batch], now: float) -> Collection[BatchId]:
    """Batches that should have been asked about long ago, or when their lane was taken, and are being asked or
    collected now: whoever looked after them was away. They may be done, and what they have brought comes before buying
    it again, or giving it up.

    That does not wait for long: whoever is late already need not wait for a provider that does not answer.
    """
    catch_up_seconds = desk.settings.catch_up_seconds
    memory = desk.memory.unheard_since
    suspects = {
        batch.id
        for batch in batches
        if _is_late(desk, batch, now)
        or (batch.id in memory and _still_to_be_heard(desk, batch, since=memory[batch.id]))
    }
    for batch_id in memory.keys() - suspects:
        del memory[batch_id]
    return {batch_id for batch_id in suspects if now <= memory.setdefault(batch_id, now) + catch_up_seconds}


def _is_late(desk: Desk, batch: Batch, now: float) -> bool:
    return batch.state in WATCHED and batch.due_at < now - desk.settings.catch_up_seconds


def _still_to_be_heard(desk: Desk, batch: Batch, *, since: float) -> bool:
    if batch.state is BatchState.IN_FLIGHT:
        return desk.memory.polled_at.get(batch.id, -math.inf) < since
    return batch.state is BatchState.ENDED


async def match_or_revoke(desk: Desk, batch: Batch) -> None:
    """CREATING with an unknown fate: look for our id in the provider's list before anything is sent again.

    Before the settle time the list may not show a job that was just created, so its absence proves nothing. After it
    the creation may still be on its way, from a connection or a process that hangs: its input file is taken away.
    """
    found = await _find(desk, batch)
    if found is not None:
        await submitted(desk, batch, found, found=True)
        return
    now = desk.clock.now()
    settled_at = (batch.creating_at or batch.created_at) + desk.settings.settle_seconds
    if now < settled_at:
        await desk.move(BatchPostponed(batch.id, due_at=settled_at))
        return
    await _revoke_input(desk, batch)
    now = desk.clock.now()
    await desk.move(InputRevoked(batch.id, now, due_at=now + desk.settings.settle_seconds))


async def match_or_plan_again(desk: Desk, batch: Batch) -> None:
    """REVOKED, and the settle time is over: either the job is in the list now, or it will never be."""
    found = await _find(desk, batch)
    if found is not None:
        await submitted(desk, batch, found, found=True)
        return
    now = desk.clock.now()
    await desk.move(ProvedAbsent(batch.id, now, due_at=now))


async def _revoke_input(desk: Desk, batch: Batch) -> None:
    """Delete the input file. A provider that refuses this for good leaves us with the settle time alone."""
    if batch.input_file_id is None:
        return
    try:
        await desk.seller(batch.queue).delete_file(await desk.auth(batch.queue), batch.input_file_id)
    except UpstreamFault as fault:
        if fault.retry is not Retry.NEVER:
            raise


async def _find(desk: Desk, batch: Batch) -> ProviderBatch | None:
    """The provider's job that carries our id. The list is newest first: jobs older than ours end the search."""
    oldest = batch.created_at - CLOCK_SKEW_SECONDS
    async for candidate in desk.seller(batch.queue).list_batches(await desk.auth(batch.queue)):
        if candidate.metadata.get(BATCH_KEY) == batch.id:
            return candidate
        if candidate.created_at and candidate.created_at < oldest:
            return None
    return None


async def settle_orphaned_calls(desk: Desk, lanes: Collection[Lane]) -> None:
    """Calls on these lanes that nobody has under way any more: their process is dead, or the store failed it.

    One that was not sent is withdrawn. One that was sent may have been billed: it is booked with an unknown amount,
    and its request is bought again.
    """
    now = desk.clock.now()
    for attempt, waiting in await desk.store.live_calls():
        if attempt.id in desk.memory.calling or waiting.queue.lane not in lanes:
            continue
        if await desk.move(AttemptWithdrawn(attempt.id, now)):
            continue
        lost = _lost(attempt, waiting, now)
        if not isinstance((await desk.store.apply([lost]))[0], Conflict):
            desk.announce(WasteBooked(lost.ledger))


def _lost(attempt: Attempt, waiting: Waiting, now: float) -> AttemptLost:
    return AttemptLost(attempt.id, now, ready_at=now, ledger=lost_row(owed_to(waiting), attempt.id, attempt.tier, now))

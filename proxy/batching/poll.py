"""Asking how a job is doing, and noticing its end."""

from contextlib import suppress

from proxy.batching.desk import Desk
from proxy.domain.batch import Batch, BatchOutcome
from proxy.domain.errors import UpstreamFault
from proxy.domain.moves import BatchEnded, BatchPolled, BatchPostponed, BatchVanished
from proxy.routing import polling
from proxy.upstream.interface import ProviderBatch

TERMINAL = {
    "completed": BatchOutcome.COMPLETED,
    "expired": BatchOutcome.EXPIRED,
    "cancelled": BatchOutcome.CANCELLED,
    "failed": BatchOutcome.FAILED,
}
NOT_FOUND = 404
IN_PROGRESS = "in_progress"
CANCELLABLE = frozenset({"validating", IN_PROGRESS})


async def poll(desk: Desk, batch: Batch) -> None:
    """IN_FLIGHT: take over the provider's account of the job."""
    if batch.provider_id is None:
        raise AssertionError(f"{batch.id} is in flight without a provider's id")
    try:
        seen = await desk.seller(batch.queue).retrieve(await desk.auth(batch.queue), batch.provider_id)
    except UpstreamFault as fault:
        if fault.status != NOT_FOUND:
            raise
        await _not_found(desk, batch)
        return
    desk.memory.polled_at[batch.id] = desk.clock.now()
    outcome = TERMINAL.get(seen.status)
    if outcome is None or _files_are_late(desk, batch, seen):
        await _still_running(desk, batch, seen)
        return
    now = desk.clock.now()
    completed = outcome is BatchOutcome.COMPLETED
    desk.latencies.of(batch.queue.upstream, batch.queue.model).ended(batch.id, now, completed=completed)
    await desk.move(
        BatchEnded(
            batch.id,
            now,
            outcome,
            seen.status,
            seen.completed_lines,
            seen.failed_lines,
            seen.output_file_id,
            seen.error_file_id,
            due_at=now,
        )
    )


async def _cancel_again(desk: Desk, batch: Batch) -> None:
    """That it is to be cancelled was written down before the provider was told, and the word was lost: a process died,
    or the call failed. One more failure is no reason not to go on asking how the job is doing.
    """
    if batch.provider_id is None:
        return
    with suppress(UpstreamFault):
        await desk.seller(batch.queue).cancel(await desk.auth(batch.queue), batch.provider_id)


async def _not_found(desk: Desk, batch: Batch) -> None:
    """A job may answer 404 right after its creation; only later does that mean that it is gone."""
    now = desk.clock.now()
    gone_at = (batch.submitted_at or batch.created_at) + desk.settings.vanish_seconds
    if now < gone_at:
        await desk.move(BatchPostponed(batch.id, due_at=_next_at(desk, batch, now, "not_found")))
        return
    desk.latencies.of(batch.queue.upstream, batch.queue.model).ended(batch.id, now, completed=False)
    await desk.move(BatchVanished(batch.id, now, due_at=now))


def _files_are_late(desk: Desk, batch: Batch, seen: ProviderBatch) -> bool:
    """An ended job can lack its files for a while, one that was cancelled or has expired as well. Its first terminal
    poll starts the wait.
    """
    lacks_output = seen.completed_lines > 0 and not seen.output_file_id
    lacks_everything = seen.failed_lines > 0 and not seen.output_file_id and not seen.error_file_id
    if not lacks_output and not lacks_everything:
        return False
    now = desk.clock.now()
    first_seen_at = desk.memory.ended_without_files.setdefault(batch.id, now)
    return now < first_seen_at + desk.settings.absent_output_seconds


async def _still_running(desk: Desk, batch: Batch, seen: ProviderBatch) -> None:
    if batch.cancel_requested_at is not None and seen.status in CANCELLABLE:
        await _cancel_again(desk, batch)
    now = desk.clock.now()
    if seen.status == IN_PROGRESS and batch.cancel_requested_at is None:
        done_share = (seen.completed_lines + seen.failed_lines) / max(1, batch.lines)
        desk.latencies.of(batch.queue.upstream, batch.queue.model).progressed(batch.id, now, done_share)
    due_at = _next_at(desk, batch, now, seen.status)
    await desk.move(BatchPolled(batch.id, now, seen.status, seen.completed_lines, seen.failed_lines, due_at))


def _next_at(desk: Desk, batch: Batch, now: float, status: str) -> float:
    return polling.next_poll_at(
        submitted_at=batch.submitted_at or batch.created_at,
        now=now,
        deadline_at=batch.deadline_at,
        settings=desk.settings.poll,
        provider_status=status,
        jitter=int(batch.id[-4:], 16) / 0xFFFF,
    )

"""Cutting queues into batches: which requests share one, decided by `routing.cutting`, written as one move."""

import math
from dataclasses import replace

from proxy.batching.desk import Desk
from proxy.domain.attempt import Attempt, AttemptKind
from proxy.domain.batch import Batch, BatchState
from proxy.domain.events import BatchCut, CutReason
from proxy.domain.moves import BatchPlanned
from proxy.domain.request import Pending, QueueDepth
from proxy.domain.tier import Tier
from proxy.routing import cutting

PENDING_MAX = 100_000
"""How many queued requests of one queue are looked at for one batch: two full batches."""


async def cut_due_queues(desk: Desk, now: float) -> float:
    """Cut every queue that is due. Returns when to look again, infinity when nothing waits."""
    look_again_at = math.inf
    in_time = now + desk.batch_needs_seconds
    for depth in await desk.store.queues(now, tries_max=desk.settings.tries_max, deadline_after=in_time):
        if not desk.sells_batches(depth.queue.upstream, now):
            look_again_at = min(look_again_at, desk.rung_lost_until(depth.queue.upstream))
            continue
        look_again_at = min(look_again_at, await _cut_queue(desk, depth, now))
    return look_again_at


async def _cut_queue(desk: Desk, depth: QueueDepth, now: float) -> float:
    settings = _settings_for(desk, depth)
    reason = cutting.reason_to_cut(depth, now=now, settings=settings, needs_seconds=desk.batch_needs_seconds)
    if reason is None:
        return cutting.next_cut_at(depth, now=now, settings=settings, needs_seconds=desk.batch_needs_seconds)
    while desk.creations_within_hour(depth.queue.upstream, now) < settings.creations_per_hour:
        if not await _cut_one(desk, depth, settings, reason, now):
            return math.inf
    return now + desk.settings.look_seconds


async def _cut_one(desk: Desk, depth: QueueDepth, settings: cutting.Settings, reason: CutReason, now: float) -> bool:
    """Plan one batch. False when no queued request has the time that a batch needs."""
    pending = await desk.store.pending(
        depth.queue,
        now,
        tries_max=desk.settings.tries_max,
        deadline_after=now + desk.batch_needs_seconds,
        limit=PENDING_MAX,
    )
    chosen = cutting.choose(pending, now=now, settings=settings)
    if not chosen:
        return False
    batch = _plan(desk, depth, chosen, now)
    attempts = tuple(
        Attempt(desk.ids.attempt(now), item.id, AttemptKind.LINE, Tier.BATCH, batch.id, now) for item in chosen
    )
    if not await desk.move(BatchPlanned(batch, attempts)):
        return True
    desk.note_creation(depth.queue.upstream, now)
    desk.announce(
        BatchCut(batch.id, depth.queue.upstream, depth.queue.model, reason, batch.lines, batch.body_bytes, now)
    )
    return True


def _plan(desk: Desk, depth: QueueDepth, chosen: list[Pending], now: float) -> Batch:
    return Batch(
        id=desk.ids.batch(now),
        queue=depth.queue,
        state=BatchState.PLANNED,
        lines=len(chosen),
        body_bytes=sum(item.body_bytes for item in chosen),
        estimated_tokens=sum(item.estimated_tokens for item in chosen),
        created_at=now,
        deadline_at=min(item.deadline_at for item in chosen),
        due_at=now,
    )


def _settings_for(desk: Desk, depth: QueueDepth) -> cutting.Settings:
    """The configured settings within what the upstream takes, and what its last refusal has left."""
    settings = desk.settings.cut
    sold = desk.upstream(depth.queue).capabilities
    lines_max = min(settings.lines_max, sold.lines_max, desk.memory.lines_cap.get(depth.queue, settings.lines_max))
    return replace(settings, lines_max=lines_max, bytes_max=min(settings.bytes_max, sold.bytes_max))

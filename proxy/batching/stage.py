"""Cutting queues into batches: which requests share one, decided by `routing.cutting`, written as one move."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from proxy.batching.desk import Account, Desk, account_of, enqueued_tokens
from proxy.batching.waitlist import Waitlist
from proxy.domain.attempt import Attempt, AttemptKind
from proxy.domain.batch import Batch, BatchState
from proxy.domain.events import BatchCut
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import CutReason
from proxy.domain.moves import BatchPlanned
from proxy.domain.request import Queue, QueueDepth, Waiting
from proxy.domain.tier import Tier
from proxy.routing import cutting, planner

Outlooks = Callable[[UpstreamName, str, float], planner.Outlook]


async def cut_due_queues(desk: Desk, waitlist: Waitlist, now: float, outlook: Outlooks) -> float:
    """Cut every queue that is due; `waitlist` is fresh. Returns when to look again, infinity when nothing waits."""
    look_again_at = math.inf
    reserved: Counter[Account] | None = None
    for queue in waitlist.queues():
        if not desk.keeps(queue.lane):
            continue
        if not desk.sells_batches(queue.upstream, now):
            look_again_at = min(look_again_at, desk.rung_lost_until(queue.upstream))
            continue
        if reserved is None:
            reserved = enqueued_tokens(await desk.store.open_batches())
        needs_seconds = planner.time_for_batch(outlook(queue.upstream, queue.model, now), now)
        pending = waitlist.ready(queue, now, tries_max=desk.settings.tries_max, deadline_after=now + needs_seconds)
        cut_at = await _cut_queue(desk, queue, pending, now, needs_seconds, reserved)
        look_again_at = min(look_again_at, cut_at)
    return look_again_at


async def _cut_queue(
    desk: Desk, queue: Queue, pending: list[Waiting], now: float, needs_seconds: float, reserved: Counter[Account]
) -> float:
    """Cut the groups of a queue that are due. Requests that a batch would not help wait for their escalation, and
    batches that the provider has no room for wait until others have ended: the tightest goes first.
    """
    settings, budget = _settings_for(desk, queue, now), desk.budget(queue)
    look_again_at = math.inf
    for group in cutting.groups(pending, now=now, settings=settings):
        depth = group.depth(queue)
        reason = group.full_of or cutting.reason_to_cut(depth, now=now, settings=settings, needs_seconds=needs_seconds)
        if reason is None:
            next_at = cutting.next_cut_at(depth, now=now, settings=settings, needs_seconds=needs_seconds)
            look_again_at = min(look_again_at, next_at)
        elif not budget.fits(depth.estimated_tokens, reserved[account_of(queue)]) or (
            desk.creations_within_hour(queue.upstream, now) >= settings.creations_per_hour
        ):
            return now + desk.settings.look_seconds
        else:
            reserved[account_of(queue)] += depth.estimated_tokens
            await _cut(desk, depth, group.items, reason, now)
    return look_again_at


async def _cut(desk: Desk, depth: QueueDepth, items: tuple[Waiting, ...], reason: CutReason, now: float) -> None:
    """Plan one batch. One of whose requests something else has happened in the meantime is cut at the next look."""
    batch = _plan(desk, depth, now)
    attempts = tuple(
        Attempt(desk.ids.attempt(now), item.id, AttemptKind.LINE, Tier.BATCH, batch.id, now) for item in items
    )
    if not await desk.move(BatchPlanned(batch, attempts)):
        return
    desk.note_creation(depth.queue.upstream, now)
    desk.announce(
        BatchCut(batch.id, depth.queue.upstream, depth.queue.model, reason, batch.lines, batch.body_bytes, now)
    )


def _plan(desk: Desk, depth: QueueDepth, now: float) -> Batch:
    return Batch(
        id=desk.ids.batch(now),
        queue=depth.queue,
        state=BatchState.PLANNED,
        lines=depth.requests,
        body_bytes=depth.body_bytes,
        estimated_tokens=depth.estimated_tokens,
        created_at=now,
        deadline_at=depth.earliest_deadline_at,
        due_at=now,
    )


def _settings_for(desk: Desk, queue: Queue, now: float) -> cutting.Settings:
    """The configured settings within what the upstream takes at this moment."""
    settings = cutting.thrifty(desk.settings.cut, creations=desk.creations_within_hour(queue.upstream, now))
    sold = desk.upstream(queue).capabilities
    tokens = [most for most in (settings.tokens_max, desk.budget(queue).batch_max) if most is not None]
    return replace(
        settings,
        lines_max=min(settings.lines_max, sold.lines_max),
        bytes_max=min(settings.bytes_max, sold.bytes_max),
        tokens_max=min(tokens, default=None),
    )

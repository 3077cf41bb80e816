"""Moving deferred requests to the synchronous tier in time: who must go now, which batches to cancel first, and the
calls themselves.

The rule is `routing.escalation`'s: backward from the deadlines, earliest first, under the rate that the upstream's
limits leave. Where most of a batch must move it is cancelled early enough to collect what it has finished; where only
a few must, they are bought blind while their lines run on.
"""

import math
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.batching.desk import Desk
from proxy.batching.settle import Delivery, Owed, lost_row, settle
from proxy.batching.waitlist import Waitlist
from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind
from proxy.domain.batch import Batch, BatchState
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.events import (
    EscalationReason,
    OutcomeLabel,
    RateLimited,
    RequestEscalated,
    RequestFinished,
    WasteBooked,
)
from proxy.domain.ids import AttemptId, UpstreamName
from proxy.domain.moves import (
    AttemptLost,
    AttemptRefused,
    AttemptSent,
    AttemptWithdrawn,
    BatchAbandoned,
    CallPlanned,
    CancelRequested,
    Conflict,
    RequestExpired,
)
from proxy.domain.request import Stage, Waiting
from proxy.domain.tier import Tier
from proxy.routing import escalation, polling
from proxy.upstream.interface import Call
from proxy.wire.errors import error_body

CROWD = 50
"""So many waiting requests depend on a rate limit that should be known."""
TOO_MANY_REQUESTS = 429
RETRIED_STATUSES = frozenset({408, 409, 425, TOO_MANY_REQUESTS})
GATEWAY_TIMEOUT = 504


@dataclass(frozen=True, slots=True)
class Due:
    """A request to buy synchronously now."""

    waiting: Waiting
    reason: EscalationReason


@dataclass(slots=True)
class Look:
    """What one look at an upstream's waiting requests says.

    `first_move_at` is when the first request of each model has to move if no batch answers it before. `due` are to be
    bought synchronously as soon as the rate limit lets them: earliest deadline first, and last those that will be late.
    """

    look_again_at: float
    first_move_at: dict[str, float] = field(default_factory=dict)
    due: list[Due] = field(default_factory=list)
    cancels: list[Batch] = field(default_factory=list)
    abandons: list[Batch] = field(default_factory=list)
    expired: list[Waiting] = field(default_factory=list)


def look(desk: Desk, upstream: UpstreamName, waitlist: Waitlist, batches: Sequence[Batch], now: float) -> Look:
    """Who must move now. `waitlist` is fresh, `batches` are the upstream's that no step is under way for."""
    settings = desk.settings.escalate
    found = Look(math.inf)
    for model, everybody in waitlist.groups(upstream):
        found.look_again_at = min(found.look_again_at, now + desk.settings.look_seconds)
        idle = [waiting for waiting in everybody if not waiting.calling]
        over = bisect_right(idle, now - settings.overtime_seconds, key=lambda waiting: waiting.deadline_at)
        found.expired += idle[:over]
        if idle[over:]:
            _look_at_model(desk, upstream, model, idle[over:], batches, now, found)
    return found


def _look_at_model(
    desk: Desk,
    upstream: UpstreamName,
    model: str,
    group: list[Waiting],
    batches: Sequence[Batch],
    now: float,
    found: Look,
) -> None:
    settings = desk.settings.escalate
    mean_tokens = sum(waiting.estimated_tokens for waiting in group) / len(group)
    limits = desk.limits.of(upstream, model, now).actual
    rate = limits.available_rate_per_second(tokens_per_call=mean_tokens)
    deadlines = [waiting.deadline_at for waiting in group]
    lost = escalation.count_lost(deadlines, now=now, settings=settings)
    times = [now] * lost + escalation.move_times(deadlines[lost:], settings=settings, rate_per_second=rate)
    needed = bisect_right(times, now)
    found.first_move_at[model] = times[0]
    due = [Due(w, EscalationReason.DEADLINE) for w in group[lost:needed]]
    due += [Due(w, EscalationReason.WORN) for w in group[needed:] if _is_worn(desk, w)]
    due += [Due(w, EscalationReason.DEADLINE) for w in group[:lost]]
    if not due and _needs_scout(desk, upstream, model, group, rate):
        due = [Due(group[0], EscalationReason.SCOUT)]
    found.due += due
    found.abandons += _still_planned(batches, [item.waiting for item in due])
    found.cancels += _to_cancel(desk, group, times, batches, now)
    next_move_at = times[needed] if needed < len(times) else math.inf
    found.look_again_at = min(found.look_again_at, max(next_move_at, now + desk.settings.tick_seconds))


def _needs_scout(desk: Desk, upstream: UpstreamName, model: str, group: Sequence[Waiting], rate: float) -> bool:
    """Whether to send one call ahead, once, whose answer says what the rate limit is. To learn it from the first
    escalation would be too late for a crowd.
    """
    if math.isfinite(rate) or len(group) < CROWD or (upstream, model) in desk.memory.scouted:
        return False
    desk.memory.scouted.add((upstream, model))
    return True


def _is_worn(desk: Desk, waiting: Waiting) -> bool:
    return waiting.stage is Stage.QUEUED and waiting.tries >= desk.settings.tries_max


def take_calls(desk: Desk, due: deque[Due], now: float, free_calls: int) -> tuple[list[Due], float]:
    """The due calls that may start now under the rate limit, taken off the list; and when the next may.

    A call that waits for its backoff goes to the end of the line; the limit of one model does not stop another's.
    """
    calls: list[Due] = []
    put_back: list[Due] = []
    next_at = math.inf
    while due and len(calls) < free_calls:
        item = due.popleft()
        waiting = item.waiting
        limits = desk.limits.of(waiting.queue.upstream, waiting.queue.model, now).actual
        ready_at = max(waiting.ready_at, limits.ready_at(waiting.estimated_tokens, now))
        if ready_at > now:
            next_at = min(next_at, ready_at)
            put_back.append(item)
            continue
        limits.spend(waiting.estimated_tokens, now)
        calls.append(item)
    due.extendleft(reversed(put_back))
    return calls, next_at


def _still_planned(batches: Sequence[Batch], due: Sequence[Waiting]) -> list[Batch]:
    """Batches that hold a due request and have not begun to upload: taking them back costs nothing."""
    wanted = {waiting.batch_id for waiting in due}
    return [batch for batch in batches if batch.id in wanted and batch.state is BatchState.PLANNED]


def _to_cancel(
    desk: Desk, group: Sequence[Waiting], times: Sequence[float], batches: Sequence[Batch], now: float
) -> list[Batch]:
    """Running batches that are better cancelled: ahead of time, or because their lines are being bought already.

    `times` are the instants at which the requests of the group have to move.
    """
    settings = desk.settings.escalate
    of_batch: dict[str, list[float]] = defaultdict(list)
    for waiting, at in zip(group, times, strict=True):
        if waiting.batch_id is not None:
            of_batch[waiting.batch_id].append(at)
    running = (b for b in batches if b.state is BatchState.IN_FLIGHT and b.cancel_requested_at is None)
    return [
        batch
        for batch in running
        if (lines := of_batch.get(batch.id))
        and (
            escalation.stop_pays(bisect_right(lines, now), len(lines), settings=settings)
            or escalation.cancel_pays(_prospects(desk, batch, lines, now), now=now, settings=settings)
        )
    ]


def _prospects(desk: Desk, batch: Batch, lines: Sequence[float], now: float) -> escalation.Prospects:
    queue = batch.queue
    times = desk.latencies.of(queue.upstream, queue.model)
    age_seconds = now - (batch.submitted_at or now)
    done_share = (batch.completed_lines + batch.failed_lines) / max(1, batch.lines)

    def chance_kept(within_seconds: float) -> float:
        return times.chance_given(within_seconds, age_seconds=age_seconds, done_share=done_share, now=now)

    return escalation.Prospects(
        move_times=lines,
        done_share=done_share,
        age_seconds=age_seconds,
        price_share=desk.prices.batch_share(queue.model),
        chance_kept=chance_kept,
        chance_anew=lambda within_seconds: times.chance(within_seconds, now),
    )


async def cancel(desk: Desk, batch: Batch) -> None:
    """Ask the provider to stop a batch, so that what it has finished can be harvested before anything is bought."""
    if batch.provider_id is None:
        raise AssertionError(f"{batch.id} is in flight without a provider's id")
    now = desk.clock.now()
    soon = polling.next_poll_at(
        submitted_at=now,
        now=now,
        deadline_at=batch.deadline_at,
        settings=desk.settings.poll,
        provider_status="cancelling",
        jitter=0.0,
    )
    await desk.move(CancelRequested(batch.id, now, due_at=soon))
    await desk.seller(batch.queue).cancel(await desk.auth(batch.queue), batch.provider_id)


async def abandon(desk: Desk, batch: Batch) -> None:
    """Take back a batch that has not begun to upload."""
    now = desk.clock.now()
    await desk.move(BatchAbandoned(batch.id, now, ready_at=now, tries_spent=0))


async def expire(desk: Desk, waiting: Waiting) -> None:
    """The deadline and the overtime are over: tell the client why there is no answer."""
    now = desk.clock.now()
    refusal = desk.memory.last_refusal.get(waiting.id, "no tier of the upstream gave one")
    message = f"No answer by the deadline and {desk.settings.escalate.overtime_seconds:g} s beyond it: {refusal}"
    body = error_body(status=GATEWAY_TIMEOUT, message=message, code="deadline_exceeded")
    headers = (("Content-Type", "application/json"), ("x-should-retry", "false"))
    answer = Answer(GATEWAY_TIMEOUT, headers, body, Tier.STANDARD)
    if not await desk.move(RequestExpired(waiting.id, now, answer)):
        return
    desk.forget_request(waiting.id)
    desk.announce(
        RequestFinished(
            request_id=waiting.id,
            tenant=waiting.tenant,
            upstream=waiting.queue.upstream,
            model=waiting.queue.model,
            endpoint=waiting.queue.endpoint,
            policy=waiting.policy,
            tier=None,
            outcome=OutcomeLabel.EXPIRED,
            status=GATEWAY_TIMEOUT,
            accepted_at=waiting.accepted_at,
            deadline_at=waiting.deadline_at,
            at=now,
            batch_id=None,
            row=None,
        )
    )


async def call(desk: Desk, due: Due) -> None:
    """Buy one answer synchronously. The intent is on disk before the call."""
    waiting = due.waiting
    now = desk.clock.now()
    attempt = Attempt(desk.ids.attempt(now), waiting.id, AttemptKind.CALL, Tier.STANDARD, None, now)
    planned, _ = await desk.store.apply([CallPlanned(attempt), AttemptSent(attempt.id, now)])
    if isinstance(planned, Conflict):
        return
    desk.announce(
        RequestEscalated(
            request_id=waiting.id,
            upstream=waiting.queue.upstream,
            model=waiting.queue.model,
            reason=due.reason,
            blind=waiting.batch_id is not None,
            slack_seconds=waiting.deadline_at - now,
            at=now,
        )
    )
    body = await desk.store.body(waiting.id)
    if body is None:
        await desk.move(AttemptWithdrawn(attempt.id, now))
        return
    upstream = desk.upstream(waiting.queue)
    try:
        bought = await upstream.call(await desk.auth(waiting.queue), waiting.queue.endpoint, body, attempt.tier)
    except UpstreamFault as fault:
        await _call_failed(desk, waiting, attempt.id, fault)
        return
    await _call_answered(desk, waiting, attempt.id, bought)


async def _call_answered(desk: Desk, waiting: Waiting, attempt_id: AttemptId, bought: Call) -> None:
    now = desk.clock.now()
    status = bought.answer.status
    limits = desk.limits.of(waiting.queue.upstream, waiting.queue.model, now).actual
    limits.observe(bought.rate, now)
    if status in RETRIED_STATUSES or status >= 500:  # noqa: PLR2004  HTTP's border
        if status == TOO_MANY_REQUESTS:
            kind = limits.refused(bought.rate, waiting.estimated_tokens, now)
            desk.announce(RateLimited(waiting.queue.upstream, waiting.queue.model, kind, now))
        refusal = f"upstream answered {status}"
        await _refuse(desk, waiting, attempt_id, refusal, bought.rate.retry_after_seconds or 0.0)
        return
    await settle(desk, [Delivery(_owed(waiting), attempt_id, None, bought.answer)], now)


async def _call_failed(desk: Desk, waiting: Waiting, attempt_id: AttemptId, fault: UpstreamFault) -> None:
    if fault.retry is not Retry.UNKNOWN_IF_BILLED:
        await _refuse(desk, waiting, attempt_id, fault.message, fault.after_seconds or 0.0)
        return
    now = desk.clock.now()
    row = lost_row(_owed(waiting), attempt_id, Tier.STANDARD, now)
    ready_at = now + _note_failure(desk, waiting, fault.message)
    if await desk.move(AttemptLost(attempt_id, now, ready_at, row)):
        desk.announce(WasteBooked(row))


async def _refuse(desk: Desk, waiting: Waiting, attempt_id: AttemptId, refusal: str, after_seconds: float) -> None:
    now = desk.clock.now()
    wait_seconds = max(_note_failure(desk, waiting, refusal), after_seconds)
    await desk.move(AttemptRefused(attempt_id, now, ready_at=now + wait_seconds, tries_spent=0))


def _note_failure(desk: Desk, waiting: Waiting, refusal: str) -> float:
    """Remember what upstream said; returns how long to wait before the next call."""
    failures = desk.memory.call_failures.get(waiting.id, 0)
    desk.memory.call_failures[waiting.id] = failures + 1
    desk.memory.last_refusal[waiting.id] = refusal
    return desk.backoff_seconds(failures)


def _owed(waiting: Waiting) -> Owed:
    return Owed(waiting.id, waiting.tenant, waiting.queue, waiting.policy, waiting.accepted_at, waiting.deadline_at)

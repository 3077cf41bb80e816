"""Moving deferred requests to the synchronous tiers in time: who must go now, and which batches to cancel first.

The rule is `routing.escalation`'s: backward from the deadlines, earliest first, under the rate that the upstream's
limits leave. Where most of a batch must move it is cancelled early enough to collect what it has finished; where only
a few must, they are bought blind while their lines run on. Shortly before its time, what may be bought at flex is
tried there.
"""

import math
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import itemgetter

from proxy.batching.desk import Desk
from proxy.batching.waitlist import Waitlist
from proxy.domain.batch import Batch, BatchState
from proxy.domain.decision import CONFIDENCE_DEFAULT, OnMiss
from proxy.domain.ids import BatchId, UpstreamName
from proxy.domain.labels import EscalationReason
from proxy.domain.moves import BatchAbandoned, CancelRequested
from proxy.domain.request import Lane, Stage, Waiting
from proxy.domain.tier import ONLY_STANDARD, Tier
from proxy.routing import escalation, flex, polling
from proxy.routing.ratelimit import Pace

CROWD = 50
"""So many waiting requests depend on a rate limit that should be known."""
SPARE_CALLS = 4
"""How many calls at once an upstream of unknown capacity is trusted to serve."""
IDLE_LOOK_SECONDS = 1.0
"""How soon it is looked again whether an upstream has calls to spare."""
IDLE_DUE_MAX = 200
"""How many of the requests that wait for idle capacity are told of at once."""


@dataclass(frozen=True, slots=True)
class Due:
    """A request to buy synchronously now.

    `reason` is None for one that has come to be bought at this tier: that is no escalation. `until` is when the call
    has to be over, so that there is time for another. `when_idle`: only while the upstream has calls to spare.
    """

    waiting: Waiting
    reason: EscalationReason | None
    tier: Tier = Tier.STANDARD
    until: float = math.inf
    when_idle: bool = False


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


def look(
    desk: Desk,
    upstream: UpstreamName,
    waitlist: Waitlist,
    batches: Sequence[Batch],
    now: float,
    unheard: Collection[BatchId] = (),
) -> Look:
    """Who must move now. `waitlist` is fresh, `batches` are the upstream's that no step is under way for; the lines of
    `unheard` ones stay where they are.
    """
    found = Look(math.inf)
    for model, moving, resting in waitlist.groups(upstream):
        if not desk.keeps(Lane(upstream, model)):
            continue
        soon_seconds = desk.settings.tick_seconds if unheard else desk.settings.look_seconds
        found.look_again_at = min(found.look_again_at, now + soon_seconds)
        idle = [
            waiting for waiting in _heard(moving, unheard) if not waiting.calling or waiting.id in desk.memory.at_flex
        ]
        over = bisect_right(idle, now, key=lambda waiting: gives_up_at(desk, waiting))
        found.expired += idle[:over]
        quiet = [waiting for waiting in _heard(resting, unheard) if not waiting.calling]
        found.expired += (waiting for waiting in quiet if gives_up_at(desk, waiting) <= now)
        quiet = [waiting for waiting in quiet if gives_up_at(desk, waiting) > now]
        if idle[over:] or quiet:
            _look_at_model(desk, upstream, model, idle[over:], batches, now, found, resting=quiet)
    return found


def _heard(group: Sequence[Waiting], unheard: Collection[BatchId]) -> Sequence[Waiting]:
    return [waiting for waiting in group if waiting.batch_id not in unheard] if unheard else group


def gives_up_at(desk: Desk, waiting: Waiting) -> float:
    """When a request that has no answer ends without one."""
    settings = desk.settings.escalate
    match waiting.on_miss:
        case OnMiss.ESCALATE:
            return waiting.deadline_at + settings.overtime_seconds
        case OnMiss.WAIT:
            return waiting.deadline_at + settings.wait_max_seconds
        case OnMiss.FAIL:
            return waiting.deadline_at


def _look_at_model(
    desk: Desk,
    upstream: UpstreamName,
    model: str,
    moving: list[Waiting],
    batches: Sequence[Batch],
    now: float,
    found: Look,
    *,
    resting: list[Waiting],
) -> None:
    """`moving` are bought synchronously in time; `resting` only when batches have failed them too often."""
    group, deadlines, settings = _in_order_of_moving(desk, upstream, model, moving)
    tokens = [waiting.estimated_tokens for waiting in group]
    pace = desk.limits.of(upstream, model, now).actual.pace(now)
    lost = escalation.count_lost(deadlines, now=now, settings=settings)
    times = [now] * lost + escalation.move_times(deadlines[lost:], settings=settings, pace=pace, tokens=tokens[lost:])
    needed = bisect_right(times, now)
    if times:
        found.first_move_at[model] = times[0]
    due = [Due(w, EscalationReason.DEADLINE) for w in group[lost:needed]]
    due += [Due(w, EscalationReason.WORN) for w in (*group[needed:], *resting) if _is_worn(desk, w)]
    due += [Due(w, EscalationReason.DEADLINE) for w in group[:lost]]
    due += _for_flex(desk, upstream, model, group[needed:], times[needed:], now)
    due += _when_idle(group[needed:])
    if not due and _needs_scout(desk, upstream, model, group, pace):
        due = [Due(group[0], EscalationReason.SCOUT)]
    found.due += (item for item in due if item.waiting.id not in desk.memory.at_flex)
    found.abandons += _still_planned(batches, [item.waiting for item in due])
    ends = [gives_up_at(desk, waiting) for waiting in resting]
    found.cancels += _to_cancel(desk, [*group, *resting], [*times, *ends], batches, now)
    next_move_at = min([*times[needed : needed + 1], *ends], default=math.inf)
    found.look_again_at = min(found.look_again_at, max(next_move_at, now + desk.settings.tick_seconds))


def _in_order_of_moving(
    desk: Desk, upstream: UpstreamName, model: str, moving: list[Waiting]
) -> tuple[list[Waiting], list[float], escalation.Settings]:
    """The requests in the order in which they have to move, the deadlines that are reckoned with, and the settings.

    A call is reckoned with as slow as a request's confidence wants it: where they differ, the deadlines of those that
    want more are brought forward by the difference.
    """
    confidences = {waiting.confidence for waiting in moving} or {CONFIDENCE_DEFAULT}
    service = {confidence: desk.service_seconds(upstream, model, confidence) for confidence in confidences}
    least = min(service.values())
    settings = replace(desk.settings.escalate, service_seconds=least)
    if max(service.values()) == least:
        return moving, [waiting.deadline_at for waiting in moving], settings
    reckoned = sorted(
        ((waiting.deadline_at - (service[waiting.confidence] - least), waiting) for waiting in moving),
        key=itemgetter(0),
    )
    return [waiting for _, waiting in reckoned], [deadline_at for deadline_at, _ in reckoned], settings


def _for_flex(
    desk: Desk, upstream: UpstreamName, model: str, group: Sequence[Waiting], times: Sequence[float], now: float
) -> list[Due]:
    """Who to try at flex now, of those that need not move to the standard tier yet."""
    may_ask = now >= desk.flex_capacity(upstream, model).asked_again_at
    if not may_ask or not desk.upstreams[upstream].capabilities.flex:
        return []
    settings = desk.flex(upstream, model)
    return [
        Due(waiting, EscalationReason.DEADLINE if waits_for_batch else None, Tier.FLEX, move_at)
        for waiting, move_at in zip(group, times, strict=True)
        if Tier.FLEX in waiting.tiers
        and not _is_worn(desk, waiting)
        and flex.may_begin(
            move_at=move_at,
            waits_for_batch=(waits_for_batch := Tier.BATCH in waiting.tiers),
            now=now,
            settings=settings,
        )
    ]


def _when_idle(group: Sequence[Waiting]) -> list[Due]:
    """Who waits for nothing but a call, the earliest deadlines first."""
    only_standard = (waiting for waiting in group if waiting.tiers == ONLY_STANDARD)
    return [Due(waiting, None, when_idle=True) for waiting in islice(only_standard, IDLE_DUE_MAX)]


def _needs_scout(desk: Desk, upstream: UpstreamName, model: str, group: Sequence[Waiting], pace: Pace) -> bool:
    """Whether to send one call ahead, once, whose answer says what the rate limit is. To learn it from the first
    escalation would be too late for a crowd.
    """
    if pace.is_limited or len(group) < CROWD or (upstream, model) in desk.memory.scouted:
        return False
    desk.memory.scouted.add((upstream, model))
    return True


def _is_worn(desk: Desk, waiting: Waiting) -> bool:
    return waiting.stage is Stage.QUEUED and waiting.tries >= desk.settings.tries_max


def take_calls(desk: Desk, due: deque[Due], now: float, free_calls: int) -> tuple[list[Due], float]:
    """The due calls that may start now under the rate limit, taken off the list; and when the next may.

    A call that waits for its backoff keeps its place; the limit of one model does not stop another's. Calls at flex are
    slow: they never take all the places.
    """
    free_at_flex = desk.settings.calls_max * desk.settings.flex.calls_share - len(desk.memory.at_flex)
    spare: dict[UpstreamName, int] = {}
    calls: list[Due] = []
    put_back: list[Due] = []
    next_at = math.inf
    while due and len(calls) < free_calls:
        item = due.popleft()
        waiting = item.waiting
        if not desk.keeps(waiting.queue.lane):
            continue
        if item.tier is Tier.FLEX:
            if free_at_flex < 1 or item.until - now < desk.settings.flex.least_seconds:
                continue
            free_at_flex -= 1
        if item.when_idle:
            left = spare.setdefault(waiting.queue.upstream, _spare_calls(desk, waiting.queue.upstream))
            if left < 1:
                next_at = min(next_at, now + IDLE_LOOK_SECONDS)
                put_back.append(item)
                continue
            spare[waiting.queue.upstream] -= 1
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


def _spare_calls(desk: Desk, upstream: UpstreamName) -> int:
    """How many calls more the upstream serves without slowing others: urgent ones are counted as they come."""
    return (desk.upstreams[upstream].capabilities.capacity or SPARE_CALLS) - desk.limits.under_way(upstream)


def _still_planned(batches: Sequence[Batch], due: Sequence[Waiting]) -> list[Batch]:
    """Batches that hold a due request and have not begun to upload: taking them back costs nothing."""
    wanted = {waiting.batch_id for waiting in due}
    return [batch for batch in batches if batch.id in wanted and batch.state is BatchState.PLANNED]


def _to_cancel(
    desk: Desk, group: Sequence[Waiting], times: Sequence[float], batches: Sequence[Batch], now: float
) -> list[Batch]:
    """Running batches that are better cancelled: ahead of time, or because their lines are being bought already.

    `times` are the instants at which the requests of the group have to move, or end without an answer.
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
        if (lines := sorted(of_batch.get(batch.id, ())))
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

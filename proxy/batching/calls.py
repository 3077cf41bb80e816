"""Buying a deferred request synchronously, and what is done when that fails: refusals wait, lost calls are booked."""

import asyncio
import math

from proxy.batching.desk import Desk
from proxy.batching.escalate import Due, gives_up_at
from proxy.batching.settle import Delivery, expired_row, lost_row, owed_to, settle
from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind
from proxy.domain.decision import OnMiss
from proxy.domain.errors import Retry, StoreFault, UpstreamFault
from proxy.domain.events import RateLimited, RequestEscalated, RequestFinished, StepFailed, UpstreamFailed, WasteBooked
from proxy.domain.failure import failure_of
from proxy.domain.ids import AttemptId, RequestId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.moves import (
    AttemptLost,
    AttemptRefused,
    AttemptSent,
    AttemptWithdrawn,
    CallPlanned,
    Conflict,
    RequestExpired,
)
from proxy.domain.request import Waiting
from proxy.domain.tier import Tier
from proxy.upstream.interface import Call
from proxy.wire.errors import error_body, error_code

TOO_MANY_REQUESTS = 429
RETRIED_STATUSES = frozenset({408, 409, 425, TOO_MANY_REQUESTS})
GATEWAY_TIMEOUT = 504
SERVER_ERROR = 500
BAD_REQUEST = 400
NO_CAPACITY = "resource_unavailable"
"""OpenAI's word for a call at flex that found no capacity."""


async def call(desk: Desk, due: Due) -> None:
    """Buy one answer synchronously. The intent is on disk before the call."""
    now = desk.clock.now()
    attempt = Attempt(desk.ids.attempt(now), due.waiting.id, AttemptKind.CALL, due.tier, None, now)
    at_flex = desk.memory.at_flex if due.tier is Tier.FLEX else set[RequestId]()
    at_flex.add(due.waiting.id)
    desk.memory.calling.add(attempt.id)
    try:
        with desk.limits.calling(due.waiting.queue.upstream):
            await _buy(desk, due, attempt, now)
    finally:
        at_flex.discard(due.waiting.id)
        desk.memory.calling.discard(attempt.id)


async def _buy(desk: Desk, due: Due, attempt: Attempt, now: float) -> None:
    waiting = due.waiting
    planned, _ = await desk.store.apply([CallPlanned(attempt), AttemptSent(attempt.id, now)])
    if isinstance(planned, Conflict):
        return
    if due.reason is not None:
        desk.announce(
            RequestEscalated(
                request_id=waiting.id,
                upstream=waiting.queue.upstream,
                model=waiting.queue.model,
                tier=due.tier,
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
    within_seconds = None if math.isinf(due.until) else max(0.0, due.until - now)
    try:
        async with asyncio.timeout(within_seconds):
            auth = await desk.auth(waiting.queue)
            bought = await upstream.call(auth, waiting.queue.endpoint, body, attempt.tier)
    except UpstreamFault as fault:
        await _call_failed(desk, waiting, attempt, fault)
    except TimeoutError:
        seconds = desk.clock.now() - now
        desk.call_times.observe(waiting.queue.upstream, waiting.queue.model, seconds, attempt.tier, ended=False)
        slow = UpstreamFault("no answer at flex in time", retry=Retry.UNKNOWN_IF_BILLED)
        await _call_failed(desk, waiting, attempt, slow)
    else:
        await _call_answered(desk, waiting, attempt, bought)


async def _call_answered(desk: Desk, waiting: Waiting, attempt: Attempt, bought: Call) -> None:
    now = desk.clock.now()
    status = bought.answer.status
    queue = waiting.queue
    limits = desk.limits.of(queue.upstream, queue.model, now).actual
    limits.observe(bought.rate, now)
    if attempt.tier is Tier.FLEX and _is_no_flex(bought):
        await _no_flex(desk, waiting, attempt.id, status)
        return
    if status in RETRIED_STATUSES or status >= SERVER_ERROR:
        if status == TOO_MANY_REQUESTS:
            kind = limits.refused(bought.rate, waiting.estimated_tokens, now)
            desk.announce(RateLimited(queue.upstream, queue.model, kind, now))
        elif status >= SERVER_ERROR:
            desk.announce(UpstreamFailed(queue.upstream, queue.model, failure_of(status), now))
        refusal = f"upstream answered {status}"
        await _refuse(desk, waiting, attempt.id, refusal, bought.rate.retry_after_seconds or 0.0)
        return
    if attempt.tier is Tier.FLEX:
        desk.flex_capacity(queue.upstream, queue.model).served()
    desk.call_times.observe(queue.upstream, queue.model, now - attempt.created_at, attempt.tier)
    await _settle_for_certain(desk, Delivery(owed_to(waiting), attempt.id, None, bought.answer))


async def _settle_for_certain(desk: Desk, delivery: Delivery) -> None:
    """An answer that was paid for is nowhere but here: it is offered to the store until the store takes it."""
    failures = 0
    while True:
        now = desk.clock.now()
        try:
            await settle(desk, [delivery], now)
        except StoreFault as fault:
            retry_at = now + desk.backoff_seconds(failures)
            failures += 1
            desk.announce(StepFailed("settle", delivery.owed.queue.upstream, None, str(fault), retry_at, now))
            await desk.clock.sleep_until(retry_at)
        else:
            return


def _is_no_flex(bought: Call) -> bool:
    """Whether this is the flex tier's own refusal: it says nothing about the rate limit, and a fault of the request
    shows at the standard tier as well.
    """
    status = bought.answer.status
    if status == TOO_MANY_REQUESTS:
        return error_code(bought.answer.body) == NO_CAPACITY
    return BAD_REQUEST <= status < SERVER_ERROR and status not in RETRIED_STATUSES


async def _no_flex(desk: Desk, waiting: Waiting, attempt_id: AttemptId, status: int) -> None:
    """Ask again later, at the standard tier when the time has come: the pause is the tier's, not the request's."""
    now = desk.clock.now()
    capacity = desk.flex_capacity(waiting.queue.upstream, waiting.queue.model)
    if status == TOO_MANY_REQUESTS:
        capacity.refused(now)
    else:
        capacity.not_sold(now, for_seconds=desk.settings.rung_retry_seconds)
    desk.memory.last_refusal[waiting.id] = f"upstream answered {status} to a call at flex"
    await desk.move(AttemptRefused(attempt_id, now, ready_at=now, tries_spent=0))


async def _call_failed(desk: Desk, waiting: Waiting, attempt: Attempt, fault: UpstreamFault) -> None:
    queue = waiting.queue
    desk.announce(UpstreamFailed(queue.upstream, queue.model, failure_of(fault.status), desk.clock.now()))
    if fault.retry is not Retry.UNKNOWN_IF_BILLED:
        await _refuse(desk, waiting, attempt.id, fault.message, fault.after_seconds or 0.0)
        return
    now = desk.clock.now()
    row = lost_row(owed_to(waiting), attempt.id, attempt.tier, now)
    ready_at = now + _note_failure(desk, waiting, fault.message)
    if await desk.move(AttemptLost(attempt.id, now, ready_at, row)):
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


async def expire(desk: Desk, waiting: Waiting) -> None:
    """The request's time is over: tell the client why there is no answer."""
    now = desk.clock.now()
    refusal = desk.memory.last_refusal.get(waiting.id, _silence(waiting))
    beyond_seconds = gives_up_at(desk, waiting) - waiting.deadline_at
    beyond = f" and {beyond_seconds:g} s beyond it" if beyond_seconds else ""
    message = f"No answer by the deadline{beyond}: {refusal}"
    body = error_body(status=GATEWAY_TIMEOUT, message=message, code="deadline_exceeded")
    headers = (("Content-Type", "application/json"), ("x-should-retry", "false"))
    answer = Answer(GATEWAY_TIMEOUT, headers, body, Tier.STANDARD)
    if not await desk.move(RequestExpired(waiting.id, now, answer, expired_row(owed_to(waiting), answer, now))):
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


def _silence(waiting: Waiting) -> str:
    """Why there is no answer, where upstream has refused none."""
    if waiting.on_miss is OnMiss.ESCALATE:
        return "no tier of the upstream gave one"
    return f"no batch gave one, and the policy {waiting.policy!r} buys none synchronously (on_miss: {waiting.on_miss})"

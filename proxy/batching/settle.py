"""An answer came: give it to its request with its ledger row, or book it as waste when the request has one already."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from proxy.batching.desk import Desk
from proxy.domain.answer import Answer
from proxy.domain.decision import Reason
from proxy.domain.events import RequestFinished, WasteBooked
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.moves import AttemptAnswered, AttemptSuperseded, Conflict, Move
from proxy.domain.request import Queue, Waiting
from proxy.domain.tier import Tier
from proxy.routing.savings import ledger_row
from proxy.wire.usage import read_usage


@dataclass(frozen=True, slots=True)
class Owed:
    """The facts of a request that its events and its ledger rows carry."""

    request_id: RequestId
    tenant: TenantId
    queue: Queue
    policy: str
    accepted_at: float
    deadline_at: float
    reason: Reason


def owed_to(waiting: Waiting) -> Owed:
    """What is owed for a request that waits."""
    return Owed(
        waiting.id,
        waiting.tenant,
        waiting.queue,
        waiting.policy,
        waiting.accepted_at,
        waiting.deadline_at,
        waiting.reason,
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One purchase that brought an answer."""

    owed: Owed
    attempt_id: AttemptId
    batch_id: BatchId | None
    answer: Answer


async def settle(desk: Desk, deliveries: Sequence[Delivery], now: float) -> int:
    """Hand over every answer; the late ones become waste. Returns how many were handed over."""
    answers = [
        AttemptAnswered(d.attempt_id, now, d.answer, purchase_row(desk, d, Purchase.PRIMARY, now)) for d in deliveries
    ]
    results = await desk.store.apply(answers) if answers else []
    late: list[Delivery] = []
    for delivery, move, result in zip(deliveries, answers, results, strict=True):
        if isinstance(result, Conflict):
            late.append(delivery)
            continue
        desk.forget_request(delivery.owed.request_id)
        desk.announce(_finished(delivery, move.ledger, now))
    await _supersede(desk, late, now)
    return len(deliveries) - len(late)


async def _supersede(desk: Desk, late: Sequence[Delivery], now: float) -> None:
    moves = [AttemptSuperseded(d.attempt_id, now, purchase_row(desk, d, Purchase.DUPLICATE, now)) for d in late]
    results = await desk.move_all(list[Move](moves))
    for move, result in zip(moves, results, strict=True):
        if not isinstance(result, Conflict):
            desk.announce(WasteBooked(move.ledger))


def purchase_row(desk: Desk, delivery: Delivery, kind: Purchase, now: float) -> LedgerRow:
    """The ledger row of an answer, priced by the tokens and the model that the answer itself names."""
    reading = read_usage(delivery.answer.body)
    owed = delivery.owed
    return ledger_row(
        desk.prices,
        id=delivery.attempt_id,
        request_id=owed.request_id,
        attempt_id=delivery.attempt_id,
        batch_id=delivery.batch_id,
        tenant=owed.tenant,
        upstream=owed.queue.upstream,
        endpoint=owed.queue.endpoint,
        model=owed.queue.model,
        priced_model=reading.model,
        policy=owed.policy,
        tier=delivery.answer.tier,
        kind=kind if delivery.answer.succeeded else Purchase.FAILED,
        status=delivery.answer.status,
        booked_at=now,
        usage=reading.usage,
        reason=owed.reason,
        deadline_at=owed.deadline_at if kind is Purchase.PRIMARY else None,
    )


def lost_row(
    owed: Owed, attempt_id: AttemptId, tier: Tier, now: float, *, batch_id: BatchId | None = None
) -> LedgerRow:
    """The ledger row of a purchase that brought nothing and may be billed: counted, never guessed."""
    return LedgerRow(
        id=attempt_id,
        request_id=owed.request_id,
        attempt_id=attempt_id,
        batch_id=batch_id,
        tenant=owed.tenant,
        upstream=owed.queue.upstream,
        endpoint=owed.queue.endpoint,
        model=owed.queue.model,
        policy=owed.policy,
        tier=tier,
        kind=Purchase.FAILED,
        status=0,
        booked_at=now,
        usage=None,
        paid_usd=None,
        list_usd=Decimal(0),
        reason=owed.reason,
    )


def expired_row(owed: Owed, answer: Answer, now: float) -> LedgerRow:
    """The ledger row of a request whose time ran out: nothing was bought, and its deadline was missed."""
    return LedgerRow(
        id=owed.request_id,
        request_id=owed.request_id,
        attempt_id=None,
        batch_id=None,
        tenant=owed.tenant,
        upstream=owed.queue.upstream,
        endpoint=owed.queue.endpoint,
        model=owed.queue.model,
        policy=owed.policy,
        tier=answer.tier,
        kind=Purchase.EXPIRED,
        status=answer.status,
        booked_at=now,
        usage=None,
        paid_usd=Decimal(0),
        list_usd=Decimal(0),
        reason=owed.reason,
        deadline_at=owed.deadline_at,
    )


def _finished(delivery: Delivery, row: LedgerRow, now: float) -> RequestFinished:
    owed, answer = delivery.owed, delivery.answer
    return RequestFinished(
        request_id=owed.request_id,
        tenant=owed.tenant,
        upstream=owed.queue.upstream,
        model=owed.queue.model,
        endpoint=owed.queue.endpoint,
        policy=owed.policy,
        tier=answer.tier,
        outcome=OutcomeLabel.OK if answer.succeeded else OutcomeLabel.ERROR,
        status=answer.status,
        accepted_at=owed.accepted_at,
        deadline_at=owed.deadline_at,
        at=now,
        batch_id=delivery.batch_id,
        row=row,
    )

"""Requests, batches and ledger rows for store tests, with everything that a test does not care about filled in."""

from dataclasses import replace
from decimal import Decimal
from itertools import count

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind
from proxy.domain.batch import Batch, BatchState
from proxy.domain.decision import Delivery, Reason
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.moves import BatchCreated, BatchPlanned, MoveResult, Uploaded, UploadStarted
from proxy.domain.request import Queue, Request
from proxy.domain.tier import Tier
from proxy.store.interface import Store

UPSTREAM = UpstreamName("openai")
QUEUE = Queue(UPSTREAM, CredentialId("cred"), "/v1/chat/completions", "gpt-4o-mini")
LANE = QUEUE.lane
ALICE, BOB = TenantId("alice"), TenantId("bob")
_numbers = count(1)


def request(
    name: str | None = None,
    *,
    tenant: TenantId = ALICE,
    queue: Queue = QUEUE,
    key: str | None = None,
    body: bytes = b'{"model":"gpt-4o-mini"}',
    fingerprint: bytes = b"f" * 32,
    accepted_at: float = 100.0,
    deadline_at: float = 10_000.0,
    tiers: frozenset[Tier] = frozenset({Tier.BATCH, Tier.STANDARD}),
    webhook: str | None = None,
    retention_seconds: float | None = None,
) -> Request:
    return Request(
        id=RequestId(name or f"req-{next(_numbers):06}"),
        tenant=tenant,
        queue=queue,
        body=body,
        fingerprint=fingerprint,
        idempotency_key=key,
        stream=False,
        include_usage=False,
        delivery=Delivery.HOLD,
        policy="default",
        reason=Reason.DEADLINE_ALLOWS,
        estimated_tokens=10,
        accepted_at=accepted_at,
        deadline_at=deadline_at,
        tiers=tiers,
        webhook=webhook,
        retention_seconds=retention_seconds,
    )


def batch(name: str | None = None, *, queue: Queue = QUEUE, lines: int = 1) -> Batch:
    return Batch(
        id=BatchId(name or f"bat-{next(_numbers):06}"),
        queue=queue,
        state=BatchState.PLANNED,
        lines=lines,
        body_bytes=100,
        estimated_tokens=10,
        created_at=110.0,
        deadline_at=10_000.0,
        due_at=110.0,
    )


def line_of(one: Request, in_batch: Batch) -> Attempt:
    return Attempt(AttemptId(f"att-{next(_numbers):06}"), one.id, AttemptKind.LINE, Tier.BATCH, in_batch.id, 110.0)


def call_for(one: Request) -> Attempt:
    return Attempt(AttemptId(f"att-{next(_numbers):06}"), one.id, AttemptKind.CALL, Tier.STANDARD, None, 120.0)


def answer(status: int = 200, body: bytes = b'{"ok":true}', tier: Tier = Tier.BATCH) -> Answer:
    return Answer(status, (("Content-Type", "application/json"), ("x-request-id", "r1")), body, tier)


def ledger(
    attempt: Attempt,
    *,
    kind: Purchase = Purchase.PRIMARY,
    paid: str | None = "0.25",
    listed: str | None = "0.5",
    booked_at: float = 200.0,
) -> LedgerRow:
    return LedgerRow(
        id=attempt.id,
        request_id=attempt.request_id,
        attempt_id=attempt.id,
        batch_id=attempt.batch_id,
        tenant=ALICE,
        upstream=UPSTREAM,
        endpoint="/v1/chat/completions",
        model="gpt-4o-mini",
        policy="default",
        tier=attempt.tier,
        kind=kind,
        status=200,
        booked_at=booked_at,
        usage=Usage(100, 20, 5),
        paid_usd=None if paid is None else Decimal(paid),
        list_usd=None if listed is None else Decimal(listed),
    )


def expired(one: Request, at: float) -> LedgerRow:
    """The row of a request whose time ran out."""
    row = ledger(call_for(one), kind=Purchase.EXPIRED, paid="0", listed="0", booked_at=at)
    return replace(row, id=one.id, attempt_id=None, status=504, usage=None, deadline_at=at - 30.0)


async def accepted(store: Store, *requests: Request) -> list[Request]:
    for one in requests:
        await store.accept(one)
    return list(requests)


async def planned(store: Store, *requests: Request) -> tuple[Batch, list[Attempt]]:
    """Accepted requests in a batch that is not uploaded yet."""
    await accepted(store, *requests)
    made = batch(lines=len(requests))
    lines = [line_of(one, made) for one in requests]
    await store.apply([BatchPlanned(made, tuple(lines))])
    return made, lines


async def in_flight(store: Store, *requests: Request) -> tuple[Batch, list[Attempt]]:
    """Accepted requests in a batch at the provider."""
    made, lines = await planned(store, *requests)
    await create(store, made)
    return made, lines


async def create(store: Store, made: Batch) -> list[MoveResult]:
    return await store.apply(
        [
            UploadStarted(made.id, 111.0, made.lines),
            Uploaded(made.id, 112.0, "file-1"),
            BatchCreated(made.id, 113.0, "batch_1", "validating", due_at=120.0, found=False),
        ]
    )

"""Rows to domain values and back. Column lists are written once, here, beside the function that reads them."""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind, AttemptState, Line
from proxy.domain.batch import Batch, BatchOutcome, BatchState
from proxy.domain.decision import Delivery, Grounds, OnMiss, Reason
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage, from_picodollars, to_picodollars
from proxy.domain.request import Queue, Request, RequestState, RequestView, Stage, Waiting
from proxy.domain.tier import Tier

VIEW = (
    "id, tenant, upstream, credential, endpoint, model, fingerprint, idempotency_key, stream, include_usage, delivery, "
    "policy, reason, accepted_at, deadline_at, state, stage, tries, batch_id, finished_at, delivered_at, status, tier, "
    "paid, saved, webhook, on_miss, confidence, grounds"
)
WAITING = (
    "id, tenant, upstream, credential, endpoint, model, policy, stage, batch_id, tries, ready_at, accepted_at, "
    "deadline_at, length(body) AS body_bytes, estimated_tokens, tiers, on_miss, confidence, reason"
)
BATCH = (
    "id, upstream, credential, endpoint, model, state, lines, body_bytes, estimated_tokens, created_at, deadline_at, "
    "due_at, provider_id, provider_status, completed_lines, failed_lines, input_file_id, output_file_id, "
    "error_file_id, creating_at, submitted_at, cancel_requested_at, ended_at, outcome"
)
LEDGER = (
    "id, request_id, attempt_id, batch_id, tenant, upstream, endpoint, model, policy, tier, kind, status, booked_at, "
    "input_tokens, cached_tokens, output_tokens, paid, list, reason, observed_tier, observed, deadline_at"
)
REQUEST = (
    "id, tenant, upstream, credential, endpoint, model, body, fingerprint, idempotency_key, stream, include_usage, "
    "delivery, policy, reason, estimated_tokens, accepted_at, deadline_at, ready_at, tiers, webhook, webhook_at, "
    "on_miss, confidence, retention, grounds"
)

_encode_rows = msgspec.json.Encoder().encode
_encode_headers = msgspec.json.Encoder().encode
_decode_grounds = msgspec.json.Decoder(Grounds).decode
_decode_headers = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode


def marks(columns: str) -> str:
    """As many question marks as there are columns."""
    return ", ".join("?" for _ in columns.split(","))


def request_row(request: Request) -> tuple[object, ...]:
    """Values for the `REQUEST` columns."""
    queue = request.queue
    return (
        request.id,
        request.tenant,
        queue.upstream,
        queue.credential,
        queue.endpoint,
        queue.model,
        request.body,
        request.fingerprint,
        request.idempotency_key,
        request.stream,
        request.include_usage,
        request.delivery.value,
        request.policy,
        request.reason.value,
        request.estimated_tokens,
        request.accepted_at,
        request.deadline_at,
        request.accepted_at,
        _tiers_word(request.tiers),
        request.webhook,
        None if request.webhook is None else request.accepted_at,
        request.on_miss.value,
        request.confidence,
        request.retention_seconds,
        grounds_json(request.grounds),
    )


def view_of(row: sqlite3.Row) -> RequestView:
    """A `VIEW` row."""
    return RequestView(
        id=RequestId(row["id"]),
        tenant=TenantId(row["tenant"]),
        queue=queue_of(row),
        fingerprint=row["fingerprint"],
        idempotency_key=row["idempotency_key"],
        stream=bool(row["stream"]),
        include_usage=bool(row["include_usage"]),
        delivery=Delivery(row["delivery"]),
        policy=row["policy"],
        reason=Reason(row["reason"]),
        accepted_at=row["accepted_at"],
        deadline_at=row["deadline_at"],
        state=RequestState(row["state"]),
        stage=Stage(row["stage"]),
        tries=row["tries"],
        batch_id=_optional_batch_id(row["batch_id"]),
        finished_at=row["finished_at"],
        delivered_at=row["delivered_at"],
        status=row["status"],
        tier=None if row["tier"] is None else Tier(row["tier"]),
        paid_usd=from_picodollars(row["paid"]),
        saved_usd=from_picodollars(row["saved"]),
        webhook=row["webhook"],
        on_miss=OnMiss(row["on_miss"]),
        confidence=row["confidence"],
        grounds=read_grounds(row["grounds"]),
    )


def queue_of(row: sqlite3.Row) -> Queue:
    """The queue columns of any row that has them."""
    return Queue(UpstreamName(row["upstream"]), CredentialId(row["credential"]), row["endpoint"], row["model"])


def waiting_of(row: sqlite3.Row) -> Waiting:
    """A `WAITING` row."""
    stage = Stage(row["stage"])
    return Waiting(
        id=RequestId(row["id"]),
        tenant=TenantId(row["tenant"]),
        queue=queue_of(row),
        policy=row["policy"],
        stage=stage,
        batch_id=_optional_batch_id(row["batch_id"]),
        calling=stage is Stage.CALLING,
        tries=row["tries"],
        ready_at=row["ready_at"],
        accepted_at=row["accepted_at"],
        deadline_at=row["deadline_at"],
        body_bytes=row["body_bytes"],
        estimated_tokens=row["estimated_tokens"],
        tiers=_tiers_of(row["tiers"]),
        on_miss=OnMiss(row["on_miss"]),
        confidence=row["confidence"],
        reason=Reason(row["reason"]),
    )


def grounds_json(grounds: Grounds | None) -> bytes | None:
    """A decision's numbers for their column or field."""
    return None if grounds is None else _encode_rows(grounds)


def read_grounds(content: bytes | None) -> Grounds | None:
    """The same read back. Those of another version, which may have had other numbers, are not known any more."""
    if content is None:
        return None
    try:
        return _decode_grounds(content)
    except msgspec.ValidationError:
        return None


@lru_cache(maxsize=16)
def _tiers_word(tiers: frozenset[Tier]) -> str:
    """The tiers in the order of the ladder, such as `batch flex standard`: with a batch it is the first word."""
    return " ".join(tier.value for tier in Tier if tier in tiers)


@lru_cache(maxsize=16)
def _tiers_of(word: str) -> frozenset[Tier]:
    return frozenset(Tier(tier) for tier in word.split())


def batch_row(batch: Batch) -> tuple[object, ...]:
    """Values for the `BATCH` columns."""
    queue = batch.queue
    return (
        batch.id,
        queue.upstream,
        queue.credential,
        queue.endpoint,
        queue.model,
        batch.state.value,
        batch.lines,
        batch.body_bytes,
        batch.estimated_tokens,
        batch.created_at,
        batch.deadline_at,
        batch.due_at,
        batch.provider_id,
        batch.provider_status,
        batch.completed_lines,
        batch.failed_lines,
        batch.input_file_id,
        batch.output_file_id,
        batch.error_file_id,
        batch.creating_at,
        batch.submitted_at,
        batch.cancel_requested_at,
        batch.ended_at,
        None if batch.outcome is None else batch.outcome.value,
    )


def batch_of(row: sqlite3.Row) -> Batch:
    """A `BATCH` row."""
    return Batch(
        id=BatchId(row["id"]),
        queue=queue_of(row),
        state=BatchState(row["state"]),
        lines=row["lines"],
        body_bytes=row["body_bytes"],
        estimated_tokens=row["estimated_tokens"],
        created_at=row["created_at"],
        deadline_at=row["deadline_at"],
        due_at=row["due_at"],
        provider_id=row["provider_id"],
        provider_status=row["provider_status"],
        completed_lines=row["completed_lines"],
        failed_lines=row["failed_lines"],
        input_file_id=row["input_file_id"],
        output_file_id=row["output_file_id"],
        error_file_id=row["error_file_id"],
        creating_at=row["creating_at"],
        submitted_at=row["submitted_at"],
        cancel_requested_at=row["cancel_requested_at"],
        ended_at=row["ended_at"],
        outcome=None if row["outcome"] is None else BatchOutcome(row["outcome"]),
    )


def line_of(row: sqlite3.Row) -> Line:
    """An attempt joined with its request."""
    return Line(
        attempt_id=AttemptId(row["attempt_id"]),
        request_id=RequestId(row["request_id"]),
        tenant=TenantId(row["tenant"]),
        policy=row["policy"],
        state=AttemptState(row["attempt_state"]),
        accepted_at=row["accepted_at"],
        deadline_at=row["deadline_at"],
        body=row["body"],
        reason=Reason(row["reason"]),
    )


def attempt_of(row: sqlite3.Row) -> Attempt:
    """An attempt joined with its request."""
    return Attempt(
        id=AttemptId(row["attempt_id"]),
        request_id=RequestId(row["id"]),
        kind=AttemptKind(row["attempt_kind"]),
        tier=Tier(row["attempt_tier"]),
        batch_id=_optional_batch_id(row["attempt_batch_id"]),
        created_at=row["attempt_created_at"],
    )


def ledger_row(row: LedgerRow) -> tuple[object, ...]:
    """Values for the `LEDGER` columns."""
    usage = row.usage
    return (
        row.id,
        row.request_id,
        row.attempt_id,
        row.batch_id,
        row.tenant,
        row.upstream,
        row.endpoint,
        row.model,
        row.policy,
        row.tier.value,
        row.kind.value,
        row.status,
        row.booked_at,
        None if usage is None else usage.input_tokens,
        None if usage is None else usage.cached_tokens,
        None if usage is None else usage.output_tokens,
        to_picodollars(row.paid_usd),
        to_picodollars(row.list_usd),
        None if row.reason is None else row.reason.value,
        None if row.observed_tier is None else row.observed_tier.value,
        to_picodollars(row.observed_usd),
        row.deadline_at,
    )


def ledger_rows_json(rows: Sequence[LedgerRow]) -> bytes:
    """Many rows' values for the `LEDGER` columns, as one JSON array of arrays."""
    return _encode_rows([ledger_row(row) for row in rows])


def ledger_of(row: sqlite3.Row) -> LedgerRow:
    """A `LEDGER` row."""
    has_usage = row["input_tokens"] is not None
    usage = Usage(row["input_tokens"], row["output_tokens"], row["cached_tokens"]) if has_usage else None
    return LedgerRow(
        id=row["id"],
        request_id=RequestId(row["request_id"]),
        attempt_id=None if row["attempt_id"] is None else AttemptId(row["attempt_id"]),
        batch_id=_optional_batch_id(row["batch_id"]),
        tenant=TenantId(row["tenant"]),
        upstream=UpstreamName(row["upstream"]),
        endpoint=row["endpoint"],
        model=row["model"],
        policy=row["policy"],
        tier=Tier(row["tier"]),
        kind=Purchase(row["kind"]),
        status=row["status"],
        booked_at=row["booked_at"],
        usage=usage,
        paid_usd=from_picodollars(row["paid"]),
        list_usd=from_picodollars(row["list"]),
        reason=None if row["reason"] is None else Reason(row["reason"]),
        observed_tier=None if row["observed_tier"] is None else Tier(row["observed_tier"]),
        observed_usd=from_picodollars(row["observed"]),
        deadline_at=row["deadline_at"],
    )


def answer_headers(answer: Answer) -> bytes:
    """An answer's headers for their column."""
    return _encode_headers(answer.headers)


def answer_of(row: sqlite3.Row) -> Answer | None:
    """The answer columns; None while there is none."""
    if row["answer_body"] is None:
        return None
    return Answer(row["status"], _decode_headers(row["answer_headers"]), row["answer_body"], Tier(row["tier"]))


def _optional_batch_id(text: str | None) -> BatchId | None:
    return None if text is None else BatchId(text)

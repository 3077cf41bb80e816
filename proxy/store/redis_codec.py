"""Values of Redis hashes to domain values and back. What never changes of a request is one JSON array, its facts."""

from collections.abc import Sequence

import msgspec

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind, AttemptState, Line
from proxy.domain.batch import Batch, BatchOutcome, BatchState
from proxy.domain.decision import Delivery, Reason
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage, from_picodollars, to_picodollars
from proxy.domain.request import Lane, Queue, Request, RequestState, RequestView, Stage, Waiting
from proxy.domain.tier import Tier

Value = bytes | None
VIEW = ("f", "state", "stage", "tries", "batch", "finished", "delivered", "status", "tier", "paid", "saved", "webhook")
"""Fields of a request's hash for `view_of`, in its order."""
WAITING = ("f", "state", "stage", "tries", "batch", "ready")
"""Fields of a request's hash for `waiting_of`, in its order."""
ATTEMPT = ("request", "kind", "tier", "batch", "created", "state")
"""Fields of an attempt's hash for `attempt_of`, in its order."""
ANSWER = ("status", "tier", "headers", "answer")
"""Fields of a request's hash for `answer_of`, in its order."""
_WHOLE = ("lines", "body_bytes", "estimated_tokens", "completed_lines", "failed_lines")
_INSTANTS = (
    "created_at",
    "deadline_at",
    "due_at",
    "creating_at",
    "submitted_at",
    "cancel_requested_at",
    "ended_at",
)
_WORDS = ("provider_id", "provider_status", "input_file_id", "output_file_id", "error_file_id")


class Facts(msgspec.Struct, array_like=True, frozen=True):
    """What never changes of a request. `lua/delivered.lua` and `lua/sweep.lua` read the first six by their places."""

    tenant: str
    upstream: str
    credential: str
    endpoint: str
    fingerprint: str
    idempotency_key: str | None
    model: str
    stream: bool
    include_usage: bool
    delivery: str
    policy: str
    reason: str
    body_bytes: int
    estimated_tokens: int
    accepted_at: float
    deadline_at: float
    tiers: tuple[str, ...]

    @property
    def queue(self) -> Queue:
        """Where the request waits."""
        return Queue(UpstreamName(self.upstream), CredentialId(self.credential), self.endpoint, self.model)


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """A ledger row; amounts are picodollars."""

    id: str
    request_id: str
    attempt_id: str | None
    batch_id: str | None
    tenant: str
    upstream: str
    endpoint: str
    model: str
    policy: str
    tier: str
    kind: str
    status: int
    booked_at: float
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    paid: int | None
    list: int | None


_encode = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(Facts).decode
_decode_row = msgspec.json.Decoder(_Row).decode
_decode_headers = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode


def pair_word(owner: str, rest: str) -> str:
    """Two words as one part of a key, from which no other two make the same: `pair_word` in `lua/common.lua`."""
    return f"{len(owner.encode())}:{owner}:{rest}"


def lane_word(lane: Lane) -> str:
    """A lane as a part of a key."""
    return pair_word(lane.upstream, lane.model)


def facts_of(request: Request) -> bytes:
    """The facts of a request, for its hash."""
    queue = request.queue
    return _encode(
        Facts(
            tenant=request.tenant,
            upstream=queue.upstream,
            credential=queue.credential,
            endpoint=queue.endpoint,
            fingerprint=request.fingerprint.hex(),
            idempotency_key=request.idempotency_key,
            model=queue.model,
            stream=request.stream,
            include_usage=request.include_usage,
            delivery=request.delivery.value,
            policy=request.policy,
            reason=request.reason.value,
            body_bytes=len(request.body),
            estimated_tokens=request.estimated_tokens,
            accepted_at=request.accepted_at,
            deadline_at=request.deadline_at,
            tiers=tuple(tier.value for tier in Tier if tier in request.tiers),
        )
    )


def undelivered_word(tenant: TenantId, endpoint: str, fingerprint: bytes) -> str:
    """What a retried call is looked up by, as a part of a key."""
    return pair_word(tenant, f"{endpoint} {fingerprint.hex()}")


def view_of(request_id: RequestId, values: Sequence[Value]) -> RequestView | None:
    """A request's `VIEW` fields; None for one that is not there."""
    raw, state, stage, tries, batch, finished, delivered, status, tier, paid, saved, webhook = values
    if raw is None or state is None or stage is None:
        return None
    facts = _decode_facts(raw)
    return RequestView(
        id=request_id,
        tenant=TenantId(facts.tenant),
        queue=facts.queue,
        fingerprint=bytes.fromhex(facts.fingerprint),
        idempotency_key=facts.idempotency_key,
        stream=facts.stream,
        include_usage=facts.include_usage,
        delivery=Delivery(facts.delivery),
        policy=facts.policy,
        reason=Reason(facts.reason),
        accepted_at=facts.accepted_at,
        deadline_at=facts.deadline_at,
        state=RequestState(state.decode()),
        stage=Stage(stage.decode()),
        tries=int(tries or 0),
        batch_id=_batch_id(batch),
        finished_at=_instant(finished),
        delivered_at=_instant(delivered),
        status=None if status is None else int(status),
        tier=None if tier is None else Tier(tier.decode()),
        paid_usd=from_picodollars(None if paid is None else int(paid)),
        saved_usd=from_picodollars(None if saved is None else int(saved)),
        webhook=None if webhook is None else webhook.decode(),
    )


def waiting_of(request_id: RequestId, values: Sequence[Value], *, even_final: bool = False) -> Waiting | None:
    """A request's `WAITING` fields; None for one that is not there, or not open."""
    raw, state, stage_word, tries, batch, ready = values
    if raw is None or stage_word is None or not (even_final or state == b"open"):
        return None
    facts = _decode_facts(raw)
    stage = Stage(stage_word.decode())
    return Waiting(
        id=request_id,
        tenant=TenantId(facts.tenant),
        queue=facts.queue,
        policy=facts.policy,
        stage=stage,
        batch_id=_batch_id(batch),
        calling=stage is Stage.CALLING,
        tries=int(tries or 0),
        ready_at=float(ready or 0),
        accepted_at=facts.accepted_at,
        deadline_at=facts.deadline_at,
        body_bytes=facts.body_bytes,
        estimated_tokens=facts.estimated_tokens,
        tiers=frozenset(Tier(tier) for tier in facts.tiers),
    )


def line_of(attempt_id: AttemptId, request_id: RequestId, state: AttemptState, raw: bytes, body: bytes) -> Line:
    """A request's facts and body, with its live line."""
    facts = _decode_facts(raw)
    return Line(
        attempt_id=attempt_id,
        request_id=request_id,
        tenant=TenantId(facts.tenant),
        policy=facts.policy,
        state=state,
        accepted_at=facts.accepted_at,
        deadline_at=facts.deadline_at,
        body=body,
    )


def attempt_of(attempt_id: AttemptId, values: Sequence[Value]) -> Attempt:
    """An attempt's `ATTEMPT` fields."""
    request, kind, tier, batch, created, _ = (value or b"" for value in values)
    return Attempt(
        id=attempt_id,
        request_id=RequestId(request.decode()),
        kind=AttemptKind(kind.decode()),
        tier=Tier(tier.decode()),
        batch_id=_batch_id(batch),
        created_at=float(created),
    )


def answer_fields(answer: Answer) -> list[str]:
    """Names and values of an answer, for its request's hash: all but its body."""
    return changed_fields(status=answer.status, tier=answer.tier.value, headers=_encode(answer.headers).decode())


def answer_of(values: Sequence[Value]) -> Answer | None:
    """A request's `ANSWER` fields; None while there is none."""
    status, tier, headers, body = values
    if status is None or tier is None or headers is None or body is None:
        return None
    return Answer(int(status), _decode_headers(headers), body, Tier(tier.decode()))


def batch_fields(batch: Batch) -> list[str]:
    """Names and values of a batch, for its hash. What is None has no field."""
    queue = batch.queue
    fields = ["queue", _encode((queue.upstream, queue.credential, queue.endpoint, queue.model)).decode()]
    return fields + changed_fields(
        state=batch.state.value,
        outcome=None if batch.outcome is None else batch.outcome.value,
        **{name: getattr(batch, name) for name in (*_WHOLE, *_INSTANTS, *_WORDS)},
    )


def changed_fields(**fields: str | float | None) -> list[str]:
    """Names and values of what a move brings. What is None has no field."""
    flat: list[str] = []
    for name, value in fields.items():
        if value is not None:
            flat += (name, value if isinstance(value, str) else repr(value))
    return flat


def batch_of(batch_id: BatchId, pairs: dict[bytes, bytes]) -> Batch:
    """A batch's hash."""
    fields = {name.decode(): value.decode() for name, value in pairs.items()}
    outcome = fields.get("outcome")
    return Batch(
        id=batch_id,
        queue=queue_of(fields["queue"]),
        state=BatchState(fields["state"]),
        lines=int(fields["lines"]),
        body_bytes=int(fields["body_bytes"]),
        estimated_tokens=int(fields["estimated_tokens"]),
        created_at=float(fields["created_at"]),
        deadline_at=float(fields["deadline_at"]),
        due_at=float(fields["due_at"]),
        provider_id=fields.get("provider_id"),
        provider_status=fields.get("provider_status"),
        completed_lines=int(fields["completed_lines"]),
        failed_lines=int(fields["failed_lines"]),
        input_file_id=fields.get("input_file_id"),
        output_file_id=fields.get("output_file_id"),
        error_file_id=fields.get("error_file_id"),
        creating_at=_optional_instant(fields, "creating_at"),
        submitted_at=_optional_instant(fields, "submitted_at"),
        cancel_requested_at=_optional_instant(fields, "cancel_requested_at"),
        ended_at=_optional_instant(fields, "ended_at"),
        outcome=None if outcome is None else BatchOutcome(outcome),
    )


def queue_of(text: str | bytes) -> Queue:
    """The `queue` field of a batch."""
    upstream, credential, endpoint, model = msgspec.json.decode(text, type=tuple[str, str, str, str])
    return Queue(UpstreamName(upstream), CredentialId(credential), endpoint, model)


def ledger_entry(row: LedgerRow, keep_seconds: int) -> dict[str, object]:
    """A ledger row for `book` in `lua/common.lua`."""
    usage, paid, listed = row.usage, to_picodollars(row.paid_usd), to_picodollars(row.list_usd)
    stored = _Row(
        id=row.id,
        request_id=row.request_id,
        attempt_id=row.attempt_id,
        batch_id=row.batch_id,
        tenant=row.tenant,
        upstream=row.upstream,
        endpoint=row.endpoint,
        model=row.model,
        policy=row.policy,
        tier=row.tier.value,
        kind=row.kind.value,
        status=row.status,
        booked_at=row.booked_at,
        input_tokens=None if usage is None else usage.input_tokens,
        cached_tokens=None if usage is None else usage.cached_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        paid=paid,
        list=listed,
    )
    return {
        "id": row.id,
        "request": row.request_id,
        "at": repr(row.booked_at),
        "hour": str(hour_of(row.booked_at)),
        "group": _encode(group_of(row)).decode(),
        "json": _encode(stored).decode(),
        "keep": keep_seconds,
        "sums": {name: str(amount) for name, amount in sums_of(row).items() if amount},
    }


def hour_of(at: float) -> int:
    """The hour of an instant, counted from 1970."""
    return int(at // 3600)


Group = tuple[str, str, str, str, str]
"""Tenant, upstream, model, tier and kind: what totals are summed by."""


def group_of(row: LedgerRow) -> Group:
    """What a row is summed with."""
    return row.tenant, row.upstream, row.model, row.tier.value, row.kind.value


def sums_of(row: LedgerRow) -> dict[str, int]:
    """What a row adds to its totals; amounts are picodollars."""
    usage, paid, listed = row.usage, to_picodollars(row.paid_usd), to_picodollars(row.list_usd)
    return {
        "rows": 1,
        "input_tokens": 0 if usage is None else usage.input_tokens,
        "cached_tokens": 0 if usage is None else usage.cached_tokens,
        "output_tokens": 0 if usage is None else usage.output_tokens,
        "paid": paid or 0,
        "list": listed or 0,
        "unknown_paid": int(paid is None),
        "unknown_list": int(listed is None),
    }


def total_field(field: bytes) -> tuple[Group, str]:
    """The group and the name of a field of `:ledger:totals:`."""
    group, _, name = field.decode().rpartition(" ")
    return msgspec.json.decode(group, type=tuple[str, str, str, str, str]), name


def ledger_of(value: bytes) -> tuple[int, LedgerRow]:
    """A value of `:ledger:rows:`: the row and its place among the request's rows."""
    place, _, raw = value.partition(b" ")
    row = _decode_row(raw)
    usage = None
    if row.input_tokens is not None and row.output_tokens is not None:
        usage = Usage(row.input_tokens, row.output_tokens, row.cached_tokens or 0)
    return int(place), LedgerRow(
        id=row.id,
        request_id=RequestId(row.request_id),
        attempt_id=None if row.attempt_id is None else AttemptId(row.attempt_id),
        batch_id=None if row.batch_id is None else BatchId(row.batch_id),
        tenant=TenantId(row.tenant),
        upstream=UpstreamName(row.upstream),
        endpoint=row.endpoint,
        model=row.model,
        policy=row.policy,
        tier=Tier(row.tier),
        kind=Purchase(row.kind),
        status=row.status,
        booked_at=row.booked_at,
        usage=usage,
        paid_usd=from_picodollars(row.paid),
        list_usd=from_picodollars(row.list),
    )


def _batch_id(value: Value) -> BatchId | None:
    return BatchId(value.decode()) if value else None


def _instant(value: Value) -> float | None:
    return None if value is None else float(value)


def _optional_instant(fields: dict[str, str], name: str) -> float | None:
    return float(fields[name]) if name in fields else None

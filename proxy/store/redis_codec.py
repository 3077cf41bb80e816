"""Values of Redis hashes to domain values and back. What never changes of a request is one JSON array, its facts."""

from collections.abc import Sequence

import msgspec

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind, AttemptState, Line
from proxy.domain.batch import Batch, BatchOutcome, BatchState
from proxy.domain.decision import CONFIDENCE_DEFAULT, Delivery, OnMiss, Reason
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import from_picodollars
from proxy.domain.request import Lane, Queue, Request, RequestState, RequestView, Stage, Waiting
from proxy.domain.tier import Tier
from proxy.store.codec import read_grounds

Value = bytes | None
VIEW = (
    *("f", "state", "stage", "tries", "batch", "finished", "delivered", "status", "tier", "paid", "saved", "webhook"),
    "grounds",
)
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
    on_miss: str = OnMiss.ESCALATE.value
    confidence: float = CONFIDENCE_DEFAULT

    @property
    def queue(self) -> Queue:
        """Where the request waits."""
        return Queue(UpstreamName(self.upstream), CredentialId(self.credential), self.endpoint, self.model)


_encode = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(Facts).decode
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
            on_miss=request.on_miss.value,
            confidence=request.confidence,
        )
    )


def undelivered_word(tenant: TenantId, endpoint: str, fingerprint: bytes) -> str:
    """What a retried call is looked up by, as a part of a key."""
    return pair_word(tenant, f"{endpoint} {fingerprint.hex()}")


def view_of(request_id: RequestId, values: Sequence[Value]) -> RequestView | None:
    """A request's `VIEW` fields; None for one that is not there."""
    raw, state, stage, tries, batch, finished, delivered, status, tier, paid, saved, webhook, grounds = values
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
        on_miss=OnMiss(facts.on_miss),
        confidence=facts.confidence,
        grounds=read_grounds(grounds),
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
        on_miss=OnMiss(facts.on_miss),
        confidence=facts.confidence,
        reason=Reason(facts.reason),
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
        reason=Reason(facts.reason),
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


def _batch_id(value: Value) -> BatchId | None:
    return BatchId(value.decode()) if value else None


def _instant(value: Value) -> float | None:
    return None if value is None else float(value)


def _optional_instant(fields: dict[str, str], name: str) -> float | None:
    return float(fields[name]) if name in fields else None

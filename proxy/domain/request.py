"""The deferred request: what a client is owed, and where it waits."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from proxy.domain.decision import CONFIDENCE_DEFAULT, Delivery, Grounds, OnMiss, Reason
from proxy.domain.ids import BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.tier import Tier


@dataclass(frozen=True, slots=True, order=True)
class Queue:
    """The deferred requests that may share a batch: same upstream, same credential, same endpoint, same model.

    `endpoint` is the path as the provider names it in a line, such as `/v1/chat/completions`.
    """

    upstream: UpstreamName
    credential: CredentialId
    endpoint: str
    model: str

    @property
    def lane(self) -> "Lane":
        """Where this queue's requests wait together with those of others."""
        return Lane(self.upstream, self.model)


class Lane(NamedTuple):
    """All queues of one upstream's model: they share its rate limit, and so they are looked after together."""

    upstream: UpstreamName
    model: str


class RequestState(StrEnum):
    """What the client is owed. All but OPEN are final and never change."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Stage(StrEnum):
    """Where an open request is, as a person sees it: a pure function of its live attempts."""

    QUEUED = "queued"
    """No live attempt: waits for a batch or a call."""
    STAGED = "staged"
    """In a batch that the provider has not created yet."""
    SUBMITTED = "submitted"
    """In a batch at the provider."""
    CALLING = "calling"
    """A synchronous call is under way (and perhaps a batch line too)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One accepted deferred request, as it is stored.

    `body` is the line's body: the client's JSON without what batches refuse and without Standby's own metadata.
    `fingerprint` says what the client's body says, in any spelling: it finds the work that an SDK's retry belongs to.
    `stream` and `include_usage` say in which shape the client wants the answer.
    `estimated_tokens` is the prompt's size for the provider's enqueued-token budget.
    `tiers` are those that it may be bought at: without BATCH it waits for a call only.
    `webhook` is the URL that is told when it has its final state. `on_miss` and `confidence` are its policy's word
    about the deadline; `retention_seconds` is how long it is kept when it is finished, None: as configured. `grounds`
    are the numbers that its decision rests on.
    """

    id: RequestId
    tenant: TenantId
    queue: Queue
    body: bytes
    fingerprint: bytes
    idempotency_key: str | None
    stream: bool
    include_usage: bool
    delivery: Delivery
    policy: str
    reason: Reason
    estimated_tokens: int
    accepted_at: float
    deadline_at: float
    tiers: frozenset[Tier] = frozenset({Tier.BATCH, Tier.STANDARD})
    webhook: str | None = None
    on_miss: OnMiss = OnMiss.ESCALATE
    confidence: float = CONFIDENCE_DEFAULT
    retention_seconds: float | None = None
    grounds: Grounds | None = None


@dataclass(frozen=True, slots=True)
class RequestView:
    """A stored request without its bodies: what a person, a list or a reconnecting client needs to know.

    `tier`, `paid_usd` and `saved_usd` are None until there is an answer; the amounts also where a price is unknown.
    `delivered_at` is when a client took the answer, None before.
    """

    id: RequestId
    tenant: TenantId
    queue: Queue
    fingerprint: bytes
    idempotency_key: str | None
    stream: bool
    include_usage: bool
    delivery: Delivery
    policy: str
    reason: Reason
    accepted_at: float
    deadline_at: float
    state: RequestState
    stage: Stage
    tries: int
    batch_id: BatchId | None
    finished_at: float | None
    delivered_at: float | None
    status: int | None
    tier: Tier | None
    paid_usd: Decimal | None
    saved_usd: Decimal | None
    webhook: str | None = None
    on_miss: OnMiss = OnMiss.ESCALATE
    confidence: float = CONFIDENCE_DEFAULT
    grounds: Grounds | None = None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One queue's queued requests, summed. `oldest_at` and `earliest_deadline_at` are unix seconds."""

    queue: Queue
    requests: int
    body_bytes: int
    estimated_tokens: int
    oldest_at: float
    earliest_deadline_at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open request without its body: all that deciding about it needs.

    `calling` is whether a synchronous call for it is live already.
    """

    id: RequestId
    tenant: TenantId
    queue: Queue
    policy: str
    stage: Stage
    batch_id: BatchId | None
    calling: bool
    tries: int
    ready_at: float
    accepted_at: float
    deadline_at: float
    body_bytes: int
    estimated_tokens: int
    tiers: frozenset[Tier] = frozenset({Tier.BATCH, Tier.STANDARD})
    on_miss: OnMiss = OnMiss.ESCALATE
    confidence: float = CONFIDENCE_DEFAULT
    reason: Reason = Reason.DEADLINE_ALLOWS

"""The attempt: one purchase of an answer, a batch line or a synchronous call. The ledger has a row for each."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.domain.decision import Reason
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId
from proxy.domain.tier import Tier


class AttemptKind(StrEnum):
    """How the answer is bought."""

    LINE = "line"
    CALL = "call"


class AttemptState(StrEnum):
    """Where one purchase stands. WRITTEN and SENT are live; the others are final."""

    WRITTEN = "written"
    SENT = "sent"
    WITHDRAWN = "withdrawn"
    ANSWERED = "answered"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    MISSING = "missing"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One purchase. `id` is the line's `custom_id`. `batch_id` is None for a call."""

    id: AttemptId
    request_id: RequestId
    kind: AttemptKind
    tier: Tier
    batch_id: BatchId | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Line:
    """A live attempt of a batch, with what its upload and its collection need."""

    attempt_id: AttemptId
    request_id: RequestId
    tenant: TenantId
    policy: str
    state: AttemptState
    accepted_at: float
    deadline_at: float
    body: bytes
    reason: Reason = Reason.DEADLINE_ALLOWS

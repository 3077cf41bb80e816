"""Everything that may be announced, one frozen record each. Metrics and logs listen; nothing waits for them.

`upstream`, `model`, `endpoint` and `policy` are label-sized words. Ids are for logs and exemplars, never for labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.domain.batch import BatchOutcome
from proxy.domain.change import PolicyChange
from proxy.domain.decision import Reason
from proxy.domain.failure import FailureKind
from proxy.domain.ids import BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.labels import CutReason, EscalationReason, LimitKind, OutcomeLabel
from proxy.domain.money import LedgerRow
from proxy.domain.request import Lane
from proxy.domain.tier import Tier


@dataclass(frozen=True, slots=True)
class RequestDecided:
    """A client's call got its tier, or was refused before (then no event is announced). `traceparent` is what its
    client said of the span that it belongs to, unread.
    """

    request_id: RequestId
    tenant: TenantId
    upstream: UpstreamName
    model: str
    endpoint: str
    tier: Tier
    reason: Reason
    policy: str
    deadline_at: float | None
    at: float
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """A client's call was refused by Standby itself: a bad header, a body over the limit, a bad key."""

    status: int
    code: str
    at: float


@dataclass(frozen=True, slots=True)
class CallFinished:
    """An urgent call was relayed to its end. `row` is None for calls that buy nothing (files, lists).

    `overhead_seconds` is our own time before upstream was asked; `first_chunk_seconds` counts from then to the first
    byte of the answer. `status` 499 means that the client left. `deadline_at` is None for calls without one.
    """

    request_id: RequestId
    tenant: TenantId
    upstream: UpstreamName
    model: str
    endpoint: str
    policy: str
    tier: Tier
    status: int
    deadline_at: float | None
    started_at: float
    finished_at: float
    overhead_seconds: float
    first_chunk_seconds: float | None
    row: LedgerRow | None


@dataclass(frozen=True, slots=True)
class RequestAccepted:
    """A deferred request is durable. `tier` is where it starts; `best_effort` is whether the rate limits might not
    carry it in time if no batch does.
    """

    request_id: RequestId
    tenant: TenantId
    upstream: UpstreamName
    model: str
    endpoint: str
    policy: str
    tier: Tier
    deadline_at: float
    best_effort: bool
    at: float


@dataclass(frozen=True, slots=True)
class RequestAttached:
    """A client's call was attached to work that is there already. `by` is `retry` or `idempotency_key`."""

    request_id: RequestId
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """A deferred request has its final state. `tier` is None for one that nothing was bought for."""

    request_id: RequestId
    tenant: TenantId
    upstream: UpstreamName
    model: str
    endpoint: str
    policy: str
    tier: Tier | None
    outcome: OutcomeLabel
    status: int | None
    accepted_at: float
    deadline_at: float
    at: float
    batch_id: BatchId | None
    row: LedgerRow | None


@dataclass(frozen=True, slots=True)
class WasteBooked:
    """A purchase that delivered nothing is in the ledger."""

    row: LedgerRow


@dataclass(frozen=True, slots=True)
class RequestEscalated:
    """A deferred request is being bought at a faster tier. `blind` is whether its batch line is still live."""

    request_id: RequestId
    upstream: UpstreamName
    model: str
    tier: Tier
    reason: EscalationReason
    blind: bool
    slack_seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class BatchCut:
    """A queue was cut into a batch."""

    batch_id: BatchId
    upstream: UpstreamName
    model: str
    reason: CutReason
    lines: int
    body_bytes: int
    at: float


@dataclass(frozen=True, slots=True)
class BatchSubmitted:
    """The provider has the job. `found` is whether it was matched in the provider's list after a lost reply."""

    batch_id: BatchId
    provider_id: str
    upstream: UpstreamName
    model: str
    lines: int
    found: bool
    at: float


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """The provider's job ended and its results are durable.

    `turnaround_seconds` is from submission to the end. The counts are lines of this batch by what became of them.
    """

    batch_id: BatchId
    upstream: UpstreamName
    model: str
    outcome: BatchOutcome
    turnaround_seconds: float
    answered: int
    superseded: int
    refused: int
    missing: int
    at: float


@dataclass(frozen=True, slots=True)
class ForecastSettled:
    """A quoted time turned out: the batch was complete within it, or it was not; or so many calls at another tier were.

    `quantile` is what was quoted, such as 0.9: that share of forecasts should be covered.
    """

    upstream: UpstreamName
    model: str
    quantile: float
    covered: bool
    at: float
    tier: Tier = Tier.BATCH
    count: int = 1


@dataclass(frozen=True, slots=True)
class StoreWarned:
    """The store is set up in a way that puts promises at risk."""

    warning: str
    at: float


@dataclass(frozen=True, slots=True)
class LanesTaken:
    """This process looks after these lanes from now on."""

    lanes: tuple[Lane, ...]
    at: float


@dataclass(frozen=True, slots=True)
class LanesLost:
    """The leases on these lanes could not be renewed in time: another process may look after them."""

    lanes: tuple[Lane, ...]
    at: float


@dataclass(frozen=True, slots=True)
class BatchFilesDeleted:
    """Our files of a batch are gone from the provider's storage."""

    batch_id: BatchId
    files: int
    at: float


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Upstream answered 429 to a synchronous call."""

    upstream: UpstreamName
    model: str
    limit: LimitKind
    at: float


@dataclass(frozen=True, slots=True)
class UpstreamFailed:
    """An upstream failed a call: a synchronous one, or one about a batch or a file."""

    upstream: UpstreamName
    model: str
    kind: FailureKind
    at: float


@dataclass(frozen=True, slots=True)
class ShadowLimited:
    """This request would have been over the limit at arrival, had everything been sent synchronously on arrival."""

    upstream: UpstreamName
    model: str
    limit: LimitKind
    at: float


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step of the engine or a background job failed and will be tried again at `retry_at`."""

    step: str
    upstream: UpstreamName | None
    batch_id: BatchId | None
    error: str
    retry_at: float
    at: float


@dataclass(frozen=True, slots=True)
class NativeBatchBooked:
    """A batch that a client has made by hand has ended, and what it cost is in the ledger."""

    row: LedgerRow
    at: float


@dataclass(frozen=True, slots=True)
class VirtualBatchMoved:
    """A batch that Standby runs itself has come into another status, in OpenAI's words. The counts are its lines."""

    batch_id: str
    tenant: TenantId
    endpoint: str
    status: str
    total: int
    completed: int
    failed: int
    at: float


@dataclass(frozen=True, slots=True)
class WebhookCalled:
    """A client's webhook was told of a final request. `status` is what it answered, None when nothing came; `error` is
    why it counts as failed, empty when it does not. `retry_at` is None when it will not be called again.
    """

    request_id: RequestId
    tenant: TenantId
    host: str
    status: int | None
    error: str
    retry_at: float | None
    at: float


@dataclass(frozen=True, slots=True)
class BatchTierLost:
    """An upstream answered 404 or 405 to batches; they are not offered again before `retry_at`."""

    upstream: UpstreamName
    retry_at: float
    at: float


@dataclass(frozen=True, slots=True)
class PolicyReloaded:
    """The policy in force was replaced. `rules` is how many rules it has, `change` what is new in it."""

    file: str
    rules: int
    change: PolicyChange
    at: float


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """An edited file was refused; what was in force stays. `error` names file, line and correction."""

    error: str
    at: float


AnyEvent = (
    RequestDecided
    | RequestRejected
    | CallFinished
    | RequestAccepted
    | RequestAttached
    | RequestFinished
    | WasteBooked
    | RequestEscalated
    | BatchCut
    | BatchSubmitted
    | BatchSettled
    | ForecastSettled
    | StoreWarned
    | LanesTaken
    | LanesLost
    | BatchFilesDeleted
    | RateLimited
    | UpstreamFailed
    | ShadowLimited
    | StepFailed
    | VirtualBatchMoved
    | WebhookCalled
    | NativeBatchBooked
    | BatchTierLost
    | PolicyReloaded
    | ReloadRefused
)

Announce = Callable[[AnyEvent], None]
"""Tell whoever listens. Never raises, never blocks."""

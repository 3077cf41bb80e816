"""The batch: one job at the provider, and where we are with it."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.domain.ids import BatchId
from proxy.domain.request import Queue


class BatchState(StrEnum):
    """Where we are with a batch. The provider's own status is a separate field. CLEANED and ABANDONED are final."""

    PLANNED = "planned"
    UPLOADING = "uploading"
    CREATING = "creating"
    REVOKED = "revoked"
    IN_FLIGHT = "in_flight"
    ENDED = "ended"
    COLLECTED = "collected"
    CLEANED = "cleaned"
    ABANDONED = "abandoned"


class BatchOutcome(StrEnum):
    """How the provider's job ended. LOST: the provider no longer knows it."""

    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as it is stored.

    `lines` are those that were planned, and from the upload on those in the file; `body_bytes` and `estimated_tokens`
    are what was planned. `deadline_at` is the tightest line's.
    `due_at` is when the engine should look at it next. `provider_status` is the provider's own word, such as
    `in_progress`; `completed_lines` and `failed_lines` are the provider's counts. File ids are the provider's.
    """

    id: BatchId
    queue: Queue
    state: BatchState
    lines: int
    body_bytes: int
    estimated_tokens: int
    created_at: float
    deadline_at: float
    due_at: float
    provider_id: str | None = None
    provider_status: str | None = None
    completed_lines: int = 0
    failed_lines: int = 0
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    creating_at: float | None = None
    submitted_at: float | None = None
    cancel_requested_at: float | None = None
    ended_at: float | None = None
    outcome: BatchOutcome | None = None

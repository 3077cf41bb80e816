"""Every move that the store can be asked to make: a named record with exactly the fields which that move needs.

`Store.apply` makes them, in one transaction with their ledger rows; the tables in `proxy.domain.lifecycle` say from
which states each is legal. `at` is always the instant of the move, made above the store.
"""

from dataclasses import dataclass

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt
from proxy.domain.batch import Batch, BatchOutcome
from proxy.domain.ids import AttemptId, BatchId, RequestId
from proxy.domain.money import LedgerRow

TRIES_EXHAUSTED = 1000
"""More tries than any setting allows: from then on only a synchronous call will do."""


@dataclass(frozen=True, slots=True)
class RequestCancelled:
    """The client took an open request back."""

    request_id: RequestId
    at: float


@dataclass(frozen=True, slots=True)
class RequestExpired:
    """The time for an open request ran out; `answer` is the error that its client gets."""

    request_id: RequestId
    at: float
    answer: Answer
    ledger: LedgerRow


@dataclass(frozen=True, slots=True)
class CallPlanned:
    """The intent of a synchronous call, on disk before the call. Only for an open request with no live call."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class AttemptSent:
    """A call's bytes are about to go on the wire. (Lines are sent by `BatchCreated` and `BatchFound`.)"""

    attempt_id: AttemptId
    at: float


@dataclass(frozen=True, slots=True)
class AttemptWithdrawn:
    """A call that was planned and not made. It cost nothing."""

    attempt_id: AttemptId
    at: float


@dataclass(frozen=True, slots=True)
class AttemptAnswered:
    """The purchase brought its request's answer. A conflict when the request is final already."""

    attempt_id: AttemptId
    at: float
    answer: Answer
    ledger: LedgerRow


@dataclass(frozen=True, slots=True)
class AttemptSuperseded:
    """An answer came for a request that is final already: `ledger` books it as waste."""

    attempt_id: AttemptId
    at: float
    ledger: LedgerRow


@dataclass(frozen=True, slots=True)
class AttemptRefused:
    """The provider said no for now; the request is queued again, to be tried from `ready_at` on.

    `tries_spent` is 0 where the request is not to blame (no capacity, a full queue at the provider), 1 where it may
    be, and `TRIES_EXHAUSTED` where no batch will ever take it.
    """

    attempt_id: AttemptId
    at: float
    ready_at: float
    tries_spent: int
    ledger: LedgerRow | None = None


@dataclass(frozen=True, slots=True)
class AttemptMissing:
    """The line is in neither file of its terminal batch, or was not run (expired, cancelled): it brought nothing.

    `ledger` books one that the provider may bill all the same.
    """

    attempt_id: AttemptId
    at: float
    ready_at: float
    tries_spent: int
    ledger: LedgerRow | None = None


@dataclass(frozen=True, slots=True)
class AttemptLost:
    """The connection broke, or the process died, after the call was sent: whether it was billed is unknown."""

    attempt_id: AttemptId
    at: float
    ready_at: float
    ledger: LedgerRow


@dataclass(frozen=True, slots=True)
class BatchPlanned:
    """A new batch and its lines. All of the requests must be open and queued, or the whole move is a conflict."""

    batch: Batch
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class UploadStarted:
    """So many lines are about to go to the provider's file storage: those that are live now, and no others any more."""

    batch_id: BatchId
    at: float
    lines: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The provider has the file. From here on the intent to create the batch is on disk."""

    batch_id: BatchId
    at: float
    input_file_id: str


@dataclass(frozen=True, slots=True)
class UploadLost:
    """The upload failed or its reply was lost; a file that may be there is left to the sweeper."""

    batch_id: BatchId
    at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class BatchCreated:
    """The provider has the job: its reply was seen (`found` False), or it was matched in its list (`found` True)."""

    batch_id: BatchId
    at: float
    provider_id: str
    provider_status: str
    due_at: float
    found: bool


@dataclass(frozen=True, slots=True)
class InputRevoked:
    """The provider no longer has the input file: a job that was not created by now never will be."""

    batch_id: BatchId
    at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class ProvedAbsent:
    """The provider's list, read after the settle time, does not have the job: its lines may be sent again."""

    batch_id: BatchId
    at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class BatchAbandoned:
    """The batch will never be created. Its lines' requests are queued again, to be tried from `ready_at` on.

    `tries_spent` is added to the tries of each of them.
    """

    batch_id: BatchId
    at: float
    ready_at: float
    tries_spent: int


@dataclass(frozen=True, slots=True)
class BatchPolled:
    """The provider's job is still under way."""

    batch_id: BatchId
    at: float
    provider_status: str
    completed_lines: int
    failed_lines: int
    due_at: float


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The provider was asked to cancel; what it has finished will still be collected."""

    batch_id: BatchId
    at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """The provider's job is terminal. File ids are None where there is no such file."""

    batch_id: BatchId
    at: float
    outcome: BatchOutcome
    provider_status: str
    completed_lines: int
    failed_lines: int
    output_file_id: str | None
    error_file_id: str | None
    due_at: float


@dataclass(frozen=True, slots=True)
class BatchVanished:
    """The provider answers 404 for a job that it had: outcome LOST, nothing to collect."""

    batch_id: BatchId
    at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class BatchCollected:
    """Every line is answered, superseded, refused or missing. A conflict while one is still live."""

    batch_id: BatchId
    at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class BatchCleaned:
    """Our files are gone from the provider's storage."""

    batch_id: BatchId
    at: float


@dataclass(frozen=True, slots=True)
class BatchPostponed:
    """Not a change of state: the engine will look at the batch again at `due_at`."""

    batch_id: BatchId
    due_at: float


Move = (
    RequestCancelled
    | RequestExpired
    | CallPlanned
    | AttemptSent
    | AttemptWithdrawn
    | AttemptAnswered
    | AttemptSuperseded
    | AttemptRefused
    | AttemptMissing
    | AttemptLost
    | BatchPlanned
    | UploadStarted
    | Uploaded
    | UploadLost
    | BatchCreated
    | InputRevoked
    | ProvedAbsent
    | BatchAbandoned
    | BatchPolled
    | CancelRequested
    | BatchEnded
    | BatchVanished
    | BatchCollected
    | BatchCleaned
    | BatchPostponed
)


FACTS = (RequestCancelled, AttemptAnswered, AttemptSuperseded, BatchCreated)
"""Moves that say what a client has done or what a provider has done and billed: true whoever looks after the lane.

All others act on a lane, and are for whoever holds its lease.
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """The move was made."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The move was not made and nothing changed. `current` is the state that was found, None for an unknown row."""

    current: str | None


MoveResult = Applied | Conflict

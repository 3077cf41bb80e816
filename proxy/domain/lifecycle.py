"""The three state machines, as tables. Theory of operation.

A deferred request that is escalated lives in a batch *and* in a call. One machine cannot say that, so there are three
small ones: what the client is owed (*request*), what we are buying (*attempt*: a line or a call), and the provider's
job (*batch*). Each is a table `(state, event) -> state`; `advance` looks a move up and raises on an unlisted pair,
leaving the state untouched. The store applies moves (`proxy.domain.moves`) with these tables, each as a
compare-and-set on the state that it finds; a move whose pair is unlisted there is a `Conflict`, a value, so that a
writer who lost a race simply changes nothing.

The machines touch in these places only, and the store applies both sides in one transaction:

- batch CREATED or FOUND: its WRITTEN attempts become SENT.
- batch ABANDONED: its WRITTEN attempts become WITHDRAWN, and their requests are queued again.
- batch PLANNED again (UPLOAD_LOST, PROVED_ABSENT): its WRITTEN attempts whose requests are final become WITHDRAWN.
- attempt ANSWERED: its request becomes DONE or FAILED, with that answer. When the request is final already the move is
  a conflict; the late answer is then SUPERSEDED: booked as waste.
- request CANCELLED or EXPIRED: its WRITTEN attempts in a batch that is still PLANNED become WITHDRAWN. Once the upload
  has started the line may be in the provider's file: it stays, is paid for, and its answer will be SUPERSEDED.
- an attempt that dies (WITHDRAWN, REFUSED, MISSING, LOST) without a living sibling puts its open request back in the
  queue.

REVOKED is how a batch of unknown fate is made impossible before its lines are sent again. Its creation may still be on
the way to the provider, from this process or from one that was paused; so its input file is deleted, without which it
cannot be created any more, and only then is its absence from the provider's list a proof.

MISSING is only said when the batch is terminal and both its files were read. What is not as clean as it could be:
a batch's lines are not counted down one by one; COLLECTED is said by the collector when no attempt of the batch is
live, and the store checks it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from proxy.domain.attempt import AttemptKind, AttemptState
from proxy.domain.batch import BatchState
from proxy.domain.errors import Bug
from proxy.domain.request import RequestState, Stage


class RequestEvent(StrEnum):
    """What can happen to what the client is owed."""

    ANSWERED = "answered"
    ANSWERED_WITH_ERROR = "answered_with_error"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class AttemptEvent(StrEnum):
    """What can happen to one purchase."""

    SENT = "sent"
    WITHDRAWN = "withdrawn"
    ANSWERED = "answered"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    MISSING = "missing"
    LOST = "lost"


class BatchEvent(StrEnum):
    """What can happen to the provider's job, as far as we know."""

    UPLOAD_STARTED = "upload_started"
    UPLOADED = "uploaded"
    UPLOAD_LOST = "upload_lost"
    CREATED = "created"
    FOUND = "found"
    INPUT_REVOKED = "input_revoked"
    PROVED_ABSENT = "proved_absent"
    ABANDONED = "abandoned"
    POLLED = "polled"
    CANCEL_REQUESTED = "cancel_requested"
    ENDED = "ended"
    VANISHED = "vanished"
    COLLECTED = "collected"
    CLEANED = "cleaned"


State = RequestState | AttemptState | BatchState
Event = RequestEvent | AttemptEvent | BatchEvent

REQUEST_MOVES: Mapping[tuple[RequestState, RequestEvent], RequestState] = {
    (RequestState.OPEN, RequestEvent.ANSWERED): RequestState.DONE,
    (RequestState.OPEN, RequestEvent.ANSWERED_WITH_ERROR): RequestState.FAILED,
    (RequestState.OPEN, RequestEvent.CANCELLED): RequestState.CANCELLED,
    (RequestState.OPEN, RequestEvent.EXPIRED): RequestState.EXPIRED,
}

ATTEMPT_MOVES: Mapping[tuple[AttemptState, AttemptEvent], AttemptState] = {
    (AttemptState.WRITTEN, AttemptEvent.SENT): AttemptState.SENT,
    (AttemptState.WRITTEN, AttemptEvent.WITHDRAWN): AttemptState.WITHDRAWN,
    (AttemptState.SENT, AttemptEvent.ANSWERED): AttemptState.ANSWERED,
    (AttemptState.SENT, AttemptEvent.SUPERSEDED): AttemptState.SUPERSEDED,
    (AttemptState.SENT, AttemptEvent.REFUSED): AttemptState.REFUSED,
    (AttemptState.SENT, AttemptEvent.MISSING): AttemptState.MISSING,
    (AttemptState.SENT, AttemptEvent.LOST): AttemptState.LOST,
}

BATCH_MOVES: Mapping[tuple[BatchState, BatchEvent], BatchState] = {
    (BatchState.PLANNED, BatchEvent.UPLOAD_STARTED): BatchState.UPLOADING,
    (BatchState.PLANNED, BatchEvent.ABANDONED): BatchState.ABANDONED,
    (BatchState.UPLOADING, BatchEvent.UPLOADED): BatchState.CREATING,
    (BatchState.UPLOADING, BatchEvent.UPLOAD_LOST): BatchState.PLANNED,
    (BatchState.UPLOADING, BatchEvent.ABANDONED): BatchState.ABANDONED,
    (BatchState.CREATING, BatchEvent.CREATED): BatchState.IN_FLIGHT,
    (BatchState.CREATING, BatchEvent.FOUND): BatchState.IN_FLIGHT,
    (BatchState.CREATING, BatchEvent.INPUT_REVOKED): BatchState.REVOKED,
    (BatchState.CREATING, BatchEvent.ABANDONED): BatchState.ABANDONED,
    (BatchState.REVOKED, BatchEvent.FOUND): BatchState.IN_FLIGHT,
    (BatchState.REVOKED, BatchEvent.PROVED_ABSENT): BatchState.PLANNED,
    (BatchState.IN_FLIGHT, BatchEvent.POLLED): BatchState.IN_FLIGHT,
    (BatchState.IN_FLIGHT, BatchEvent.CANCEL_REQUESTED): BatchState.IN_FLIGHT,
    (BatchState.IN_FLIGHT, BatchEvent.ENDED): BatchState.ENDED,
    (BatchState.IN_FLIGHT, BatchEvent.VANISHED): BatchState.ENDED,
    (BatchState.ENDED, BatchEvent.COLLECTED): BatchState.COLLECTED,
    (BatchState.COLLECTED, BatchEvent.CLEANED): BatchState.CLEANED,
}


class IllegalMove(Bug):
    """A state does not know this event."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{type(state).__name__} {state.value!r} has no move {event.value!r}")
        self.state = state
        self.event = event


def advance_request(state: RequestState, event: RequestEvent) -> RequestState:
    """The state after the event; raises `IllegalMove` on an unlisted pair."""
    if (state, event) not in REQUEST_MOVES:
        raise IllegalMove(state, event)
    return REQUEST_MOVES[state, event]


def advance_attempt(state: AttemptState, event: AttemptEvent) -> AttemptState:
    """The state after the event; raises `IllegalMove` on an unlisted pair."""
    if (state, event) not in ATTEMPT_MOVES:
        raise IllegalMove(state, event)
    return ATTEMPT_MOVES[state, event]


def advance_batch(state: BatchState, event: BatchEvent) -> BatchState:
    """The state after the event; raises `IllegalMove` on an unlisted pair."""
    if (state, event) not in BATCH_MOVES:
        raise IllegalMove(state, event)
    return BATCH_MOVES[state, event]


LIVE_ATTEMPTS = frozenset({AttemptState.WRITTEN, AttemptState.SENT})
"""Attempts that may still bring an answer."""


def request_stage(live_attempts: Iterable[tuple[AttemptKind, AttemptState]]) -> Stage:
    """The stage of an open request, from its live attempts. A call outshines a line."""
    live = set(live_attempts)
    if any(kind is AttemptKind.CALL for kind, _ in live):
        return Stage.CALLING
    if (AttemptKind.LINE, AttemptState.SENT) in live:
        return Stage.SUBMITTED
    if (AttemptKind.LINE, AttemptState.WRITTEN) in live:
        return Stage.STAGED
    return Stage.QUEUED

"""Moves as `lua/apply.lua` takes them: plain maps whose instants, amounts and counts are text.

Bodies of answers are bytes of any kind, and Lua's MessagePack knows none: they go beside the moves, which name them by
number.
"""

from collections.abc import Sequence

import msgspec

from proxy.domain import moves
from proxy.domain.batch import BatchOutcome
from proxy.domain.lifecycle import AttemptEvent, BatchEvent, RequestEvent
from proxy.domain.money import LedgerRow, to_picodollars
from proxy.store.redis_codec import answer_fields, batch_fields, changed_fields, lane_word
from proxy.store.redis_ledger import ledger_entry

Encoded = dict[str, object]


def encode(sequence: Sequence[moves.Move], keep_seconds: int) -> tuple[bytes, list[bytes]]:
    """Many moves as MessagePack, and the bodies that they name. Ledger rows are kept for `keep_seconds`."""
    bodies: list[bytes] = []
    encoded: list[Encoded] = []
    for move in sequence:
        words = {"fenced": not isinstance(move, moves.FACTS), **_words_of(move, keep_seconds)}
        if isinstance(move, moves.AttemptAnswered | moves.RequestExpired):
            bodies.append(move.answer.body)
            words["body"] = len(bodies)
        encoded.append(words)
    return msgspec.msgpack.encode(encoded), bodies


def encode_rows(rows: Sequence[LedgerRow], keep_seconds: int) -> bytes:
    """Many ledger rows as MessagePack, for `lua/book.lua`."""
    return msgspec.msgpack.encode([ledger_entry(row, keep_seconds) for row in rows])


def encode_fences(tokens: dict[str, str]) -> bytes:
    """The tokens of the leases that the caller holds, by lane."""
    return msgspec.msgpack.encode(tokens)


def _words_of(move: moves.Move, keep_seconds: int) -> Encoded:
    match move:
        case moves.RequestCancelled() | moves.RequestExpired() | moves.CallPlanned():
            return _of_request(move, keep_seconds)
        case moves.AttemptAnswered():
            return _answered(move, keep_seconds)
        case moves.BatchPlanned():
            return _planned(move)
        case moves.BatchPostponed():
            fields = changed_fields(due_at=move.due_at)
            return {"move": "postpone_batch", "batch": move.batch_id, "set": fields}
        case (
            moves.AttemptSent()
            | moves.AttemptWithdrawn()
            | moves.AttemptSuperseded()
            | moves.AttemptRefused()
            | moves.AttemptMissing()
            | moves.AttemptLost()
        ):
            return _of_attempt(move, keep_seconds)
        case _:
            return _of_batch(move)


def _of_request(move: moves.RequestCancelled | moves.RequestExpired | moves.CallPlanned, keep_seconds: int) -> Encoded:
    match move:
        case moves.CallPlanned(attempt):
            return {
                "move": "plan_call",
                "request": attempt.request_id,
                "attempt": attempt.id,
                "tier": attempt.tier.value,
                "created": repr(attempt.created_at),
            }
        case moves.RequestCancelled():
            return _unbought(move.request_id, RequestEvent.CANCELLED, move.at, [])
        case moves.RequestExpired():
            ended = _unbought(move.request_id, RequestEvent.EXPIRED, move.at, answer_fields(move.answer))
            return ended | _row(move.ledger, keep_seconds)


def _unbought(request_id: str, event: RequestEvent, at: float, fields: list[str]) -> Encoded:
    return {"move": "end_unbought", "request": request_id, "event": event.value, "at": repr(at), "set": fields}


def _answered(move: moves.AttemptAnswered, keep_seconds: int) -> Encoded:
    event = RequestEvent.ANSWERED if move.answer.succeeded else RequestEvent.ANSWERED_WITH_ERROR
    amounts = changed_fields(paid=to_picodollars(move.ledger.paid_usd), saved=to_picodollars(move.ledger.saved_usd))
    return {
        "move": "answer",
        "attempt": move.attempt_id,
        "event": event.value,
        "at": repr(move.at),
        "set": [*answer_fields(move.answer), *amounts],
        "ledger": ledger_entry(move.ledger, keep_seconds),
    }


def _of_attempt(
    move: moves.AttemptSent
    | moves.AttemptWithdrawn
    | moves.AttemptSuperseded
    | moves.AttemptRefused
    | moves.AttemptMissing
    | moves.AttemptLost,
    keep_seconds: int,
) -> Encoded:
    match move:
        case moves.AttemptSent():
            return _ends(move.attempt_id, AttemptEvent.SENT)
        case moves.AttemptWithdrawn():
            return _ends(move.attempt_id, AttemptEvent.WITHDRAWN)
        case moves.AttemptSuperseded():
            return _ends(move.attempt_id, AttemptEvent.SUPERSEDED) | _row(move.ledger, keep_seconds)
        case moves.AttemptRefused():
            back = _back(move.ready_at, move.tries_spent)
            return _ends(move.attempt_id, AttemptEvent.REFUSED) | back | _row(move.ledger, keep_seconds)
        case moves.AttemptMissing():
            back = _back(move.ready_at, move.tries_spent)
            return _ends(move.attempt_id, AttemptEvent.MISSING) | back | _row(move.ledger, keep_seconds)
        case moves.AttemptLost():
            back = _back(move.ready_at, 1)
            return _ends(move.attempt_id, AttemptEvent.LOST) | back | _row(move.ledger, keep_seconds)


def _ends(attempt_id: str, event: AttemptEvent) -> Encoded:
    return {"move": "end_attempt", "attempt": attempt_id, "event": event.value}


def _back(ready_at: float, tries_spent: int) -> Encoded:
    """The request is to be tried again."""
    return {"ready": repr(ready_at), "tries": str(tries_spent)}


def _row(row: LedgerRow | None, keep_seconds: int) -> Encoded:
    return {} if row is None else {"ledger": ledger_entry(row, keep_seconds)}


def _planned(move: moves.BatchPlanned) -> Encoded:
    return {
        "move": "plan_batch",
        "batch": move.batch.id,
        "lane": lane_word(move.batch.queue.lane),
        "set": batch_fields(move.batch),
        "attempts": [(a.id, a.request_id, a.tier.value, repr(a.created_at)) for a in move.attempts],
    }


def _of_batch(
    move: moves.UploadStarted
    | moves.Uploaded
    | moves.UploadLost
    | moves.BatchCreated
    | moves.InputRevoked
    | moves.ProvedAbsent
    | moves.BatchAbandoned
    | moves.BatchPolled
    | moves.CancelRequested
    | moves.BatchEnded
    | moves.BatchVanished
    | moves.BatchCollected
    | moves.BatchCleaned,
) -> Encoded:
    match move:
        case moves.UploadStarted():
            return _moves(move.batch_id, BatchEvent.UPLOAD_STARTED, lines=move.lines)
        case moves.Uploaded():
            return _moves(move.batch_id, BatchEvent.UPLOADED, input_file_id=move.input_file_id, creating_at=move.at)
        case moves.UploadLost():
            return _moves(move.batch_id, BatchEvent.UPLOAD_LOST, due_at=move.due_at)
        case moves.BatchCreated():
            return _moves(
                move.batch_id,
                BatchEvent.FOUND if move.found else BatchEvent.CREATED,
                provider_id=move.provider_id,
                provider_status=move.provider_status,
                submitted_at=move.at,
                due_at=move.due_at,
            )
        case moves.ProvedAbsent():
            return _moves(move.batch_id, BatchEvent.PROVED_ABSENT, due_at=move.due_at)
        case moves.InputRevoked():
            return _moves(move.batch_id, BatchEvent.INPUT_REVOKED, due_at=move.due_at)
        case moves.BatchAbandoned():
            closed = _moves(move.batch_id, BatchEvent.ABANDONED) | {"closed": repr(move.at)}
            return closed | _back(move.ready_at, move.tries_spent)
        case moves.BatchCleaned():
            return _moves(move.batch_id, BatchEvent.CLEANED) | {"closed": repr(move.at)}
        case moves.BatchCollected():
            return _moves(move.batch_id, BatchEvent.COLLECTED, due_at=move.due_at)
        case moves.CancelRequested():
            return _moves(move.batch_id, BatchEvent.CANCEL_REQUESTED, cancel_requested_at=move.at, due_at=move.due_at)
        case moves.BatchPolled() | moves.BatchEnded() | moves.BatchVanished():
            return _seen(move)


def _seen(move: moves.BatchPolled | moves.BatchEnded | moves.BatchVanished) -> Encoded:
    """What the provider says of a job."""
    if isinstance(move, moves.BatchVanished):
        lost = BatchOutcome.LOST.value
        return _moves(move.batch_id, BatchEvent.VANISHED, outcome=lost, ended_at=move.at, due_at=move.due_at)
    counts = {"completed_lines": move.completed_lines, "failed_lines": move.failed_lines}
    if isinstance(move, moves.BatchPolled):
        return _moves(
            move.batch_id, BatchEvent.POLLED, provider_status=move.provider_status, due_at=move.due_at, **counts
        )
    return _moves(
        move.batch_id,
        BatchEvent.ENDED,
        outcome=move.outcome.value,
        provider_status=move.provider_status,
        output_file_id=move.output_file_id,
        error_file_id=move.error_file_id,
        ended_at=move.at,
        due_at=move.due_at,
        **counts,
    )


def _moves(batch_id: str, event: BatchEvent, **changed: str | float | None) -> Encoded:
    return {"move": "move_batch", "batch": batch_id, "event": event.value, "set": changed_fields(**changed)}

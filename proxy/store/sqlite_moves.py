"""Every move as SQL: a compare-and-set by the tables of `domain.lifecycle`, with its coupled moves and its ledger row.

Each function runs inside a savepoint of the writer's transaction. It returns a `Conflict` before it has changed
anything, or changes everything that belongs to the move.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, cast

from proxy.domain import moves
from proxy.domain.answer import Answer
from proxy.domain.attempt import AttemptKind, AttemptState
from proxy.domain.batch import BatchOutcome, BatchState
from proxy.domain.lifecycle import (
    AttemptEvent,
    BatchEvent,
    IllegalMove,
    RequestEvent,
    advance_attempt,
    advance_batch,
    advance_request,
    request_stage,
)
from proxy.domain.money import LedgerRow, to_picodollars
from proxy.domain.moves import Applied, Conflict, MoveResult
from proxy.domain.request import RequestState, Stage
from proxy.store import codec

APPLIED = Applied()
UNKNOWN = Conflict(None)
CLOSED = frozenset({BatchState.CLEANED, BatchState.ABANDONED})
_INSERT_BATCH = f"INSERT INTO batches ({codec.BATCH}) VALUES ({codec.marks(codec.BATCH)})"
_INSERT_LEDGER = f"INSERT OR IGNORE INTO ledger ({codec.LEDGER}) VALUES ({codec.marks(codec.LEDGER)})"
_LEDGER_FIELDS = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(len(codec.LEDGER.split(","))))
_INSERT_LEDGER_ROWS = f"INSERT OR IGNORE INTO ledger ({codec.LEDGER}) SELECT {_LEDGER_FIELDS} FROM json_each(?)"
_INSERT_ATTEMPT = "INSERT INTO attempts (id, request_n, kind, tier, batch_id, created_at) VALUES (?, ?, ?, ?, ?, ?)"


def make(db: sqlite3.Connection, move: moves.Move) -> MoveResult:
    """Make one move."""
    step = cast("Callable[[sqlite3.Connection, Any], MoveResult]", _STEPS[type(move)])
    return step(db, move)


def book(db: sqlite3.Connection, row: LedgerRow) -> None:
    """Add a ledger row; one that is there already stays as it is."""
    db.execute(_INSERT_LEDGER, codec.ledger_row(row))


def book_all(db: sqlite3.Connection, rows: bytes) -> None:
    """Add ledger rows, given as JSON arrays of the `LEDGER` columns.

    One statement for all: SQLite then works without the interpreter's lock, which a statement per row would take from
    the event loop again and again.
    """
    db.execute(_INSERT_LEDGER_ROWS, (rows,))


def _request_cancelled(db: sqlite3.Connection, move: moves.RequestCancelled) -> MoveResult:
    return _end_without_purchase(db, move.request_id, RequestEvent.CANCELLED, move.at, None)


def _request_expired(db: sqlite3.Connection, move: moves.RequestExpired) -> MoveResult:
    return _end_without_purchase(db, move.request_id, RequestEvent.EXPIRED, move.at, move.answer)


def _end_without_purchase(
    db: sqlite3.Connection, request_id: str, event: RequestEvent, at: float, answer: Answer | None
) -> MoveResult:
    row = db.execute("SELECT n, state FROM requests WHERE id = ?", (request_id,)).fetchone()
    if row is None:
        return UNKNOWN
    try:
        state = advance_request(RequestState(row["state"]), event)
    except IllegalMove as illegal:
        return Conflict(illegal.state.value)
    db.execute(
        "UPDATE attempts SET state = 'withdrawn' WHERE request_n = ? AND state = 'written' AND (kind = 'call' OR "
        "(SELECT state FROM batches WHERE batches.id = attempts.batch_id) = 'planned')",
        (row["n"],),
    )
    db.execute("UPDATE requests SET state = ?, finished_at = ? WHERE n = ?", (state.value, at, row["n"]))
    if answer is not None:
        db.execute(
            "UPDATE requests SET status = ?, answer_headers = ?, answer_body = ?, tier = ? WHERE n = ?",
            (answer.status, codec.answer_headers(answer), answer.body, answer.tier.value, row["n"]),
        )
    return APPLIED


def _call_planned(db: sqlite3.Connection, move: moves.CallPlanned) -> MoveResult:
    attempt = move.attempt
    row = db.execute("SELECT n, state, stage FROM requests WHERE id = ?", (attempt.request_id,)).fetchone()
    if row is None:
        return UNKNOWN
    if row["state"] != RequestState.OPEN:
        return Conflict(row["state"])
    if row["stage"] == Stage.CALLING:
        return Conflict(row["stage"])
    db.execute(
        _INSERT_ATTEMPT, (attempt.id, row["n"], attempt.kind.value, attempt.tier.value, None, attempt.created_at)
    )
    db.execute("UPDATE requests SET stage = 'calling' WHERE n = ?", (row["n"],))
    return APPLIED


def _attempt_sent(db: sqlite3.Connection, move: moves.AttemptSent) -> MoveResult:
    return _end_attempt(db, move.attempt_id, AttemptEvent.SENT)


def _attempt_withdrawn(db: sqlite3.Connection, move: moves.AttemptWithdrawn) -> MoveResult:
    return _end_attempt(db, move.attempt_id, AttemptEvent.WITHDRAWN)


def _attempt_superseded(db: sqlite3.Connection, move: moves.AttemptSuperseded) -> MoveResult:
    return _end_attempt(db, move.attempt_id, AttemptEvent.SUPERSEDED, ledger=move.ledger)


def _attempt_refused(db: sqlite3.Connection, move: moves.AttemptRefused) -> MoveResult:
    return _end_attempt(
        db,
        move.attempt_id,
        AttemptEvent.REFUSED,
        ready_at=move.ready_at,
        tries_spent=move.tries_spent,
        ledger=move.ledger,
    )


def _attempt_missing(db: sqlite3.Connection, move: moves.AttemptMissing) -> MoveResult:
    return _end_attempt(db, move.attempt_id, AttemptEvent.MISSING, ready_at=move.ready_at, tries_spent=move.tries_spent)


def _attempt_lost(db: sqlite3.Connection, move: moves.AttemptLost) -> MoveResult:
    return _end_attempt(
        db, move.attempt_id, AttemptEvent.LOST, ready_at=move.ready_at, tries_spent=1, ledger=move.ledger
    )


def _end_attempt(
    db: sqlite3.Connection,
    attempt_id: str,
    event: AttemptEvent,
    *,
    ready_at: float | None = None,
    tries_spent: int = 0,
    ledger: LedgerRow | None = None,
) -> MoveResult:
    row = db.execute("SELECT n, request_n, state FROM attempts WHERE id = ?", (attempt_id,)).fetchone()
    if row is None:
        return UNKNOWN
    try:
        state = advance_attempt(AttemptState(row["state"]), event)
    except IllegalMove as illegal:
        return Conflict(illegal.state.value)
    db.execute("UPDATE attempts SET state = ? WHERE n = ?", (state.value, row["n"]))
    if ready_at is not None:
        db.execute(
            "UPDATE requests SET ready_at = ?, tries = tries + ? WHERE n = ?", (ready_at, tries_spent, row["request_n"])
        )
    _restage(db, row["request_n"])
    if ledger is not None:
        book(db, ledger)
    return APPLIED


def _restage(db: sqlite3.Connection, request_n: int) -> None:
    """Bring the cached stage (and batch) of an open request in line with its live attempts."""
    live = db.execute(
        "SELECT kind, state, batch_id FROM attempts WHERE request_n = ? AND state IN ('written', 'sent')", (request_n,)
    ).fetchall()
    stage = request_stage((AttemptKind(row["kind"]), AttemptState(row["state"])) for row in live)
    batch_id = next((row["batch_id"] for row in live if row["batch_id"] is not None), None)
    db.execute(
        "UPDATE requests SET stage = ?, batch_id = ? WHERE n = ? AND state = 'open'",
        (stage.value, batch_id, request_n),
    )


def _attempt_answered(db: sqlite3.Connection, move: moves.AttemptAnswered) -> MoveResult:
    row = db.execute(
        "SELECT attempts.n AS n, request_n, attempts.state AS state, attempts.batch_id AS batch_id, "
        "requests.state AS request_state FROM attempts JOIN requests ON requests.n = request_n WHERE attempts.id = ?",
        (move.attempt_id,),
    ).fetchone()
    if row is None:
        return UNKNOWN
    answer = move.answer
    event = RequestEvent.ANSWERED if answer.succeeded else RequestEvent.ANSWERED_WITH_ERROR
    try:
        attempt_state = advance_attempt(AttemptState(row["state"]), AttemptEvent.ANSWERED)
        request_state = advance_request(RequestState(row["request_state"]), event)
    except IllegalMove as illegal:
        return Conflict(illegal.state.value)
    db.execute("UPDATE attempts SET state = ? WHERE n = ?", (attempt_state.value, row["n"]))
    db.execute(
        "UPDATE requests SET state = ?, finished_at = ?, status = ?, tier = ?, paid = ?, saved = ?, batch_id = ?, "
        "answer_headers = ?, answer_body = ? WHERE n = ?",
        (
            request_state.value,
            move.at,
            answer.status,
            answer.tier.value,
            to_picodollars(move.ledger.paid_usd),
            to_picodollars(move.ledger.saved_usd),
            row["batch_id"],
            codec.answer_headers(answer),
            answer.body,
            row["request_n"],
        ),
    )
    book(db, move.ledger)
    return APPLIED


def _batch_planned(db: sqlite3.Connection, move: moves.BatchPlanned) -> MoveResult:
    """All or nothing: one request that is not open and queued any more, and the batch is not planned."""
    rows: list[tuple[object, ...]] = []
    for attempt in move.attempts:
        row = db.execute("SELECT n, state, stage FROM requests WHERE id = ?", (attempt.request_id,)).fetchone()
        if row is None:
            return UNKNOWN
        if row["state"] != RequestState.OPEN or row["stage"] != Stage.QUEUED:
            return Conflict(row["state"] if row["state"] != RequestState.OPEN else row["stage"])
        rows.append((attempt.id, row["n"], attempt.kind.value, attempt.tier.value, move.batch.id, attempt.created_at))
    db.execute(_INSERT_BATCH, codec.batch_row(move.batch))
    db.executemany(_INSERT_ATTEMPT, rows)
    db.executemany(
        "UPDATE requests SET stage = 'staged', batch_id = ? WHERE n = ?", [(move.batch.id, row[1]) for row in rows]
    )
    return APPLIED


def _upload_started(db: sqlite3.Connection, move: moves.UploadStarted) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.UPLOAD_STARTED)


def _uploaded(db: sqlite3.Connection, move: moves.Uploaded) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.UPLOADED, input_file_id=move.input_file_id, creating_at=move.at)


def _upload_lost(db: sqlite3.Connection, move: moves.UploadLost) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.UPLOAD_LOST, due_at=move.due_at)


def _batch_created(db: sqlite3.Connection, move: moves.BatchCreated) -> MoveResult:
    result = _move_batch(
        db,
        move.batch_id,
        BatchEvent.FOUND if move.found else BatchEvent.CREATED,
        provider_id=move.provider_id,
        provider_status=move.provider_status,
        submitted_at=move.at,
        due_at=move.due_at,
    )
    if isinstance(result, Applied):
        _send_lines(db, move.batch_id)
    return result


def _send_lines(db: sqlite3.Connection, batch_id: str) -> None:
    """Every written line of the batch is at the provider now. A request that is being called stays so."""
    db.execute(
        "UPDATE requests SET stage = 'submitted' WHERE state = 'open' AND stage = 'staged' AND n IN "
        "(SELECT request_n FROM attempts WHERE batch_id = ? AND state = 'written')",
        (batch_id,),
    )
    db.execute("UPDATE attempts SET state = 'sent' WHERE batch_id = ? AND state = 'written'", (batch_id,))


def _proved_absent(db: sqlite3.Connection, move: moves.ProvedAbsent) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.PROVED_ABSENT, due_at=move.due_at, creating_at=move.at)


def _batch_abandoned(db: sqlite3.Connection, move: moves.BatchAbandoned) -> MoveResult:
    result = _move_batch(db, move.batch_id, BatchEvent.ABANDONED, closed_at=move.at)
    if not isinstance(result, Applied):
        return result
    db.execute(
        "UPDATE requests SET ready_at = ?, tries = tries + ? WHERE n IN "
        "(SELECT request_n FROM attempts WHERE batch_id = ? AND state = 'written')",
        (move.ready_at, move.tries_spent, move.batch_id),
    )
    db.execute(
        "UPDATE requests SET stage = CASE stage WHEN 'staged' THEN 'queued' ELSE stage END, batch_id = NULL "
        "WHERE state = 'open' AND n IN (SELECT request_n FROM attempts WHERE batch_id = ? AND state = 'written')",
        (move.batch_id,),
    )
    db.execute("UPDATE attempts SET state = 'withdrawn' WHERE batch_id = ? AND state = 'written'", (move.batch_id,))
    return result


def _batch_polled(db: sqlite3.Connection, move: moves.BatchPolled) -> MoveResult:
    return _move_batch(
        db,
        move.batch_id,
        BatchEvent.POLLED,
        provider_status=move.provider_status,
        completed_lines=move.completed_lines,
        failed_lines=move.failed_lines,
        due_at=move.due_at,
    )


def _cancel_requested(db: sqlite3.Connection, move: moves.CancelRequested) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.CANCEL_REQUESTED, cancel_requested_at=move.at, due_at=move.due_at)


def _batch_ended(db: sqlite3.Connection, move: moves.BatchEnded) -> MoveResult:
    return _move_batch(
        db,
        move.batch_id,
        BatchEvent.ENDED,
        outcome=move.outcome.value,
        provider_status=move.provider_status,
        completed_lines=move.completed_lines,
        failed_lines=move.failed_lines,
        output_file_id=move.output_file_id,
        error_file_id=move.error_file_id,
        ended_at=move.at,
        due_at=move.due_at,
    )


def _batch_vanished(db: sqlite3.Connection, move: moves.BatchVanished) -> MoveResult:
    return _move_batch(
        db,
        move.batch_id,
        BatchEvent.VANISHED,
        outcome=BatchOutcome.LOST.value,
        ended_at=move.at,
        due_at=move.due_at,
    )


def _batch_collected(db: sqlite3.Connection, move: moves.BatchCollected) -> MoveResult:
    live = db.execute(
        "SELECT 1 FROM attempts WHERE batch_id = ? AND state IN ('written', 'sent') LIMIT 1", (move.batch_id,)
    ).fetchone()
    if live is not None:
        return Conflict(BatchState.ENDED.value)
    return _move_batch(db, move.batch_id, BatchEvent.COLLECTED, due_at=move.due_at)


def _batch_cleaned(db: sqlite3.Connection, move: moves.BatchCleaned) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.CLEANED, closed_at=move.at)


def _batch_postponed(db: sqlite3.Connection, move: moves.BatchPostponed) -> MoveResult:
    row = db.execute("SELECT n, state FROM batches WHERE id = ?", (move.batch_id,)).fetchone()
    if row is None:
        return UNKNOWN
    if BatchState(row["state"]) in CLOSED:
        return Conflict(row["state"])
    db.execute("UPDATE batches SET due_at = ? WHERE n = ?", (move.due_at, row["n"]))
    return APPLIED


def _move_batch(db: sqlite3.Connection, batch_id: str, event: BatchEvent, **changed: object) -> MoveResult:
    """Advance a batch and set the columns that the move brings. The names come from this module alone."""
    row = db.execute("SELECT n, state FROM batches WHERE id = ?", (batch_id,)).fetchone()
    if row is None:
        return UNKNOWN
    try:
        state = advance_batch(BatchState(row["state"]), event)
    except IllegalMove as illegal:
        return Conflict(illegal.state.value)
    columns = "".join(f", {name} = ?" for name in changed)
    db.execute(f"UPDATE batches SET state = ?{columns} WHERE n = ?", (state.value, *changed.values(), row["n"]))
    return APPLIED


_STEPS: dict[type, object] = {
    moves.RequestCancelled: _request_cancelled,
    moves.RequestExpired: _request_expired,
    moves.CallPlanned: _call_planned,
    moves.AttemptSent: _attempt_sent,
    moves.AttemptWithdrawn: _attempt_withdrawn,
    moves.AttemptAnswered: _attempt_answered,
    moves.AttemptSuperseded: _attempt_superseded,
    moves.AttemptRefused: _attempt_refused,
    moves.AttemptMissing: _attempt_missing,
    moves.AttemptLost: _attempt_lost,
    moves.BatchPlanned: _batch_planned,
    moves.UploadStarted: _upload_started,
    moves.Uploaded: _uploaded,
    moves.UploadLost: _upload_lost,
    moves.BatchCreated: _batch_created,
    moves.ProvedAbsent: _proved_absent,
    moves.BatchAbandoned: _batch_abandoned,
    moves.BatchPolled: _batch_polled,
    moves.CancelRequested: _cancel_requested,
    moves.BatchEnded: _batch_ended,
    moves.BatchVanished: _batch_vanished,
    moves.BatchCollected: _batch_collected,
    moves.BatchCleaned: _batch_cleaned,
    moves.BatchPostponed: _batch_postponed,
}

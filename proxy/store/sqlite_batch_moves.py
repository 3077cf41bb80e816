"""Every move of a batch as SQL, with what it does to its lines. See `proxy.store.sqlite_moves`."""

import sqlite3

from proxy.domain import moves
from proxy.domain.batch import BatchOutcome, BatchState
from proxy.domain.lifecycle import BatchEvent, IllegalMove, advance_batch
from proxy.domain.moves import Applied, Conflict, MoveResult
from proxy.domain.request import RequestState, Stage
from proxy.store import codec

APPLIED = Applied()
UNKNOWN = Conflict(None)
CLOSED = frozenset({BatchState.CLEANED, BatchState.ABANDONED})
_INSERT_BATCH = f"INSERT INTO batches ({codec.BATCH}) VALUES ({codec.marks(codec.BATCH)})"
INSERT_ATTEMPT = "INSERT INTO attempts (id, request_n, kind, tier, batch_id, created_at) VALUES (?, ?, ?, ?, ?, ?)"


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
    db.executemany(INSERT_ATTEMPT, rows)
    db.execute(  # one statement: with one per row SQLite needs 30 s for 50,000, because of the trigger on this table
        "UPDATE requests SET stage = 'staged', batch_id = ?1 WHERE n IN (SELECT request_n FROM attempts WHERE "
        "batch_id = ?1 AND state = 'written')",
        (move.batch.id,),
    )
    return APPLIED


def _upload_started(db: sqlite3.Connection, move: moves.UploadStarted) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.UPLOAD_STARTED, lines=move.lines)


def _uploaded(db: sqlite3.Connection, move: moves.Uploaded) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.UPLOADED, input_file_id=move.input_file_id, creating_at=move.at)


def _upload_lost(db: sqlite3.Connection, move: moves.UploadLost) -> MoveResult:
    return _plan_again(db, move.batch_id, BatchEvent.UPLOAD_LOST, move.due_at)


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


def _input_revoked(db: sqlite3.Connection, move: moves.InputRevoked) -> MoveResult:
    return _move_batch(db, move.batch_id, BatchEvent.INPUT_REVOKED, due_at=move.due_at)


def _proved_absent(db: sqlite3.Connection, move: moves.ProvedAbsent) -> MoveResult:
    return _plan_again(db, move.batch_id, BatchEvent.PROVED_ABSENT, move.due_at)


def _plan_again(db: sqlite3.Connection, batch_id: str, event: BatchEvent, due_at: float) -> MoveResult:
    """Its lines go out anew, but for those that nobody wants any more."""
    result = _move_batch(db, batch_id, event, due_at=due_at)
    if isinstance(result, Applied):
        db.execute(
            "UPDATE attempts SET state = 'withdrawn' WHERE batch_id = ? AND state = 'written' AND "
            "(SELECT state FROM requests WHERE n = request_n) != 'open'",
            (batch_id,),
        )
    return result


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
    ended = db.execute("SELECT state FROM batches WHERE id = ? AND state = 'ended'", (move.batch_id,)).fetchone()
    live = db.execute(
        "SELECT 1 FROM attempts WHERE batch_id = ? AND state IN ('written', 'sent') LIMIT 1", (move.batch_id,)
    ).fetchone()
    if ended is not None and live is not None:
        return Conflict(ended["state"])
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


STEPS: dict[type, object] = {
    moves.BatchPlanned: _batch_planned,
    moves.UploadStarted: _upload_started,
    moves.Uploaded: _uploaded,
    moves.UploadLost: _upload_lost,
    moves.BatchCreated: _batch_created,
    moves.InputRevoked: _input_revoked,
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
"""What makes each move of a batch: a function of a connection and the move."""

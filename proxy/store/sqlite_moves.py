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
from proxy.domain.lifecycle import (
    AttemptEvent,
    IllegalMove,
    RequestEvent,
    advance_attempt,
    advance_request,
    request_stage,
)
from proxy.domain.money import LedgerRow, to_picodollars
from proxy.domain.moves import Conflict, MoveResult
from proxy.domain.request import RequestState, Stage
from proxy.store import codec, sqlite_batch_moves
from proxy.store.sqlite_batch_moves import APPLIED, INSERT_ATTEMPT, UNKNOWN

_INSERT_LEDGER = f"INSERT OR IGNORE INTO ledger ({codec.LEDGER}) VALUES ({codec.marks(codec.LEDGER)})"
_LEDGER_FIELDS = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(len(codec.LEDGER.split(","))))
_INSERT_LEDGER_ROWS = f"INSERT OR IGNORE INTO ledger ({codec.LEDGER}) SELECT {_LEDGER_FIELDS} FROM json_each(?)"


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
    result = _end_without_purchase(db, move.request_id, RequestEvent.EXPIRED, move.at, move.answer)
    if result == APPLIED:
        book(db, move.ledger)
    return result


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
    db.execute(INSERT_ATTEMPT, (attempt.id, row["n"], attempt.kind.value, attempt.tier.value, None, attempt.created_at))
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
    return _end_attempt(
        db,
        move.attempt_id,
        AttemptEvent.MISSING,
        ready_at=move.ready_at,
        tries_spent=move.tries_spent,
        ledger=move.ledger,
    )


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


_STEPS: dict[type, object] = {
    **sqlite_batch_moves.STEPS,
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
}

from typing import Any, get_args

import msgspec
import pytest

from proxy.domain import moves
from proxy.domain.batch import BatchOutcome
from proxy.domain.ids import AttemptId, BatchId, RequestId
from proxy.domain.lifecycle import BATCH_MOVES, AttemptEvent, BatchEvent
from proxy.store.redis_moves import encode
from tests.store.samples import answer, batch, call_for, expired, ledger, line_of, request

BATCH, ATTEMPT, REQUEST = BatchId("b"), AttemptId("a"), RequestId("r")
ONE = request()
MADE = batch()
MOVES: list[moves.Move] = [
    moves.RequestCancelled(REQUEST, 1.0),
    moves.RequestExpired(REQUEST, 1.0, answer(504, b"\x00late"), expired(ONE, 1.0)),
    moves.CallPlanned(call_for(ONE)),
    moves.AttemptSent(ATTEMPT, 1.0),
    moves.AttemptWithdrawn(ATTEMPT, 1.0),
    moves.AttemptAnswered(ATTEMPT, 1.0, answer(200, b"\xffbody"), ledger(call_for(ONE))),
    moves.AttemptSuperseded(ATTEMPT, 1.0, ledger(call_for(ONE))),
    moves.AttemptRefused(ATTEMPT, 1.0, 2.0, 1),
    moves.AttemptMissing(ATTEMPT, 1.0, 2.0, 0),
    moves.AttemptLost(ATTEMPT, 1.0, 2.0, ledger(call_for(ONE))),
    moves.BatchPlanned(MADE, (line_of(ONE, MADE),)),
    moves.UploadStarted(BATCH, 1.0, 1),
    moves.Uploaded(BATCH, 1.0, "file-1"),
    moves.UploadLost(BATCH, 1.0, 2.0),
    moves.BatchCreated(BATCH, 1.0, "batch_1", "validating", 2.0, found=True),
    moves.InputRevoked(BATCH, 1.0, 2.0),
    moves.ProvedAbsent(BATCH, 1.0, 2.0),
    moves.BatchAbandoned(BATCH, 1.0, 2.0, 1),
    moves.BatchPolled(BATCH, 1.0, "in_progress", 1, 0, 2.0),
    moves.CancelRequested(BATCH, 1.0, 2.0),
    moves.BatchEnded(BATCH, 1.0, BatchOutcome.COMPLETED, "completed", 1, 0, "out", None, 2.0),
    moves.BatchVanished(BATCH, 1.0, 2.0),
    moves.BatchCollected(BATCH, 1.0, 2.0),
    moves.BatchCleaned(BATCH, 1.0),
    moves.BatchPostponed(BATCH, 2.0),
]


def encoded(move: moves.Move) -> tuple[dict[str, Any], list[bytes]]:
    packed, bodies = encode([move], keep_seconds=60)
    (words,) = msgspec.msgpack.decode(packed)
    return words, bodies


def test_every_move_that_exists_is_here() -> None:
    assert {type(move) for move in MOVES} == set(get_args(moves.Move))


@pytest.mark.parametrize("move", MOVES, ids=lambda move: type(move).__name__)
def test_no_number_is_left_to_luas_doubles(move: moves.Move) -> None:
    """Instants and amounts are text; only how long a row is kept, and the number of a body, are small integers."""
    words, _ = encoded(move)

    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for name, inner in value.items() if name not in {"keep", "body"} for n in numbers(inner)]
        if isinstance(value, list):
            return [n for inner in value for n in numbers(inner)]
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []

    assert numbers(words) == []


@pytest.mark.parametrize("move", MOVES, ids=lambda move: type(move).__name__)
def test_what_acts_on_a_lane_is_fenced_and_what_is_a_fact_is_not(move: moves.Move) -> None:
    words, _ = encoded(move)
    assert words["fenced"] is not isinstance(move, moves.FACTS)


def test_events_of_batches_are_those_of_the_state_machine() -> None:
    events = {encoded(move)[0].get("event") for move in MOVES} - {None}
    of_batches = {event.value for _, event in BATCH_MOVES} - {BatchEvent.CREATED.value}
    of_attempts = {event.value for event in AttemptEvent}
    assert of_batches <= events
    assert of_attempts <= events


def test_bodies_go_beside_the_moves_and_are_named_by_number() -> None:
    first = moves.AttemptAnswered(ATTEMPT, 1.0, answer(200, b"\xffone"), ledger(call_for(ONE)))
    second = moves.RequestExpired(REQUEST, 1.0, answer(504, b"\x00two"), expired(ONE, 1.0))
    packed, bodies = encode([moves.AttemptSent(ATTEMPT, 1.0), first, second], keep_seconds=60)
    assert [words.get("body") for words in msgspec.msgpack.decode(packed)] == [None, 1, 2]
    assert bodies == [b"\xffone", b"\x00two"]

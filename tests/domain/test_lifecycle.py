"""The three machines, judged from their tables alone."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest

from proxy.domain.attempt import AttemptKind, AttemptState
from proxy.domain.batch import BatchState
from proxy.domain.lifecycle import (
    ATTEMPT_MOVES,
    BATCH_MOVES,
    LIVE_ATTEMPTS,
    REQUEST_MOVES,
    AttemptEvent,
    BatchEvent,
    IllegalMove,
    RequestEvent,
    advance_attempt,
    advance_batch,
    advance_request,
    request_stage,
)
from proxy.domain.request import RequestState, Stage

Machine = tuple[Mapping[tuple[Any, Any], Any], list[Any], list[Any], Any, Callable[[Any, Any], Any]]
MACHINES: list[Machine] = [
    (REQUEST_MOVES, list(RequestState), list(RequestEvent), RequestState.OPEN, advance_request),
    (ATTEMPT_MOVES, list(AttemptState), list(AttemptEvent), AttemptState.WRITTEN, advance_attempt),
    (BATCH_MOVES, list(BatchState), list(BatchEvent), BatchState.PLANNED, advance_batch),
]
LINE, CALL = AttemptKind.LINE, AttemptKind.CALL


def _reachable(table: Mapping[tuple[Any, Any], Any], start: Any) -> set[Any]:
    found, waiting = {start}, [start]
    while waiting:
        state = waiting.pop()
        onward = {after for (before, _), after in table.items() if before is state} - found
        found |= onward
        waiting += onward
    return found


@pytest.mark.parametrize("machine", MACHINES, ids=["request", "attempt", "batch"])
def test_every_state_is_reachable_and_every_living_one_can_end(machine: Machine) -> None:
    table, states, _, start, _ = machine
    assert _reachable(table, start) == set(states)
    living = {before for before, _ in table}
    for state in living:
        assert _reachable(table, state) - living, f"{state} never ends"


@pytest.mark.parametrize("machine", MACHINES, ids=["request", "attempt", "batch"])
def test_a_listed_move_is_made_and_any_other_raises_naming_both(machine: Machine) -> None:
    table, states, events, _, advance = machine
    for state, event in product(states, events):
        if (state, event) in table:
            assert advance(state, event) is table[state, event]
            continue
        with pytest.raises(IllegalMove, match=f"'{state.value}' has no move '{event.value}'"):
            advance(state, event)


def test_live_attempts_are_those_that_can_still_move() -> None:
    assert {before for before, _ in ATTEMPT_MOVES} == LIVE_ATTEMPTS


@pytest.mark.parametrize(
    ("live", "stage"),
    [
        ([], Stage.QUEUED),
        ([(LINE, AttemptState.WRITTEN)], Stage.STAGED),
        ([(LINE, AttemptState.SENT)], Stage.SUBMITTED),
        ([(CALL, AttemptState.WRITTEN)], Stage.CALLING),
        ([(LINE, AttemptState.SENT), (CALL, AttemptState.SENT)], Stage.CALLING),
        ([(LINE, AttemptState.WRITTEN), (CALL, AttemptState.SENT)], Stage.CALLING),
    ],
)
def test_the_stage_of_a_request_follows_from_its_live_attempts(
    live: list[tuple[AttemptKind, AttemptState]], stage: Stage
) -> None:
    assert request_stage(live) is stage

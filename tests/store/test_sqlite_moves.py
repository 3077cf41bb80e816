"""Random lives of requests: whatever happens in whatever order, the cached stage and the books are right."""

import asyncio
import tempfile
from pathlib import Path
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.attempt import Attempt, AttemptKind, AttemptState
from proxy.domain.batch import Batch
from proxy.domain.lifecycle import request_stage
from proxy.domain.money import Purchase
from proxy.domain.moves import (
    AttemptAnswered,
    AttemptLost,
    AttemptMissing,
    AttemptRefused,
    AttemptSent,
    AttemptSuperseded,
    AttemptWithdrawn,
    BatchAbandoned,
    BatchPlanned,
    CallPlanned,
    Move,
    RequestCancelled,
    RequestExpired,
)
from proxy.domain.request import Request
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite_moves import _STEPS
from tests.store.samples import accepted, answer, batch, call_for, create, expired, ledger, line_of, request

STEPS = (
    *("plan", "create", "abandon", "call", "send", "answer", "refuse", "miss"),
    *("lose", "withdraw", "supersede", "cancel", "expire"),
)


def test_every_move_that_exists_can_be_made() -> None:
    assert set(_STEPS) == set(get_args(Move))


class _Lives:
    """Two requests, and everything that was ever attempted for them."""

    def __init__(self) -> None:
        self.requests = [request(), request()]
        self.batches: list[Batch] = []
        self.attempts: list[Attempt] = []

    async def step(self, store: SqliteStore, name: str, number: int) -> None:
        one = self.requests[number % 2]
        match name:
            case "plan":
                made = batch()
                line = line_of(one, made)
                self.batches.append(made)
                self.attempts.append(line)
                await store.apply([BatchPlanned(made, (line,))])
            case "call":
                call = call_for(one)
                self.attempts.append(call)
                await store.apply([CallPlanned(call)])
            case "create" if self.batches:
                await create(store, self.batches[number % len(self.batches)])
            case "abandon" if self.batches:
                made = self.batches[number % len(self.batches)]
                await store.apply([BatchAbandoned(made.id, 120.0, ready_at=120.0, tries_spent=1)])
            case "cancel":
                await store.apply([RequestCancelled(one.id, 140.0)])
            case "expire":
                await store.apply([RequestExpired(one.id, 140.0, answer(504), expired(one, 140.0))])
            case _ if self.attempts:
                await store.apply([_end(name, self.attempts[number % len(self.attempts)])])
            case _:
                return


def _end(name: str, attempt: Attempt) -> Move:
    match name:
        case "send":
            return AttemptSent(attempt.id, 121.0)
        case "answer":
            return AttemptAnswered(attempt.id, 130.0, answer(), ledger(attempt))
        case "refuse":
            return AttemptRefused(attempt.id, 130.0, ready_at=130.0, tries_spent=1)
        case "miss":
            return AttemptMissing(attempt.id, 130.0, ready_at=130.0, tries_spent=0)
        case "lose":
            return AttemptLost(attempt.id, 130.0, 130.0, ledger(attempt, kind=Purchase.FAILED, paid=None))
        case "supersede":
            return AttemptSuperseded(attempt.id, 130.0, ledger(attempt, kind=Purchase.DUPLICATE))
        case _:
            return AttemptWithdrawn(attempt.id, 130.0)


async def _check(store: SqliteStore, lives: _Lives, finals: dict[str, str]) -> None:
    for one in lives.requests:
        view = await store.get(one.id)
        assert view is not None
        attempts = await _attempts(store, one)
        live = [(kind, state) for kind, state in attempts if state in {AttemptState.WRITTEN, AttemptState.SENT}]
        if view.state == "open":
            assert view.stage is request_stage(live)
        answered = [state for _, state in attempts if state is AttemptState.ANSWERED]
        assert len(answered) == (1 if view.state == "done" else 0)
        assert finals.setdefault(one.id, view.state) in {"open", view.state}
        finals[one.id] = view.state
        primary = [row for row in await store.ledger_rows(one.id) if row.kind is Purchase.PRIMARY]
        assert len(primary) == len(answered)


async def _attempts(store: SqliteStore, one: Request) -> list[tuple[AttemptKind, AttemptState]]:
    def work(db: object) -> list[tuple[AttemptKind, AttemptState]]:
        rows = db.execute(  # type: ignore[attr-defined]  # the writer's own connection
            "SELECT kind, attempts.state AS state FROM attempts JOIN requests ON requests.n = request_n "
            "WHERE requests.id = ?",
            (one.id,),
        )
        return [(AttemptKind(row["kind"]), AttemptState(row["state"])) for row in rows]

    return await store._reads.do(work)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), max_size=40))
def test_in_any_order_of_events_stages_answers_and_books_agree(steps: list[tuple[str, int]]) -> None:
    async def story(folder: str) -> None:
        store = SqliteStore(Path(folder) / "a.db", SystemClock())
        await store.start()
        lives, finals = _Lives(), dict[str, str]()
        await accepted(store, *lives.requests)
        for name, number in steps:
            await lives.step(store, name, number)
        await _check(store, lives, finals)
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(folder))

"""Any sequence of moves, legal or not, gives the same results and leaves the same state in both engines."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain import moves
from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptKind, AttemptState, Line
from proxy.domain.batch import Batch, BatchOutcome
from proxy.domain.ids import BatchId
from proxy.domain.lifecycle import request_stage
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.request import Request, RequestView, Waiting
from proxy.runtime.clock import SystemClock
from proxy.store.interface import LedgerTotal, Store
from proxy.store.redis import RedisStore
from proxy.store.redis import Settings as RedisSettings
from proxy.store.sqlite import SqliteStore
from tests.conftest import Servers
from tests.store.samples import answer, batch, call_for, expired, ledger, line_of, request

_namespaces = count()
Number = st.integers(0, 5)


@dataclass
class Script:
    """What was made so far: later moves pick from it by number, whatever its state."""

    requests: list[Request] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    at: float = 100.0

    def request(self, number: int) -> Request:
        return self.requests[number % len(self.requests)]

    def attempt(self, number: int) -> Attempt:
        return self.attempts[number % len(self.attempts)] if self.attempts else call_for(self.requests[0])

    def batch(self, number: int) -> BatchId:
        return self.batches[number % len(self.batches)].id if self.batches else BatchId("none")

    def plan_call(self, number: int) -> moves.Move:
        self.attempts.append(call_for(self.request(number)))
        return moves.CallPlanned(self.attempts[-1])

    def plan_batch(self, number: int) -> moves.Move:
        made = batch(lines=2)
        wanted = {self.request(number).id: self.request(number), self.request(number + 1).id: self.request(number + 1)}
        lines = [line_of(one, made) for one in wanted.values()]
        self.batches.append(made)
        self.attempts += lines
        return moves.BatchPlanned(made, tuple(lines))


Make = Callable[[Script, int], moves.Move]
MAKERS: list[Make] = [
    lambda s, n: s.plan_call(n),
    lambda s, n: s.plan_batch(n),
    lambda s, n: s.plan_batch(n),
    lambda s, n: moves.RequestCancelled(s.request(n).id, s.at),
    lambda s, n: moves.RequestExpired(s.request(n).id, s.at, answer(504), expired(s.request(n), s.at)),
    lambda s, n: moves.AttemptSent(s.attempt(n).id, s.at),
    lambda s, n: moves.AttemptWithdrawn(s.attempt(n).id, s.at),
    lambda s, n: moves.AttemptAnswered(s.attempt(n).id, s.at, answer(200 + 200 * (n % 2)), ledger(s.attempt(n))),
    lambda s, n: moves.AttemptAnswered(s.attempt(n).id, s.at, answer(), ledger(s.attempt(n), paid=None)),
    lambda s, n: moves.AttemptSuperseded(s.attempt(n).id, s.at, ledger(s.attempt(n), kind=Purchase.DUPLICATE)),
    lambda s, n: moves.AttemptRefused(s.attempt(n).id, s.at, s.at + n, n % 3),
    lambda s, n: moves.AttemptMissing(s.attempt(n).id, s.at, s.at + n, n % 2),
    lambda s, n: moves.AttemptLost(s.attempt(n).id, s.at, s.at, ledger(s.attempt(n), kind=Purchase.FAILED)),
    lambda s, n: moves.UploadStarted(s.batch(n), s.at, 2),
    lambda s, n: moves.Uploaded(s.batch(n), s.at, "file"),
    lambda s, n: moves.UploadLost(s.batch(n), s.at, s.at),
    lambda s, n: moves.BatchCreated(s.batch(n), s.at, "b", "validating", s.at, found=bool(n % 2)),
    lambda s, n: moves.InputRevoked(s.batch(n), s.at, s.at),
    lambda s, n: moves.ProvedAbsent(s.batch(n), s.at, s.at),
    lambda s, n: moves.BatchAbandoned(s.batch(n), s.at, s.at + n, n % 2),
    lambda s, n: moves.BatchPolled(s.batch(n), s.at, "in_progress", n, 0, s.at),
    lambda s, n: moves.CancelRequested(s.batch(n), s.at, s.at),
    lambda s, n: moves.BatchEnded(s.batch(n), s.at, BatchOutcome.EXPIRED, "expired", n, 0, "out", None, s.at),
    lambda s, n: moves.BatchVanished(s.batch(n), s.at, s.at),
    lambda s, n: moves.BatchCollected(s.batch(n), s.at, s.at),
    lambda s, n: moves.BatchCleaned(s.batch(n), s.at),
    lambda s, n: moves.BatchPostponed(s.batch(n), s.at + n),
]
STEPS = st.lists(st.tuples(st.integers(0, len(MAKERS) - 1), Number), min_size=5, max_size=60)


@dataclass(frozen=True)
class State:
    """All that can be asked of a store."""

    waiting: list[Waiting]
    views: list[RequestView | None]
    results: list[Answer | None]
    rows: list[list[LedgerRow]]
    batches: list[Batch | None]
    lines: list[list[Line]]
    open_batches: list[Batch]
    calls: list[tuple[Attempt, Waiting]]
    totals: list[LedgerTotal]
    listed: list[RequestView]


async def _state(store: Store, script: Script) -> State:
    return State(
        waiting=sorted((await store.changes(None)).waiting, key=lambda waiting: waiting.id),
        views=[await store.get(one.id) for one in script.requests],
        results=[await store.result(one.id) for one in script.requests],
        rows=[await store.ledger_rows(one.id) for one in script.requests],
        batches=[await store.batch(made.id) for made in script.batches],
        lines=[await store.lines(made.id, after=None, limit=99) for made in script.batches],
        open_batches=await store.open_batches(),
        calls=sorted(await store.live_calls(), key=lambda pair: pair[0].id),
        totals=await store.ledger(since=0.0, until=1e9),
        listed=await store.list_requests(None, after=None, limit=99),
    )


def _judge_stages(state: State) -> None:
    """A kept stage is the pure function of the live attempts that `domain.lifecycle` says it is."""
    live: dict[str, list[tuple[AttemptKind, AttemptState]]] = defaultdict(list)
    for line in chain.from_iterable(state.lines):
        live[line.request_id].append((AttemptKind.LINE, line.state))
    for attempt, _ in state.calls:
        live[attempt.request_id].append((AttemptKind.CALL, AttemptState.SENT))
    assert [one.stage for one in state.waiting] == [request_stage(live[one.id]) for one in state.waiting]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_both_engines_do_the_same(tmp_path: Path, shared_redis: Servers, steps: list[tuple[int, int]]) -> None:
    url = shared_redis("valkey").url
    number = next(_namespaces)

    async def whole() -> None:
        script = Script(requests=[request(accepted_at=100.0 + n) for n in range(4)])
        stores: list[Store] = [
            SqliteStore(tmp_path / f"{number}.db", SystemClock()),
            RedisStore(RedisSettings(url, f"{tmp_path}-{number}"), SystemClock()),
        ]
        for store in stores:
            await store.start()
            for one in script.requests:
                await store.accept(one)
        try:
            for which, pick in steps:
                script.at += 1.0
                move = MAKERS[which](script, pick)
                first, second = [await store.apply([move]) for store in stores]
                assert first == second, move
            ours, theirs = [await _state(store, script) for store in stores]
            assert ours == theirs
            _judge_stages(ours)
            swept = [await store.sweep(now=script.at, retention_seconds=0.0, limit=99) for store in stores]
            assert swept[0] == swept[1]
            assert await _state(stores[0], script) == await _state(stores[1], script)
        finally:
            for store in stores:
                await store.close()

    asyncio.run(whole())

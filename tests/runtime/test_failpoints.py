import asyncio

import pytest

from proxy.domain.errors import ConfigFault
from proxy.domain.ids import BatchId
from proxy.domain.moves import BatchPostponed, Conflict, Move, MoveResult
from proxy.runtime.failpoints import Failpoint, arm, failpoint_of


class Killed(Exception):
    pass


def kill() -> None:
    raise Killed


class FakeShelf:
    async def put(self, name: str) -> bool:
        return bool(name)


class FakeStore:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.shelf = FakeShelf()

    async def accept(self, name: str) -> str:
        self.done.append(name)
        return name

    async def delivered(self, name: str) -> None:
        self.done.append(name)

    async def book(self, name: str) -> None:
        self.done.append(name)

    async def apply(self, moves: list[Move]) -> list[MoveResult]:
        self.done += [type(move).__name__ for move in moves]
        return [Conflict(None) for _ in moves]


class FakeUpstream:
    """One that sells no batches."""

    def __init__(self) -> None:
        self.calls = 0

    async def call(self) -> int:
        self.calls += 1
        return self.calls


def armed(name: str, count: int = 1) -> tuple[FakeStore, FakeUpstream]:
    store, upstream = FakeStore(), FakeUpstream()
    arm(Failpoint(name, count, kill), store, [upstream])
    return store, upstream


def test_death_comes_before_or_after_the_effect() -> None:
    store, _ = armed("store.accept.before")
    with pytest.raises(Killed):
        asyncio.run(store.accept("a"))
    assert store.done == []
    store, _ = armed("store.accept.after")
    with pytest.raises(Killed):
        asyncio.run(store.accept("a"))
    assert store.done == ["a"]


def test_death_can_wait_for_a_later_time() -> None:
    _, upstream = armed("upstream.call.after", count=3)
    assert asyncio.run(upstream.call()) == 1
    assert asyncio.run(upstream.call()) == 2
    with pytest.raises(Killed):
        asyncio.run(upstream.call())


def test_moves_are_named_by_their_kind() -> None:
    store, _ = armed("store.BatchPostponed.after")
    with pytest.raises(Killed):
        asyncio.run(store.apply([BatchPostponed(BatchId("b"), 1.0)]))
    assert store.done == ["BatchPostponed"]


def test_the_shelf_has_points_of_its_own() -> None:
    store, _ = armed("shelf.put.before")
    with pytest.raises(Killed):
        asyncio.run(store.shelf.put("a"))


def test_everything_else_goes_through_untouched() -> None:
    store, upstream = armed("store.BatchCreated.before")
    assert asyncio.run(store.accept("a")) == "a"
    assert asyncio.run(upstream.call()) == 1
    assert asyncio.run(store.apply([BatchPostponed(BatchId("b"), 1.0)])) == [Conflict(None)]


def test_without_the_variable_nothing_is_armed() -> None:
    assert failpoint_of({}) is None
    assert failpoint_of({"STANDBY_FAILPOINT": ""}) is None
    assert failpoint_of({"STANDBY_FAILPOINT": "store.accept.before"}) is not None


@pytest.mark.parametrize(
    "wrong", ["store.accept", "now", "store.accept.before:0", "store.accept.before:x", "store.accept.before:1:x"]
)
def test_what_is_no_failpoint_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigFault, match="is no failpoint"):
        failpoint_of({"STANDBY_FAILPOINT": wrong})

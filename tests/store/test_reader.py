"""What `proxy.store.interface.Reader` promises beside a `Store`, as behaviors, for every engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from proxy.domain.batch import BatchOutcome
from proxy.domain.errors import StoreFault
from proxy.domain.ids import RequestId
from proxy.domain.moves import (
    AttemptAnswered,
    BatchAbandoned,
    BatchCleaned,
    BatchCollected,
    BatchEnded,
    CallPlanned,
)
from proxy.domain.request import Lane, RequestState
from proxy.store.interface import Reader, Store
from tests.store.conftest import Doors
from tests.store.samples import ALICE, BOB, accepted, answer, call_for, in_flight, ledger, planned, request

Question = Callable[[Reader], Awaitable[object]]
HOUR = 3600.0
QUESTIONS: dict[str, Question] = {
    "one request": lambda asked: asked.get(RequestId("req-done")),
    "one request of another tenant": lambda asked: asked.get(RequestId("req-done"), BOB),
    "an unknown request": lambda asked: asked.get(RequestId("req-none")),
    "all requests": lambda asked: asked.list_requests(None, after=None, limit=99),
    "a page": lambda asked: asked.list_requests(None, after=RequestId("req-done"), limit=1),
    "a tenant's": lambda asked: asked.list_requests(BOB, after=None, limit=99),
    "the open ones": lambda asked: asked.list_requests(None, after=None, limit=99, state=RequestState.OPEN),
    "what waits": lambda asked: asked.changes(None),
    "open batches": lambda asked: asked.open_batches(),
    "closed batches": lambda asked: asked.closed_batches(9),
    "totals": lambda asked: asked.ledger(since=0.0, until=float("inf")),
    "a tenant's totals": lambda asked: asked.ledger(since=0.0, until=HOUR + 250.0, tenant=ALICE),
    "purchases": lambda asked: asked.ledger_rows(RequestId("req-done")),
    "where the ledger begins": lambda asked: asked.ledger_begins_at(),
    "notes": lambda asked: asked.notes("completion"),
}


@asynccontextmanager
async def _opened(reader: Reader) -> AsyncIterator[Reader]:
    await reader.start()
    try:
        yield reader
    finally:
        await reader.close()


async def _fill(store: Store) -> None:
    """Something of everything."""
    made, (line,) = await in_flight(store, request("req-done"))
    await store.apply([AttemptAnswered(line.id, 150.0, answer(), ledger(line, booked_at=HOUR + 200.0))])
    await store.apply([BatchEnded(made.id, 150.0, BatchOutcome.COMPLETED, "completed", 1, 0, "out", None, 150.0)])
    await store.apply([BatchCollected(made.id, 151.0, due_at=151.0), BatchCleaned(made.id, 152.0)])
    gone, _ = await planned(store, request("req-back"))
    await store.apply([BatchAbandoned(gone.id, 160.0, ready_at=160.0, tries_spent=1)])
    await in_flight(store, request("req-flies"))
    (called, _) = await accepted(store, request("req-called"), request("req-bob", tenant=BOB))
    await store.apply([CallPlanned(call_for(called))])
    await store.book([replace(ledger(call_for(called), booked_at=HOUR + 300.0), deadline_at=HOUR)])
    await store.save_note("completion times", b"{}")


def _play(doors: Doors, story: Callable[[Store], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = doors.store()
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def test_a_reader_beside_a_running_store_sees_what_the_store_sees(doors: Doors) -> None:
    async def story(store: Store) -> None:
        await _fill(store)
        async with _opened(doors.reader()) as reader:
            for name, ask in QUESTIONS.items():
                assert await ask(reader) == await ask(store), name
            (batch,) = await store.open_batches()
            assert await reader.batch(batch.id) == batch

    _play(doors, story)


def test_a_reader_sees_what_is_changed_after_it_was_opened(doors: Doors) -> None:
    async def story(store: Store) -> None:
        async with _opened(doors.reader()) as reader:
            seen = await reader.changes(None)
            assert (seen.waiting, await reader.open_batches()) == ([], [])
            await in_flight(store, request("req-new"))
            assert [one.id for one in (await reader.changes(seen.upto)).waiting] == ["req-new"]
            assert len(await reader.open_batches()) == 1

    _play(doors, story)


def test_a_reader_sees_what_a_store_that_is_closed_has_left(doors: Doors) -> None:
    answers: dict[str, object] = {}

    async def story(store: Store) -> None:
        await _fill(store)
        for name, ask in QUESTIONS.items():
            answers[name] = await ask(store)

    async def alone() -> None:
        async with _opened(doors.reader()) as reader:
            for name, ask in QUESTIONS.items():
                assert await ask(reader) == answers[name], name

    _play(doors, story)
    asyncio.run(alone())


def test_a_reader_is_in_nobodys_way(doors: Doors) -> None:
    """A store starts, takes every lane and works while a reader is there, and no member is counted but itself."""

    async def whole() -> None:
        await _closed_store(doors)
        async with _opened(doors.reader()) as reader:
            store = doors.store()
            await store.start()
            try:
                lane = Lane(*request().queue.lane)
                assert await store.lease([lane], 60.0) == {lane}
                assert set(await store.attend(b"here", 60.0)) == {store.member}
                await accepted(store, request("req-new"))
                assert await reader.get(RequestId("req-new")) is not None
            finally:
                await store.close()

    asyncio.run(whole())


async def _closed_store(doors: Doors) -> None:
    store = doors.store()
    await store.start()
    await store.close()


def test_where_there_is_no_store_a_reader_says_so_in_one_line(doors: Doors) -> None:
    with pytest.raises(StoreFault) as caught:
        asyncio.run(doors.reader().start())
    assert "standby serve" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_store_has_nothing_to_tell(doors: Doors) -> None:
    async def whole() -> None:
        await _closed_store(doors)
        async with _opened(doors.reader()) as reader:
            assert await reader.list_requests(None, after=None, limit=9) == []
            assert await reader.ledger(since=0.0, until=float("inf")) == []
            assert await reader.ledger_begins_at() is None
            assert (await reader.open_batches(), await reader.closed_batches(9)) == ([], [])

    asyncio.run(whole())


def test_closing_twice_is_fine(doors: Doors) -> None:
    async def whole() -> None:
        await _closed_store(doors)
        reader = doors.reader()
        await reader.start()
        await reader.close()
        await reader.close()
        with pytest.raises(StoreFault, match="closed"):
            await reader.open_batches()

    asyncio.run(whole())

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from proxy.batching.desk import Desk
from proxy.batching.learn import CALLS_NOTE, NOTE, recall, remember, settle_forecasts, take_over
from proxy.batching.settings import Settings
from proxy.domain.events import AnyEvent, ForecastSettled
from proxy.domain.ids import IdSource
from proxy.domain.tier import Tier
from proxy.routing import planner
from proxy.routing.latencybook import LatencyBook
from proxy.routing.limitbook import LimitBook
from proxy.routing.pricing import PriceBook
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from proxy.store.vault import Vault
from tests.store.samples import QUEUE, UPSTREAM, in_flight, request

MODEL = "gpt-4o-mini"
SECRET = b"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="


@dataclass
class Life:
    """One process's desk over a store."""

    desk: Desk
    events: list[AnyEvent] = field(default_factory=list)


def play(tmp_path: Path, *stories: Callable[[Life], Awaitable[None]]) -> None:
    """Each story is a process of its own, one after the other, on the same store."""

    async def whole() -> None:
        for story in stories:
            store = SqliteStore(tmp_path / "standby.db", SystemClock())
            await store.start()
            events: list[AnyEvent] = []
            desk = Desk(
                store=store,
                upstreams={},
                vault=Vault(store, SECRET, {}),
                prices=PriceBook.from_cost_map({}, {}, "none"),
                limits=LimitBook({}),
                clock=SystemClock(),
                ids=IdSource(),
                announce=events.append,
                settings=Settings(),
                planning=planner.Settings(),
                latencies=LatencyBook(planner.Settings().batches),
                keeps=lambda _: False,
            )
            try:
                await story(Life(desk, events))
            finally:
                await store.close()

    asyncio.run(whole())


def tell(life: Life, count: int, seconds: float) -> float:
    now = life.desk.clock.now()
    times = life.desk.latencies.of(UPSTREAM, MODEL)
    for number in range(count):
        times.submitted(f"b{number}", now - seconds)
        times.ended(f"b{number}", now, completed=True)
    return times.quantile(0.5, now)


def test_what_was_learned_is_known_to_the_next_process(tmp_path: Path) -> None:
    async def first(life: Life) -> None:
        assert tell(life, 200, 5.0) < 60
        await remember(life.desk, [QUEUE.lane])

    async def second(life: Life) -> None:
        await recall(life.desk)
        assert life.desk.latencies.of(UPSTREAM, MODEL).quantile(0.5, life.desk.clock.now()) < 60

    play(tmp_path, first, second)


def test_what_was_learned_about_calls_is_known_to_the_next_process_for_each_tier(tmp_path: Path) -> None:
    async def first(life: Life) -> None:
        life.desk.call_times.observe(UPSTREAM, MODEL, 100.0)
        life.desk.call_times.observe(UPSTREAM, MODEL, 300.0, Tier.FLEX)
        life.desk.call_times.observe(UPSTREAM, "another", 50.0)
        await remember(life.desk, [QUEUE.lane])

    async def second(life: Life) -> None:
        await recall(life.desk)
        times = life.desk.call_times
        assert times.within_seconds(UPSTREAM, MODEL, 0.999) == pytest.approx(100.0, rel=0.1)
        assert life.desk.escalation(UPSTREAM, MODEL).service_seconds == times.within_seconds(UPSTREAM, MODEL, 0.999)
        assert life.desk.flex(UPSTREAM, MODEL).lead_seconds == pytest.approx(310.0, rel=0.1)
        assert life.desk.flex(UPSTREAM, "another") == life.desk.settings.flex
        assert times.within_seconds(UPSTREAM, "another", 0.999) == 0.0

    play(tmp_path, first, second)


def test_whether_calls_took_as_long_as_was_expected_is_announced(tmp_path: Path) -> None:
    async def story(life: Life) -> None:
        times = life.desk.call_times
        times.observe(UPSTREAM, MODEL, 10.0)
        assert times.within_seconds(UPSTREAM, MODEL, 0.999) > 0
        for seconds in (1.0, 2.0, 30.0):
            times.observe(UPSTREAM, MODEL, seconds)
        settle_forecasts(life.desk, 5.0)
        settle_forecasts(life.desk, 6.0)
        assert life.events == [
            ForecastSettled(UPSTREAM, MODEL, 0.999, covered, 5.0, Tier.STANDARD, count)
            for covered, count in ((True, 2), (False, 1))
        ]

    play(tmp_path, story)


def test_batches_that_ran_on_while_nobody_watched_count_from_their_submission(tmp_path: Path) -> None:
    async def first(life: Life) -> None:
        await in_flight(life.desk.store, request())

    async def second(life: Life) -> None:
        await take_over(life.desk, [QUEUE.lane])
        (known,) = [times for _, model, times in life.desk.latencies if model == MODEL]
        assert "1 open" in repr(known)
        settle_forecasts(life.desk, life.desk.clock.now())
        (settled,) = life.events
        assert isinstance(settled, ForecastSettled)
        assert (settled.model, settled.covered) == (MODEL, False)

    play(tmp_path, first, second)


def test_what_this_process_learns_itself_is_not_overwritten(tmp_path: Path) -> None:
    async def first(life: Life) -> None:
        tell(life, 200, 5.0)
        await remember(life.desk, [QUEUE.lane])

    async def second(life: Life) -> None:
        desk = replace(life.desk, keeps=lambda _: True)
        tell(life, 200, 500.0)
        await recall(desk)
        assert desk.latencies.of(UPSTREAM, MODEL).quantile(0.5, desk.clock.now()) > 300

    play(tmp_path, first, second)


def test_only_the_lanes_named_are_remembered(tmp_path: Path) -> None:
    async def story(life: Life) -> None:
        tell(life, 3, 5.0)
        await remember(life.desk, [])
        assert await life.desk.store.notes(NOTE) == {}

    play(tmp_path, story)


@pytest.mark.parametrize("note", [b"nonsense", b"{}", b"[1]", b'{"horizon_seconds": "x"}'])
@pytest.mark.parametrize("lane", ['["openai", "gpt-4o-mini"]', "nothing", '["openai"]'])
def test_a_note_that_cannot_be_read_is_passed_over(tmp_path: Path, lane: str, note: bytes) -> None:
    async def story(life: Life) -> None:
        await life.desk.store.save_note(f"{NOTE} {lane}", note)
        await life.desk.store.save_note(f"{CALLS_NOTE} {lane}", note)
        await recall(life.desk)
        assert list(life.desk.latencies) == []
        assert life.desk.call_times.forecasts() == {}

    play(tmp_path, story)

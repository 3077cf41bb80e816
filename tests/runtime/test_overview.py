"""One look at everything, over a whole running proxy on virtual time."""

from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from proxy.batching.settings import Settings as BatchingSettings
from proxy.domain.batch import BatchState
from proxy.domain.errors import StoreFault
from proxy.domain.ids import RequestId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.request import RequestState, Stage
from proxy.domain.tier import Tier
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import Constant
from proxy.routing.cutting import Settings as CutSettings
from proxy.runtime.daybook import sum_up
from proxy.runtime.overview import LOOK_SECONDS, ROWS_MAX
from proxy.telemetry.overview import Overview
from tests.world import HOUR, MINUTE, MODEL, World, gather, play

QUICK = BatchingSettings(cut=CutSettings(age_seconds=60.0))


async def look(world: World) -> Overview:
    """A fresh one: an earlier look is not shared any more."""
    await world.sleep(LOOK_SECONDS)
    return await world.service.house.showcase.overview()


async def ask_async(world: World, text: str, deadline: str = "4h", model: str = MODEL) -> RequestId:
    answer = await world.ask(text, deadline=deadline, headers={"Prefer": "respond-async"}, model=model)
    assert answer.status == 202
    return RequestId(answer.headers["X-Standby-Request-Id"])


def test_a_proxy_that_nobody_has_called_shows_zeros(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        seen = await look(world)
        assert (seen.store, seen.replicas, seen.store_fault) == ("sqlite", 1, None)
        assert (seen.lanes, seen.batches, seen.open_requests) == ([], [], {})
        assert seen.day is not None
        assert (seen.day.money.purchases, seen.day.money.saved_usd) == (0, Decimal(0))
        replica = seen.replica
        assert (replica.deadlines_met, replica.deadlines_missed, replica.decisions) == (0, 0, [])
        assert replica.started_at == world.now - LOOK_SECONDS

    play(tmp_path, story)


def test_a_deferred_request_is_seen_in_its_queue_then_in_its_batch_then_in_the_money(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        request_id = await ask_async(world, "one")
        queued = await look(world)
        (lane,) = queued.lanes
        assert (lane.model, lane.stages, lane.oldest_at) == (MODEL, {Stage.QUEUED: 1}, queued.at - LOOK_SECONDS)
        assert lane.deadline_at == pytest.approx(queued.at + 4 * HOUR - LOOK_SECONDS)
        assert lane.slack_seconds is not None
        assert 3 * HOUR < lane.slack_seconds < 4 * HOUR
        assert queued.replica.stages == {request_id: Stage.QUEUED}
        await world.until(lambda: world.service.engine.waitlist.stage_of(request_id) is Stage.SUBMITTED, within=HOUR)
        flying = await look(world)
        (batch,) = flying.batches
        assert (batch.state, batch.lines, batch.completed_lines) == (BatchState.IN_FLIGHT, 1, 0)
        assert batch.expected_at is not None
        assert flying.at < batch.expected_at < batch.deadline_at
        assert (flying.open_batches, flying.open_requests) == (1, {Stage.SUBMITTED: 1})
        await world.settled()
        await world.sleep(10)
        ended = await look(world)
        assert (ended.lanes, ended.batches, ended.replica.stages) == ([], [], {})
        (decided,) = ended.replica.decisions
        assert (decided.request_id, decided.outcome, decided.served_tier) == (request_id, OutcomeLabel.OK, Tier.BATCH)
        assert ended.day is not None
        assert ended.day.money == sum_up(await world.service.desk.store.ledger(since=0, until=world.now + 1))
        assert ended.day.money.saved_usd == decided.saved_usd
        assert decided.saved_usd is not None
        assert decided.saved_usd > 0
        assert (ended.replica.deadlines_met, ended.replica.deadlines_missed) == (1, 0)
        texts = " | ".join(happening.text for happening in ended.replica.happenings)
        assert "1 request cut into a batch" in texts
        assert "a batch is completed after" in texts

    play(tmp_path, story, batching=QUICK)


def test_progress_within_a_batch_is_the_providers_own_count(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for number in range(10):
            await ask_async(world, f"line {number}")
        await world.until(lambda: bool(world.service.engine.batches), within=HOUR)
        seen = set()
        while await world.service.desk.store.open_batches():
            for batch in (await look(world)).batches:
                seen.add(batch.completed_lines)
                assert batch.completed_lines + batch.failed_lines <= batch.lines == 10
        assert len(seen) > 2, "it was seen to grow"

    slow = EmulatorSettings(turnaround=Constant(20 * MINUTE), latency_seconds=1.0)
    play(tmp_path, story, emulator=slow, batching=QUICK)


def test_an_urgent_call_under_way_is_counted_and_then_followed_to_its_end(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with world.background(world.ask("now")):
            await world.sleep(0.5)
            assert (await world.service.house.showcase.overview()).replica.urgent == 1
        seen = await look(world)
        assert seen.replica.urgent == 0
        assert seen.replica.requests == {Tier.STANDARD: {OutcomeLabel.OK: 1}}
        assert [minute.requests for minute in seen.replica.minutes if minute.requests] == [{Tier.STANDARD: 1}]
        (decided,) = seen.replica.decisions
        assert (decided.deferred, decided.outcome, decided.status) == (False, OutcomeLabel.OK, 200)
        (limit,) = seen.replica.limits
        assert (limit.model, limit.requests_per_minute, limit.refused) == (MODEL, 10_000, 0)

    play(tmp_path, story)


def test_a_look_is_shared_by_all_that_ask_within_a_second(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await look(world)
        await world.sleep(LOOK_SECONDS / 2)
        assert await world.service.house.showcase.overview() is first
        await world.sleep(LOOK_SECONDS / 2)
        assert await world.service.house.showcase.overview() is not first

    play(tmp_path, story)


def test_while_the_store_is_away_what_was_known_last_is_shown_and_that_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        await world.ask("now")
        before = await look(world)

        async def away(_: object) -> None:
            raise StoreFault("the store is away")

        monkeypatch.setattr(world.service.desk.store, "changes", away)
        await world.ask("still served")
        during = await look(world)
        assert during.store_fault == "the store is away"
        assert during.day == before.day
        assert during.replica.requests == {Tier.STANDARD: {OutcomeLabel.OK: 2}}

    play(tmp_path, story)


def test_a_request_that_ended_unseen_gets_its_end_from_the_store(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        deaf = world.service.announcer
        request_id = await ask_async(world, "one")
        listeners, deaf._listeners = deaf._listeners, ()
        assert (await look(world)).replica.decisions[0].outcome is None
        store = world.service.desk.store
        while (view := await store.get(request_id)) and view.state is RequestState.OPEN:
            await world.sleep(MINUTE)
        deaf._listeners = listeners
        (decided,) = (await look(world)).replica.decisions
        assert (decided.request_id, decided.outcome, decided.served_tier) == (request_id, OutcomeLabel.OK, Tier.BATCH)
        assert decided.paid_usd is not None

    play(tmp_path, story, batching=QUICK)


def test_a_crowd_of_models_is_counted_and_the_tightest_are_shown(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        names = [f"gpt-4o-mini-{number:03}" for number in range(ROWS_MAX + 5)]
        asks = [
            world.ask("x", deadline=f"{number + 60}m", headers={"Prefer": "respond-async"}, model=name)
            for number, name in enumerate(names)
        ]
        await gather(*asks)
        seen = await look(world)
        assert len(seen.lanes) == ROWS_MAX
        assert {lane.model for lane in seen.lanes} == set(names[:ROWS_MAX])
        assert sum(seen.open_requests.values()) == ROWS_MAX + 5

    play(tmp_path, story)


def test_today_begins_at_midnight_where_the_configuration_says(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        day = (await look(world)).day
        assert day is not None
        assert (day.timezone, len(day.hours)) == ("Asia/Tokyo", 22)

    play(tmp_path, story, timezone=ZoneInfo("Asia/Tokyo"))

"""An upstream without batches whose capacity is known: what can wait is bought while there is room."""

import asyncio
import itertools
from pathlib import Path

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.events import RequestEscalated
from proxy.emulator.settings import Settings
from tests.world import HOUR, MINUTE, MONDAY_NOON, World, gather, play

OWN_MACHINE = UpstreamSettings(batch=False, flex=False, capacity=3)
TEN_SECONDS = Settings(latency_seconds=10.0)


async def _busiest(world: World, seconds: float) -> int:
    """The most calls that were under way at once, in so much time from now."""
    most = 0
    until = world.now + seconds
    while world.now < until:
        most = max(most, world.service.house.limits.under_way(OWN_MACHINE.name))
        await world.sleep(0.5)
    return most


def test_what_can_wait_is_bought_at_once_where_there_is_room(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("hello", deadline="4h")
        assert (answer.status, answer.tier, answer.reason) == (200, "standard", "waits_for_idle")
        assert answer.at - MONDAY_NOON < MINUTE
        assert not world.seen(RequestEscalated)

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS)


def test_never_more_is_bought_at_once_than_the_upstream_serves_well(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        asked = gather(*(world.ask(f"n{number}", deadline="4h") for number in range(12)))
        busiest, answers = await asyncio.gather(_busiest(world, 3 * MINUTE), asked)
        assert busiest == 3
        assert {answer.status for answer in answers} == {200}
        assert max(answer.at for answer in answers) - MONDAY_NOON < 90.0

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS)


def test_the_urgent_come_first(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def keep_busy() -> list[float]:
            began = [world.now]
            for _ in range(20):
                await gather(*(world.ask("urgent") for _ in range(3)))
                began.append(world.now)
            return began

        waiting = world.ask("later", deadline="4h")
        busy, later = await asyncio.gather(keep_busy(), waiting)
        assert all(10.0 <= end - start < 11.0 for start, end in itertools.pairwise(busy))
        assert later.at > busy[-1]

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS)


def test_a_deadline_is_met_although_there_is_never_any_room(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def keep_busy(offset: float) -> None:
            await world.sleep(offset)
            while world.now < MONDAY_NOON + HOUR:
                await world.ask("urgent")

        async with asyncio.TaskGroup() as group:
            busy = [group.create_task(keep_busy(2.0 * number)) for number in range(5)]
            await world.sleep(MINUTE)
            answer = await world.ask("later", deadline="30m")
            for task in busy:
                task.cancel()
        assert answer.status == 200
        assert 25 * MINUTE < answer.at - MONDAY_NOON < 31 * MINUTE
        assert len(world.seen(RequestEscalated)) == 1

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS)


@pytest.mark.parametrize("deadline", ["30s", "1m"])
def test_what_has_no_time_to_wait_does_not(deadline: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline=deadline)
        assert (answer.status, answer.reason) == (200, "no_batch_tier")

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS)


def test_where_the_capacity_is_not_known_nothing_waits_for_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("hello", deadline="4h")
        assert (answer.status, answer.reason) == (200, "no_batch_tier")

    play(tmp_path, story, upstream=UpstreamSettings(batch=False, flex=False), emulator=TEN_SECONDS)

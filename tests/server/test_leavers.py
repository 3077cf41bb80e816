"""Who is given up when a client does not come back: only what has not been submitted, and nobody who holds again."""

import asyncio
from pathlib import Path

import pytest

from proxy.domain.events import BatchSubmitted, RequestFinished
from proxy.domain.request import RequestState
from proxy.server.settings import Settings
from tests.world import HOUR, MINUTE, World, play

GRACE = Settings(port=0, return_grace_seconds=20.0)


async def _leave_after(world: World, seconds: float) -> None:
    """A client that waits for a while and then breaks its connection."""
    try:
        async with asyncio.timeout(seconds):
            await world.ask("wait for me", deadline="3h")
    except TimeoutError:
        return
    raise AssertionError("the answer came before the client left")


def test_a_submitted_request_goes_on_without_its_client(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await _leave_after(world, 5 * MINUTE)
        assert world.seen(BatchSubmitted)
        await world.until(lambda: bool(world.seen(RequestFinished)), within=HOUR)
        (view,) = await world.service.desk.store.list_requests(None, after=None, limit=5)
        assert (view.state, view.delivered_at) == (RequestState.DONE, None)

    play(tmp_path, story, server=GRACE)


def test_a_client_that_is_back_within_the_grace_keeps_its_request(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await _leave_after(world, 2.0)
        again = await world.ask("wait for me", deadline="3h", headers={"x-stainless-retry-count": "1"})
        assert again.status == 200
        assert await world.bought("wait for me") == (0, 1)

    play(tmp_path, story, server=GRACE)


@pytest.mark.parametrize("known", [True, False], ids=["named", "perhaps"])
def test_a_client_that_is_back_at_another_process_keeps_its_request(
    tmp_path: Path,
    known: bool,  # noqa: FBT001  a parameter
) -> None:
    async def story(world: World) -> None:
        leavers = world.service.house.leavers
        await _leave_after(world, 2.0)
        await world.until(lambda: len(leavers) == 1, within=2.0, look=0.1)
        (view,) = await world.service.desk.store.list_requests(None, after=None, limit=5)
        await world.sleep(10.0)
        leavers.came_back(view.id if known else None)
        await world.sleep(15.0)
        (view,) = await world.service.desk.store.list_requests(None, after=None, limit=5)
        assert view.state is RequestState.OPEN

    play(tmp_path, story, server=GRACE)


def test_nobody_is_remembered_for_ever(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await _leave_after(world, 2.0)
        await world.until(lambda: len(world.service.house.leavers) == 1, within=2.0, look=0.1)
        await world.sleep(MINUTE)
        assert len(world.service.house.leavers) == 0

    play(tmp_path, story, server=GRACE)

"""Workers that are asked together, each on a socket of its own; some do not answer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.runtime import siblings
from proxy.runtime.siblings import Nest, Siblings
from proxy.telemetry.pages import Family, Merge, Page, Point


class Worker:
    """Counts, and tells it."""

    def __init__(self, folder: Path, number: int, count: int = 2) -> None:
        self.counted = 0
        self.hangs = False
        self.nest = Nest(folder, count, number)
        self.siblings = Siblings(self.nest, self._own)

    async def _own(self) -> Page:
        if self.hangs:
            await asyncio.Event().wait()
        counter = Family("n", "counter", "N.", Merge.SUM, (Point("n_total", (), float(self.counted)),))
        return (counter, Family("g", "gauge", "G.", Merge.SUM, (Point("g", (), 1.0),)))

    async def told(self) -> tuple[float, float]:
        """The sum of what was counted, and how many are there."""
        page = {family.name: family.points[0].value for family in await self.siblings.page()}
        return page["n"], page["g"]


def play(story: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with AsyncExitStack() as stack:
            await story(stack)

    asyncio.run(whole())


def test_whoever_is_asked_tells_of_all(tmp_path: Path) -> None:
    async def story(stack: AsyncExitStack) -> None:
        first, second, third = (Worker(tmp_path, number, count=3) for number in range(3))
        for worker in (first, second, third):
            await stack.enter_async_context(worker.siblings.answering())
        first.counted, second.counted, third.counted = 1, 20, 300
        assert [await worker.told() for worker in (first, second, third)] == [(321, 3)] * 3

    play(story)


def test_one_that_was_killed_is_taken_at_its_last_word_and_its_successor_counts_on(tmp_path: Path) -> None:
    async def story(stack: AsyncExitStack) -> None:
        first, second = Worker(tmp_path, 0), Worker(tmp_path, 1)
        await stack.enter_async_context(first.siblings.answering())
        first.counted, second.counted = 1, 20
        async with second.siblings.answering():
            assert await first.told() == (21, 2)
            second.counted = 25  # nobody was ever told of these five
        assert await first.told() == (21, 1), "what it has counted stays, it is not there any more"
        successor = Worker(tmp_path, 1)
        await stack.enter_async_context(successor.siblings.answering())
        successor.counted = 4
        assert await first.told() == (25, 2)
        again = Worker(tmp_path, 1)
        await stack.enter_async_context(again.siblings.answering())
        assert await first.told() == (25, 2), "the third of its number has inherited from both"

    play(story)


def test_one_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siblings, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(siblings, "TELLING_SECONDS", 0.1)

    async def story(stack: AsyncExitStack) -> None:
        first, second = Worker(tmp_path, 0), Worker(tmp_path, 1)
        for worker in (first, second):
            await stack.enter_async_context(worker.siblings.answering())
        second.counted = 20
        assert await first.told() == (20, 2)
        second.hangs = True
        second.counted = 21
        assert await first.told() == (20, 1)
        second.hangs = False
        await asyncio.sleep(0.15)
        assert await first.told() == (21, 2)

    play(story)


def test_a_sibling_that_has_not_begun_and_one_that_talks_nonsense_count_as_nothing(tmp_path: Path) -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"what?")
        writer.close()

    async def story(stack: AsyncExitStack) -> None:
        first = Worker(tmp_path, 0)
        assert await first.told() == (0, 1)
        server = await asyncio.start_unix_server(nonsense, first.nest.socket(1))
        stack.callback(server.close)
        assert await first.told() == (0, 1)

    play(story)


def test_where_nothing_can_be_written_down_a_worker_still_tells(tmp_path: Path) -> None:
    async def story(_: AsyncExitStack) -> None:
        alone = Worker(tmp_path / "is not there", 0)
        alone.counted = 3
        assert await alone.told() == (3, 1)

    play(story)


def test_many_that_ask_at_once_are_all_told_the_same(tmp_path: Path) -> None:
    async def story(stack: AsyncExitStack) -> None:
        first, second = Worker(tmp_path, 0), Worker(tmp_path, 1)
        for worker in (first, second):
            await stack.enter_async_context(worker.siblings.answering())
        first.counted, second.counted = 1, 2
        told = await asyncio.gather(*(worker.told() for worker in (first, second) * 20))
        assert told == [(3, 2)] * 40

    play(story)

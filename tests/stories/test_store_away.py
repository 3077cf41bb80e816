"""A store that stalls, is away or is full: urgent calls flow, and whoever waits is told in time or gets its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from proxy.domain.batch import Batch
from proxy.domain.events import BatchSubmitted, RequestFinished
from proxy.domain.labels import OutcomeLabel
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.server.settings import Settings as ServerSettings
from proxy.store.redis import RedisStore
from tests.conftest import Servers
from tests.redis_server import RedisServer, binaries
from tests.world import HOUR, MINUTE, MONDAY_NOON, Reply, World, gather, play

TEXTS = [f"q{number:03}" for number in range(12)]
SLOWLY = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0)
STALLING = (
    *("accept", "apply", "get", "find", "result", "body", "returned", "list_requests", "changes", "open_batches"),
    *("lines", "live_calls", "delivered", "book", "save_credential", "save_note", "notes", "sweep"),
)


@pytest.fixture(params=["sqlite", "valkey"])
def redis(request: pytest.FixtureRequest, shared_redis: Servers) -> str | None:
    """The store's server; None for a file."""
    return None if request.param == "sqlite" else shared_redis(request.param).url


def stall(world: World, seconds: float) -> None:
    """From now on and for so long nothing that the store is asked comes back; then all of it is done."""
    until = world.now + seconds
    store = world.service.desk.store

    def stalled(work: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def late(*arguments: object, **named: object) -> object:
            await world.clock.sleep_until(until)
            return await work(*arguments, **named)

        async def waited_for(*arguments: object, **named: object) -> object:
            if world.now >= until:
                return await work(*arguments, **named)
            return await asyncio.shield(asyncio.ensure_future(late(*arguments, **named)))  # noqa: TID251  as a thread is

        return waited_for

    for name in STALLING:
        setattr(store, name, stalled(getattr(store, name)))


async def bought(world: World) -> list[int]:
    return [sum(await world.bought(text)) for text in TEXTS]


def test_a_store_that_stalls_for_twenty_minutes_costs_those_who_wait_only_time(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        answers: list[Reply] = []

        async def ask_all() -> Reply:
            answers.extend(await gather(*(world.ask(text, deadline="5h") for text in TEXTS)))
            return answers[0]

        async with world.background(ask_all()):
            await world.until(lambda: bool(world.seen(BatchSubmitted)), within=HOUR)
            stall(world, 20 * MINUTE)
            began = world.now
            urgent = await world.ask("urgent")
            assert (urgent.status, urgent.at - began < 3.0) == (200, True)
        assert [answer.status for answer in answers] == [200] * len(TEXTS)
        assert [answer.text.startswith(f"echo: {text}") for answer, text in zip(answers, TEXTS, strict=True)]
        await world.settled(within=3 * HOUR)
        assert await bought(world) == [1] * len(TEXTS)
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, redis=redis)


def test_what_a_stalling_store_has_not_taken_in_time_is_refused_and_bought_for_nobody(
    tmp_path: Path, redis: str | None
) -> None:
    """The store takes it all the same, afterwards: nobody waits for that, and nobody pays for it."""

    async def story(world: World) -> None:
        await world.ask("earlier", deadline="5h", headers={"Prefer": "respond-async"})
        stall(world, 30.0)
        refused = await world.ask("refused", deadline="5h")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert refused.at - MONDAY_NOON <= 16.0
        await world.until(lambda: bool(world.seen(RequestFinished)), within=MINUTE)
        (finished,) = world.seen(RequestFinished)
        assert finished.outcome is OutcomeLabel.CANCELLED
        await world.sleep(2 * HOUR)
        assert await world.bought("refused") == (0, 0)

    patient = ServerSettings(port=0, return_grace_seconds=20.0)
    play(tmp_path, story, emulator=SLOWLY, redis=redis, server=patient)


def test_a_client_that_a_stalling_store_refused_finds_its_work_when_it_tries_again(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        await world.ask("earlier", deadline="5h", headers={"Prefer": "respond-async"})
        stall(world, 30.0)
        assert (await world.ask("again", deadline="5h")).status == 503
        await world.sleep(20.0)
        again = await world.ask("again", deadline="5h", headers={"x-stainless-retry-count": "1"})
        assert again.status == 200
        assert await world.bought("again") == (0, 1)
        await world.settled()
        await world.assert_books_agree()

    patient = ServerSettings(port=0, return_grace_seconds=60.0)
    play(tmp_path, story, emulator=SLOWLY, redis=redis, server=patient)


def test_nobody_is_held_beyond_the_deadline_by_a_store_that_does_not_answer(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        held = asyncio.gather(*(world.ask(text, deadline="2h") for text in TEXTS))
        await world.until(lambda: bool(world.seen(BatchSubmitted)), within=HOUR)
        stall(world, 9 * HOUR)
        for answer in await held:
            assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
            assert answer.headers["x-should-retry"] == "true"
            assert answer.at - MONDAY_NOON <= 2 * HOUR + MINUTE
        await world.sleep(9 * HOUR)
        retry = {"x-stainless-retry-count": "1"}
        again = await gather(*(world.ask(text, deadline="2h", headers=retry) for text in TEXTS))
        assert [answer.status for answer in again] == [200] * len(TEXTS)
        assert await bought(world) == [1] * len(TEXTS)
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, redis=redis)


def test_a_batch_that_ended_while_the_store_stalled_is_collected_before_anybody_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very look that would have asked about it comes back hours later, and the next one finds it ended."""

    async def story(world: World) -> None:
        later = {"Prefer": "respond-async"}
        accepted = await gather(*(world.ask(text, deadline="2h", headers=later) for text in TEXTS))
        await world.until(lambda: bool(world.seen(BatchSubmitted)), within=HOUR)
        store = world.service.desk.store
        read = store.open_batches
        (batch,) = await read()
        away_until = batch.due_at + 9 * HOUR

        async def late() -> list[Batch]:
            if world.now >= batch.due_at:
                await world.clock.sleep_until(max(away_until, world.now + 1.0))
            return await read()

        monkeypatch.setattr(store, "open_batches", late)
        await world.sleep(10 * HOUR)
        alice = {"Authorization": "Bearer sk-alice"}
        shown = await gather(*(world.send("GET", each.headers["Location"], headers=alice) for each in accepted))
        assert [each.json["response"]["status_code"] for each in shown] == [200] * len(TEXTS)
        assert await bought(world) == [1] * len(TEXTS)
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY)


def test_a_poll_at_a_stalling_store_is_told_so(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        accepted = await world.ask("later", deadline="5h", headers={"Prefer": "respond-async"})
        stall(world, HOUR)
        began = world.now
        alice = {"Authorization": "Bearer sk-alice"}
        shown = await world.send("GET", accepted.headers["Location"] + "?wait=60", headers=alice)
        assert (shown.status, shown.json["error"]["code"]) == (503, "store_unavailable")
        assert shown.at - began <= 90.0
        await world.sleep(2 * HOUR)
        done = await world.send("GET", accepted.headers["Location"], headers=alice)
        assert done.json["status"] == "done"

    play(tmp_path, story, emulator=SLOWLY, redis=redis)


def test_who_returns_to_fetch_its_answer_later_is_not_given_up(tmp_path: Path, redis: str | None) -> None:
    """A held client leaves before anything is submitted, and comes back with its key, not to be held this time."""

    async def story(world: World) -> None:
        key = {"Idempotency-Key": "mine"}
        first = asyncio.ensure_future(world.ask("mine", deadline="5h", headers=key))  # noqa: TID251  cancelled below
        await world.sleep(3.0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        again = await world.ask("mine", deadline="5h", headers={**key, "Prefer": "respond-async"})
        assert again.status == 202
        await world.sleep(2 * HOUR)
        alice = {"Authorization": "Bearer sk-alice"}
        done = await world.send("GET", again.headers["Location"], headers=alice)
        assert done.json["status"] == "done"
        assert await world.bought("mine") == (0, 1)

    play(tmp_path, story, emulator=SLOWLY, redis=redis, server=ServerSettings(port=0, return_grace_seconds=10.0))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that no other test uses."""
    server = RedisServer(binaries()["valkey"], tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_a_redis_whose_memory_is_full_refuses_what_is_new_serves_what_is_urgent_and_loses_nothing(
    tmp_path: Path, own_server: RedisServer
) -> None:
    """As a full disk does, which is in test_worst.py."""

    async def story(world: World) -> None:
        store = world.service.desk.store
        assert isinstance(store, RedisStore)

        async def memory(limit: str) -> None:
            await store._writes.do("CONFIG", "SET", "maxmemory", limit)

        async with world.background(*(world.ask(text, deadline="3h") for text in TEXTS)):
            await world.sleep(MINUTE)
            await memory("1mb")
            refused = await world.ask("x" * 50_000, deadline="3h")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert (await world.ask("urgent")).status == 200
            await world.sleep(30 * MINUTE)
            await memory("0")
        await world.settled(within=12 * HOUR)
        assert await bought(world) == [1] * len(TEXTS)
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, redis=own_server.url)

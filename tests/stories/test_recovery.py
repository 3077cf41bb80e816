"""Lost replies, dead processes, broken files: found out before anything is bought again."""

import asyncio
from pathlib import Path

import pytest

from proxy.domain.events import BatchSettled, BatchSubmitted, BatchTierLost, RequestEscalated, StepFailed, WasteBooked
from proxy.domain.tier import Tier
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map
from tests.conftest import Servers
from tests.world import HOUR, MINUTE, MONDAY_NOON, World, gather, living, play


def _fault(operation: str, kind: FaultKind, **more: object) -> Fault:
    return Fault(operation=operation, kind=kind, **more)  # type: ignore[arg-type]  # passed on as they are


@pytest.fixture(params=["sqlite", "valkey"])
def redis(request: pytest.FixtureRequest, shared_redis: Servers) -> str | None:
    """The store's server; None for a file."""
    return None if request.param == "sqlite" else shared_redis(request.param).url


async def _twenty_right_answers(world: World) -> None:
    answers = await gather(*(world.ask(f"q{n:03}", deadline="5h") for n in range(20)))
    assert [answer.status for answer in answers] == [200] * 20
    assert all(answer.text.startswith(f"echo: q{n:03}") for n, answer in enumerate(answers))


@pytest.mark.parametrize(
    "fault",
    [
        _fault("create_batch", FaultKind.DROP_AFTER),
        _fault("create_batch", FaultKind.DROP_BEFORE),
        _fault("create_batch", FaultKind.DELAY, seconds=75.0),
        _fault("create_batch", FaultKind.DELAY, seconds=95.0),
        _fault("create_batch", FaultKind.DELAY, seconds=600.0),
        _fault("upload_file", FaultKind.DELAY, seconds=600.0),
        _fault("get_batch", FaultKind.DELAY, seconds=600.0),
        _fault("list_batches", FaultKind.DELAY, seconds=600.0),
        _fault("download", FaultKind.DELAY, seconds=600.0),
        _fault("create_batch", FaultKind.STATUS, status=500),
        _fault("create_batch", FaultKind.STATUS, status=429),
        _fault("upload_file", FaultKind.DROP_AFTER),
        _fault("upload_file", FaultKind.DROP_BEFORE),
        _fault("upload_file", FaultKind.STATUS, status=503),
        _fault("get_batch", FaultKind.STATUS, status=500, count=3),
        _fault("get_batch", FaultKind.DROP_BEFORE, count=4),
        _fault("download", FaultKind.STATUS, status=500, count=2),
        _fault("download", FaultKind.TRUNCATE),
        _fault("delete_file", FaultKind.STATUS, status=500, count=2),
        _fault("list_batches", FaultKind.STATUS, status=500),
        _fault("list_batches", FaultKind.TRUNCATE),
        _fault("create_batch", FaultKind.TRUNCATE),
        _fault("upload_file", FaultKind.TRUNCATE),
        _fault("get_batch", FaultKind.TRUNCATE),
        _fault("batch", FaultKind.HIDDEN, seconds=120.0),
        _fault("batch", FaultKind.LATE_OUTPUT, seconds=60.0),
        _fault("batch", FaultKind.EMPTY_ERROR_FILE_ID),
        _fault("batch", FaultKind.DUPLICATED_LINES, lines=3),
        _fault("batch", FaultKind.UNKNOWN_LINES, lines=3),
    ],
    ids=lambda fault: f"{fault.operation}-{fault.kind}-{fault.seconds or fault.status}",
)
def test_every_line_is_bought_once_whatever_reply_is_lost(tmp_path: Path, redis: str | None, fault: Fault) -> None:
    async def story(world: World) -> None:
        await _twenty_right_answers(world)
        await world.settled(within=3 * HOUR)
        await world.sleep(2 * HOUR)
        for n in range(20):
            assert await world.bought(f"q{n:03}") == (0, 1)
        await world.assert_books_agree()
        assert world.emulator.faults.listed() == []

    lost = _fault("create_batch", FaultKind.DROP_AFTER)
    before = (lost,) if fault.operation == "list_batches" else ()  # only then the list is asked for
    play(tmp_path, story, faults=(*before, fault), redis=redis)


def test_lines_that_are_in_no_file_are_bought_again_alone_and_booked(tmp_path: Path, redis: str | None) -> None:
    """The provider says that it has done them, and bills them: what they cost is nowhere to be read."""

    async def story(world: World) -> None:
        await _twenty_right_answers(world)
        await world.settled(within=3 * HOUR)
        first, second = world.seen(BatchSettled)
        assert (first.answered, first.missing) == (17, 3)
        assert (second.answered, second.missing) == (3, 0)
        assert [(w.row.tier, w.row.batch_id, w.row.paid_usd) for w in world.seen(WasteBooked)] == [
            (Tier.BATCH, first.batch_id, None)
        ] * 3
        account = await world.account()
        assert account["tiers"]["batch"]["requests"] == 23
        totals = await world.service.desk.store.ledger(since=0.0, until=world.now + 1)
        assert (sum(total.rows for total in totals), sum(total.unknown_paid for total in totals)) == (23, 3)

    play(tmp_path, story, faults=(_fault("batch", FaultKind.MISSING_LINES, lines=3),), redis=redis)


def test_a_completed_batch_whose_output_never_comes_is_booked_and_bought_again(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        await _twenty_right_answers(world)
        await world.settled(within=5 * HOUR)
        first, second = world.seen(BatchSettled)
        assert (first.answered, first.missing, second.answered) == (0, 20, 20)
        assert [waste.row.batch_id for waste in world.seen(WasteBooked)] == [first.batch_id] * 20
        totals = await world.service.desk.store.ledger(since=0.0, until=world.now + 1)
        assert sum(total.unknown_paid for total in totals) == 20

    never = _fault("batch", FaultKind.LATE_OUTPUT, seconds=40 * HOUR)
    play(tmp_path, story, faults=(never,), redis=redis)


def test_a_line_that_fails_with_a_server_error_is_tried_again_and_then_bought_synchronously(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        fine, unlucky = await gather(world.ask("fine", deadline="5h"), world.ask("unlucky", deadline="5h"))
        assert (fine.status, fine.tier) == (200, "batch")
        assert (unlucky.status, unlucky.tier) == (200, "standard")
        assert len(world.seen(BatchSubmitted)) == 2
        await world.settled()
        await world.assert_books_agree()

    unlucky = _fault("line", FaultKind.STATUS, status=500, marker="unlucky", count=None)
    play(tmp_path, story, faults=(unlucky,), redis=redis)


@pytest.mark.parametrize("status", [404, 405])
def test_an_upstream_without_batches_loses_that_rung_and_everybody_is_served(
    tmp_path: Path, redis: str | None, status: int
) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("first", deadline="2h")
        assert (answer.status, answer.tier) == (200, "standard")
        assert world.seen(BatchTierLost)
        later = await world.ask("second", deadline="2h")
        assert (later.status, later.reason) in {(200, "no_batch_tier"), (200, "deadline_allows")}
        assert later.at <= MONDAY_NOON + 4 * HOUR

    play(tmp_path, story, faults=(_fault("create_batch", FaultKind.STATUS, status=status, count=None),), redis=redis)


def test_a_full_queue_at_the_provider_halves_the_batch_and_waits(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n:03} " + "word " * 200, deadline="10h") for n in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        await world.settled(within=10 * HOUR)
        assert max(event.lines for event in world.seen(BatchSubmitted)) == 20
        assert any(event.lines <= 10 for event in world.seen(BatchSubmitted))
        await world.assert_books_agree()

    limited = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0, enqueued_tokens_max=4000)
    play(tmp_path, story, emulator=limited, redis=redis)


def test_a_provider_that_is_down_for_an_hour_delays_and_loses_nothing(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        everything = ("upload_file", "create_batch", "get_batch", "list_batches", "download", "delete_file")
        world.emulator.faults.add(*(_fault(name, FaultKind.STATUS, status=503, count=None) for name in everything))
        async with world.background(*(world.ask(f"q{n:03}", deadline="5h") for n in range(5))):
            await world.sleep(HOUR)
            assert world.seen(StepFailed)
            world.emulator.faults.clear()
        await world.settled(within=3 * HOUR)
        for n in range(5):
            assert await world.bought(f"q{n:03}") == (0, 1)
        await world.assert_books_agree()

    play(tmp_path, story, redis=redis)


def test_a_restart_finds_its_batch_and_its_clients_find_their_answers(tmp_path: Path, redis: str | None) -> None:
    async def whole() -> None:
        clock = LoopClock()
        settings = Settings(turnaround=Constant(30 * MINUTE), latency_seconds=1.0)
        async with serving(settings, clock, read_cost_map().models) as provider:
            async with living(tmp_path, provider, clock, redis=redis) as before:
                waiting = before.ask("survivor", deadline="5h", headers={"Prefer": "respond-async"})
                where = (await waiting).headers["Location"]
                await before.until(lambda: bool(before.seen(BatchSubmitted)), within=HOUR)
            async with living(tmp_path, provider, clock, seed=1, redis=redis) as after:
                await after.sleep(HOUR)
                done = await after.send("GET", where, headers={"Authorization": "Bearer sk-alice"})
                assert done.json["status"] == "done"
                assert await after.bought("survivor") == (0, 1)
                await after.settled()
                await after.assert_books_agree()

    run(whole(), start_at=MONDAY_NOON)


@pytest.mark.parametrize("away_hours", [2.9, 3.2, 9.0])
def test_a_process_that_was_away_too_long_collects_before_it_buys_again_or_gives_up(
    tmp_path: Path, redis: str | None, away_hours: float
) -> None:
    """The deadline is near or over when it returns, and the batch has been done for hours."""
    alice = {"Authorization": "Bearer sk-alice"}

    async def whole() -> None:
        clock = LoopClock()
        settings = Settings(turnaround=Constant(30 * MINUTE), latency_seconds=1.0)
        async with serving(settings, clock, read_cost_map().models) as provider:
            async with living(tmp_path, provider, clock, redis=redis) as before:
                later = {"Prefer": "respond-async"}
                left = await gather(*(before.ask(f"q{n:03}", deadline="3h", headers=later) for n in range(20)))
                await before.until(lambda: bool(before.seen(BatchSubmitted)), within=HOUR)
            await clock.sleep_until(MONDAY_NOON + away_hours * HOUR)
            async with living(tmp_path, provider, clock, seed=1, redis=redis) as after:
                await after.sleep(MINUTE)
                shown = [await after.send("GET", one.headers["Location"], headers=alice) for one in left]
                assert {one.json["status"] for one in shown} == {"done"}
                assert [await after.bought(f"q{n:03}") for n in range(20)] == [(0, 1)] * 20
                assert after.seen(WasteBooked) == []
                await after.settled()
                await after.assert_books_agree()

    run(whole(), start_at=MONDAY_NOON)


def test_who_takes_over_asks_what_has_become_of_a_batch_before_its_lines_are_bought(
    tmp_path: Path, redis: str | None
) -> None:
    """A process dies seconds before a batch is done, and it is time to move when the next one takes over."""
    takes_seconds = 17 * MINUTE + 20.0

    async def whole() -> None:
        clock = LoopClock()
        settings = Settings(turnaround=Constant(takes_seconds), latency_seconds=1.0)
        async with serving(settings, clock, read_cost_map().models) as provider:
            async with living(tmp_path, provider, clock, redis=redis) as before:
                await before.ask("just in time", deadline="20m", headers={"Prefer": "respond-async"})
                await before.until(lambda: bool(before.seen(BatchSubmitted)), within=HOUR)
                (submitted,) = before.seen(BatchSubmitted)
                await clock.sleep_until(submitted.at + takes_seconds - 5.0)
                assert not before.seen(RequestEscalated)
                assert not before.seen(BatchSettled)
            await clock.sleep_until(MONDAY_NOON + 18 * MINUTE + 20.0)
            async with living(tmp_path, provider, clock, seed=1, redis=redis) as after:
                await after.settled()
                assert await after.bought("just in time") == (0, 1)
                await after.assert_books_agree()

    run(whole(), start_at=MONDAY_NOON)


def test_a_held_client_is_told_to_come_back_when_the_proxy_stops_and_then_finds_its_work(
    tmp_path: Path, redis: str | None
) -> None:
    async def whole() -> None:
        clock = LoopClock()
        settings = Settings(turnaround=Constant(30 * MINUTE), latency_seconds=1.0)
        async with serving(settings, clock, read_cost_map().models) as provider:
            replies = []

            async def hold(world: World) -> None:
                replies.append(await world.ask("held", deadline="5h"))

            async with living(tmp_path, provider, clock, redis=redis) as before:
                task = asyncio.ensure_future(hold(before))  # noqa: TID251  it outlives the block on purpose
                await before.until(lambda: bool(before.seen(BatchSubmitted)), within=HOUR)
                before.service.house.draining = True
                before.service.house.holds.wake_all()
                await task
            (told,) = replies
            assert told.status == 503
            assert told.headers["x-should-retry"] == "true"
            assert float(told.headers["Retry-After"]) > 0
            async with living(tmp_path, provider, clock, seed=1, redis=redis) as after:
                again = await after.ask("held", deadline="5h", headers={"x-stainless-retry-count": "1"})
                assert (again.status, again.tier) == (200, "batch")
                assert await after.bought("held") == (0, 1)
                assert after.seen(WasteBooked) == []

    run(whole(), start_at=MONDAY_NOON)


def test_the_books_agree_when_calls_break_off_in_the_middle(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("cut", deadline="2h")
        assert (answer.status, answer.tier) == (200, "standard")
        sync, batch = await world.bought("cut")
        assert (sync, batch) == (2, 0)
        (lost,) = world.seen(WasteBooked)
        assert lost.row.paid_usd is None

    refused = _fault("upload_file", FaultKind.STATUS, status=503, count=None)
    play(tmp_path, story, faults=(refused, _fault("chat", FaultKind.DROP_AFTER)), redis=redis)


def test_files_that_a_dead_process_left_at_the_provider_are_swept_after_the_restart(
    tmp_path: Path, redis: str | None
) -> None:
    async def whole() -> None:
        clock = LoopClock()
        lost = _fault("upload_file", FaultKind.DROP_AFTER)
        settings = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0, faults=(lost,))
        async with serving(settings, clock, read_cost_map().models) as provider:
            async with living(tmp_path, provider, clock, redis=redis) as before:
                assert (await before.ask("x", deadline="3h")).status == 200
                await before.settled()
                assert len((await before.account())["files"]) == 1
            async with living(tmp_path, provider, clock, seed=1, redis=redis) as after:
                await after.sleep(2 * HOUR)
                assert (await after.account())["files"] == []

    run(whole(), start_at=MONDAY_NOON)

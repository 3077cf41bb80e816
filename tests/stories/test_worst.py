"""The provider at its worst, one scenario each: every client is answered by its deadline, or told clearly why not.

What is about lost replies and broken files is in test_recovery.py.
"""

from pathlib import Path

import pytest

from proxy.domain.batch import BatchOutcome
from proxy.domain.events import BatchSettled, BatchTierLost, StepFailed, WasteBooked
from proxy.domain.tier import Tier
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant, Stuck
from proxy.store.sqlite import SqliteStore
from tests.conftest import Servers
from tests.world import HOUR, MINUTE, Reply, World, gather, play

LINES = 12
TEXTS = [f"q{number:03}" for number in range(LINES)]
SLOWLY = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0)


@pytest.fixture(params=["sqlite", "valkey"])
def redis(request: pytest.FixtureRequest, shared_redis: Servers) -> str | None:
    """The store's server; None for a file."""
    return None if request.param == "sqlite" else shared_redis(request.param).url


@pytest.fixture(params=["sqlite", pytest.param("valkey", marks=pytest.mark.long)])
def file_or_redis(request: pytest.FixtureRequest, shared_redis: Servers) -> str | None:
    """As `redis`; the server takes part in the long runs only: every call of the engine goes through one seam."""
    return None if request.param == "sqlite" else shared_redis(request.param).url


async def ask_all(world: World, deadline: str = "5h") -> list[Reply]:
    return await gather(*(world.ask(text, deadline=deadline) for text in TEXTS))


def all_are_right(answers: list[Reply]) -> bool:
    return all(
        answer.status == 200 and answer.text.startswith(f"echo: {text}")
        for answer, text in zip(answers, TEXTS, strict=True)
    )


async def bought(world: World) -> list[tuple[int, int]]:
    return [await world.bought(text) for text in TEXTS]


def fault(operation: str, kind: FaultKind, **more: object) -> Fault:
    return Fault(operation=operation, kind=kind, **more)  # type: ignore[arg-type]  # passed on as they are


def test_one_invalid_line_is_isolated_and_the_rest_goes_into_another_batch(tmp_path: Path, redis: str | None) -> None:
    """The provider refuses the whole file and names the line; upstream's own word on it is its client's answer."""
    culprit = fault("line", FaultKind.INVALID, marker="q007", count=None)

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world))
        await world.settled()
        assert await bought(world) == [(1, 0) if text == "q007" else (0, 1) for text in TEXTS]
        first, second = world.seen(BatchSettled)
        assert (first.refused, second.answered) == (LINES, LINES - 1)
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(culprit,), redis=redis)


@pytest.mark.parametrize(
    "failure",
    [
        fault("line", FaultKind.STATUS, status=500),
        fault("line", FaultKind.STATUS, status=429),
        fault("line", FaultKind.STATUS, status=0),
        fault("line", FaultKind.NO_RESPONSE),
    ],
    ids=["500", "429", "status-0", "no-response"],
)
def test_every_shape_of_a_failed_line_is_tried_again_alone(tmp_path: Path, redis: str | None, failure: Fault) -> None:
    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world))
        await world.settled()
        assert await bought(world) == [(0, 1)] * LINES
        first, second = world.seen(BatchSettled)
        assert (first.answered, first.refused, second.answered) == (LINES - 1, 1, 1)
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(failure,), redis=redis)


def test_a_line_that_is_wrong_gets_its_own_refusal(tmp_path: Path, redis: str | None) -> None:
    """A 400 of a single line is the client's to see, with upstream's own body, and is not tried again."""
    wrong = fault("line", FaultKind.STATUS, status=400, marker="q003", count=None)

    async def story(world: World) -> None:
        answers = await ask_all(world)
        assert [answer.status for answer in answers] == [400 if text == "q003" else 200 for text in TEXTS]
        assert answers[3].json["error"]["code"] == "injected_fault"
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(wrong,), redis=redis)


@pytest.mark.parametrize("state", ["validating", "in_progress", "finalizing"])
def test_a_batch_that_is_stuck_in_any_state_holds_nobody_beyond_the_deadline(
    tmp_path: Path, redis: str | None, state: str
) -> None:
    stuck = fault("batch", FaultKind.STUCK, state=state, count=None)

    async def story(world: World) -> None:
        started = world.now
        answers = await ask_all(world, deadline="3h")
        assert all_are_right(answers)
        assert all(answer.at <= started + 3 * HOUR for answer in answers)
        await world.settled(within=30 * HOUR)
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(stuck,), redis=redis)


def test_a_batch_that_is_cancelled_late_has_finished_more_lines_and_none_is_bought_again(
    tmp_path: Path, redis: str | None
) -> None:
    """Lines at work finish after the cancellation: they are collected before anything is bought."""
    provider = Settings(turnaround=Stuck(done_share=0.25), latency_seconds=1.0, lines_in_flight=5)

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world, deadline="3h"))
        await world.settled(within=30 * HOUR)
        counts = await bought(world)
        assert sum(sync + batch for sync, batch in counts) == LINES
        assert sum(batch for _, batch in counts) >= 3 + 5
        await world.assert_books_agree()

    play(tmp_path, story, emulator=provider, redis=redis)


def test_a_cancelled_batch_whose_files_come_late_is_waited_for(tmp_path: Path, redis: str | None) -> None:
    """What it has finished is billed: to buy that again because its file is not there yet would be waste."""
    late = fault("batch", FaultKind.LATE_OUTPUT, seconds=60.0)

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world, deadline="3h"))
        await world.settled(within=30 * HOUR)
        first, *_ = world.seen(BatchSettled)
        assert (first.outcome, first.answered) == (BatchOutcome.CANCELLED, LINES / 2)
        assert [sync + batch for sync, batch in await bought(world)] == [1] * LINES
        await world.assert_books_agree()

    play(tmp_path, story, emulator=STUCK_HALFWAY, faults=(late,), redis=redis)


def test_an_error_file_of_zero_bytes_is_no_error(tmp_path: Path, redis: str | None) -> None:
    empty = fault("batch", FaultKind.ZERO_BYTE_ERROR_FILE)

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world))
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(empty,), redis=redis)


EVERY_CALL = (
    *("upload_file", "create_batch", "get_batch", "download", "delete_file", "list_batches", "list_files"),
    *("cancel_batch", "chat"),
)
"""Every call that Standby makes for deferred requests."""
LOST_CREATION = fault("create_batch", FaultKind.DROP_AFTER)
STUCK_HALFWAY = Settings(turnaround=Stuck(done_share=0.5), latency_seconds=1.0, lines_in_flight=0)


def needing(operation: str) -> tuple[Settings, tuple[Fault, ...]]:
    """A provider at which this call has to be made, and what must go wrong before it is."""
    if operation == "list_batches":
        return SLOWLY, (LOST_CREATION,)
    return (STUCK_HALFWAY if operation in {"cancel_batch", "chat"} else SLOWLY), ()


@pytest.mark.parametrize(
    "status", [pytest.param(429, marks=pytest.mark.long), pytest.param(500, marks=pytest.mark.long), 503]
)
@pytest.mark.parametrize("operation", EVERY_CALL)
def test_five_refusals_in_a_row_of_any_call_cost_only_time(
    tmp_path: Path, file_or_redis: str | None, operation: str, status: int
) -> None:
    provider, before = needing(operation)
    refusals = fault(operation, FaultKind.STATUS, status=status, count=5, seconds=2.0)

    async def story(world: World) -> None:
        started = world.now
        answers = await ask_all(world, deadline="8h")
        assert all_are_right(answers)
        assert all(answer.at <= started + 8 * HOUR for answer in answers)
        await world.settled(within=30 * HOUR)
        await world.until(lambda: not world.emulator.faults.listed(), within=2 * HOUR)
        assert [sync + batch for sync, batch in await bought(world)] == [1] * LINES
        await world.assert_books_agree()

    play(tmp_path, story, emulator=provider, faults=(*before, refusals), redis=file_or_redis)


def test_a_provider_that_refuses_everything_for_good_is_told_to_the_client(tmp_path: Path, redis: str | None) -> None:
    broken = tuple(
        fault(operation, FaultKind.STATUS, status=503, count=None)
        for operation in ("upload_file", "create_batch", "list_batches", "chat")
    )

    async def story(world: World) -> None:
        answers = await ask_all(world, deadline="2h")
        assert {answer.status for answer in answers} == {504}
        assert "upstream answered 503" in answers[0].json["error"]["message"]
        assert answers[0].headers["x-should-retry"] == "false"
        assert await bought(world) == [(0, 0)] * LINES

    play(tmp_path, story, emulator=SLOWLY, faults=broken, redis=redis)


def test_files_that_cannot_be_deleted_are_deleted_when_they_can_be(tmp_path: Path, redis: str | None) -> None:
    stubborn = fault("delete_file", FaultKind.STATUS, status=500, count=60)

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world))
        assert (await world.account())["files"]
        await world.settled(within=12 * HOUR)
        await world.assert_books_agree()
        assert world.seen(StepFailed)

    play(tmp_path, story, emulator=SLOWLY, faults=(stubborn,), redis=redis)


@pytest.mark.parametrize("status", [404, 405])
def test_a_rung_that_is_gone_is_remembered_and_asked_for_again_later(
    tmp_path: Path, redis: str | None, status: int
) -> None:
    """Without batches newcomers are bought synchronously; what waits already waits for ten minutes more."""
    gone = fault("create_batch", FaultKind.STATUS, status=status)

    async def story(world: World) -> None:
        async with world.background(*(world.ask(text, deadline="3h") for text in TEXTS)):
            await world.until(lambda: bool(world.seen(BatchTierLost)), within=HOUR)
            newcomer = await world.ask("while it is gone", deadline="4h")
            assert newcomer.tier == "standard"
        assert await bought(world) == [(0, 1)] * LINES
        later = await world.ask("when it is back", deadline="4h")
        assert later.tier == "batch"
        assert len(world.seen(BatchTierLost)) == 1
        await world.settled()
        await world.sleep(2 * HOUR)
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(gone,), redis=redis)


@pytest.mark.parametrize("skew_seconds", [-200.0, 200.0, 3600.0])
@pytest.mark.parametrize("lost", [FaultKind.DROP_AFTER, FaultKind.DROP_BEFORE])
def test_a_provider_whose_clock_is_off_is_understood_all_the_same(
    tmp_path: Path, redis: str | None, skew_seconds: float, lost: FaultKind
) -> None:
    """Its instants are used only to end the search for a batch, with room for a clock that is behind."""

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world))
        await world.settled(within=3 * HOUR)
        await world.sleep(2 * HOUR)
        assert await bought(world) == [(0, 1)] * LINES
        await world.assert_books_agree()

    creation = fault("create_batch", lost)
    play(tmp_path, story, emulator=SLOWLY, faults=(creation,), redis=redis, skew_seconds=skew_seconds)


def test_a_full_disk_refuses_what_is_new_serves_what_is_urgent_and_loses_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        store = world.service.desk.store
        assert isinstance(store, SqliteStore)

        async def pages_at_most(pages: int) -> None:
            await store._writes.do(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchall())

        async with world.background(*(world.ask(text, deadline="3h") for text in TEXTS)):
            await world.sleep(MINUTE)
            await pages_at_most(1)  # SQLite takes the number of pages that there are
            refused = await world.ask("x" * 50_000, deadline="3h")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert (await world.ask("urgent")).status == 200
            await world.sleep(30 * MINUTE)
            await pages_at_most(1_000_000)
        await world.settled(within=12 * HOUR)
        assert [sync + batch for sync, batch in await bought(world)] == [1] * LINES
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY)


@pytest.mark.parametrize("kind", [FaultKind.DELAY, pytest.param(FaultKind.TRICKLE, marks=pytest.mark.long)])
@pytest.mark.parametrize("operation", [name for name in EVERY_CALL if name != "chat"])
def test_a_connection_that_hangs_or_trickles_for_hours_holds_nobody_up(
    tmp_path: Path, file_or_redis: str | None, operation: str, kind: FaultKind
) -> None:
    """Half open: the provider takes the call, and nothing comes back, or a byte now and then."""
    provider, before = needing(operation)
    hanging = fault(operation, kind, seconds=2 * HOUR)

    async def story(world: World) -> None:
        started = world.now
        answers = await ask_all(world, deadline="4h")
        assert all_are_right(answers)
        assert all(answer.at <= started + 4 * HOUR for answer in answers)
        await world.settled(within=30 * HOUR)
        await world.until(lambda: not world.emulator.faults.listed(), within=2 * HOUR)
        await world.sleep(4 * HOUR)
        assert [sync + batch for sync, batch in await bought(world)] == [1] * LINES
        await world.assert_books_agree()

    play(tmp_path, story, emulator=provider, faults=(*before, hanging), redis=file_or_redis)


@pytest.mark.parametrize("kind", [FaultKind.DELAY, FaultKind.TRICKLE])
def test_a_synchronous_call_that_hangs_is_given_up_booked_and_made_again(
    tmp_path: Path, redis: str | None, kind: FaultKind
) -> None:
    """Whether it was billed cannot be known: it is counted, without an amount. A call may take 15 minutes."""
    hanging = fault("chat", kind, seconds=2 * HOUR, marker="q007")

    async def story(world: World) -> None:
        started = world.now
        answers = await ask_all(world, deadline="4h")
        assert all_are_right(answers)
        late = [answer.at - started for answer in answers if answer.at > started + 4 * HOUR]
        assert len(late) <= 1
        assert max(late, default=0.0) <= 4 * HOUR + 16 * MINUTE
        (waste,) = world.seen(WasteBooked)
        assert (waste.row.tier, waste.row.paid_usd) == (Tier.STANDARD, None)
        await world.settled(within=30 * HOUR)

    never = Settings(turnaround=Stuck(), latency_seconds=1.0, lines_in_flight=0)
    play(tmp_path, story, emulator=never, faults=(hanging,), redis=redis)


def test_a_batch_all_of_whose_lines_failed_has_no_output_file(tmp_path: Path, redis: str | None) -> None:
    failing = fault("line", FaultKind.STATUS, status=500, count=LINES)

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world))
        await world.settled()
        first, second = world.seen(BatchSettled)
        assert (first.refused, second.answered) == (LINES, LINES)
        assert await bought(world) == [(0, 1)] * LINES
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=(failing,), redis=redis)


def test_everything_at_once_is_survived_too(tmp_path: Path, redis: str | None) -> None:
    """Lost replies, refusals, broken files, odd lines and a hidden batch, all in one day."""
    day = (
        fault("upload_file", FaultKind.DROP_AFTER),
        fault("create_batch", FaultKind.DROP_AFTER),
        fault("list_batches", FaultKind.STATUS, status=500),
        fault("batch", FaultKind.HIDDEN, seconds=60.0),
        fault("batch", FaultKind.LATE_OUTPUT, seconds=60.0),
        fault("batch", FaultKind.DUPLICATED_LINES, lines=3),
        fault("batch", FaultKind.UNKNOWN_LINES, lines=3),
        fault("batch", FaultKind.EMPTY_ERROR_FILE_ID),
        fault("line", FaultKind.NO_RESPONSE),
        fault("line", FaultKind.STATUS, status=0),
        fault("download", FaultKind.TRUNCATE),
        fault("download", FaultKind.STATUS, status=429, seconds=30.0),
        fault("get_batch", FaultKind.DROP_BEFORE, count=2),
        fault("delete_file", FaultKind.STATUS, status=500, count=3),
    )

    async def story(world: World) -> None:
        assert all_are_right(await ask_all(world, deadline="8h"))
        await world.settled(within=12 * HOUR)
        await world.sleep(3 * HOUR)
        assert [sync + batch for sync, batch in await bought(world)] == [1] * LINES
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOWLY, faults=day, redis=redis)

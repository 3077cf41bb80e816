"""Deadlines hold when batches do not: partial results are harvested first, then the rest is bought synchronously."""

from decimal import Decimal
from pathlib import Path

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.events import BatchSubmitted, RequestEscalated, RequestFinished, WasteBooked
from proxy.domain.ids import RequestId, UpstreamName
from proxy.domain.money import Purchase
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant, Stuck
from proxy.routing import latency, planner
from proxy.routing.ratelimit import Settings as LimitSettings
from tests.conftest import Servers
from tests.world import HOUR, MINUTE, MONDAY_NOON, Reply, World, gather, play


@pytest.fixture(params=["sqlite", "valkey"])
def redis(request: pytest.FixtureRequest, shared_redis: Servers) -> str | None:
    """The store's server; None for a file."""
    return None if request.param == "sqlite" else shared_redis(request.param).url


def test_a_stuck_batch_is_cancelled_and_harvested_and_only_the_rest_is_tried_again(
    tmp_path: Path, redis: str | None
) -> None:
    """Half of each batch is done at once and the rest never: with time left it is worth another batch."""

    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n:03}", deadline="2h") for n in range(40)))
        assert all(answer.status == 200 for answer in answers)
        assert all(answer.at <= MONDAY_NOON + 2 * HOUR for answer in answers)
        tiers = [answer.tier for answer in answers]
        assert tiers.count("batch") >= 30
        assert len(world.seen(BatchSubmitted)) >= 2
        await world.settled(within=26 * HOUR)
        assert world.seen(WasteBooked) == []
        for n in range(40):
            assert sum(await world.bought(f"q{n:03}")) == 1
        await world.assert_books_agree()

    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Stuck(done_share=0.5), latency_seconds=1.0, lines_in_flight=0),
        redis=redis,
    )


def test_when_cancelling_does_not_work_the_requests_are_bought_blind_in_time(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("hurry", deadline="2h")
        assert (answer.status, answer.tier) == (200, "standard")
        assert answer.at <= MONDAY_NOON + 2 * HOUR
        (escalated,) = world.seen(RequestEscalated)
        assert escalated.blind

    refusing = Fault(operation="cancel_batch", kind=FaultKind.STATUS, status=500, count=None)
    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Constant(5 * HOUR), latency_seconds=1.0),
        faults=(refusing,),
        redis=redis,
    )


def test_a_late_batch_result_is_booked_as_waste_and_never_replaces_the_answer(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("twice", deadline="2h")
        assert answer.tier == "standard"
        await world.settled(within=8 * HOUR)
        assert await world.bought("twice") == (1, 1)
        (waste,) = world.seen(WasteBooked)
        assert waste.row.saved_usd is not None
        assert waste.row.saved_usd < 0
        await world.assert_books_agree()

    refusing = Fault(operation="cancel_batch", kind=FaultKind.STATUS, status=500, count=None)
    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Constant(5 * HOUR), latency_seconds=1.0),
        faults=(refusing,),
        redis=redis,
    )


def test_many_requests_start_to_move_early_enough_for_the_rate_limit(tmp_path: Path, redis: str | None) -> None:
    """120 requests at 6 a minute (less a tenth) need 22 minutes: the last minute would be too late."""

    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n:03}", deadline="2h") for n in range(120)))
        assert all(answer.status == 200 for answer in answers)
        late = [answer for answer in answers if answer.at > MONDAY_NOON + 2 * HOUR]
        assert late == []
        assert (await world.account())["rate_limited"] == 0

    upstream = UpstreamSettings(limits=LimitSettings(requests_per_minute=6))
    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Stuck(), latency_seconds=1.0, rpm=6),
        upstream=upstream,
        redis=redis,
    )


def test_an_urgent_call_goes_out_at_once_while_escalations_wait_for_the_rate_limit(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        async with world.background(*(world.ask(f"q{n:03}", deadline="2h") for n in range(60))):
            await world.until(lambda: len(world.seen(RequestEscalated)) > 5, within=2 * HOUR)
            began = world.now
            answer = await world.ask("urgent")
            assert answer.status == 200
            assert answer.at - began < 3.0

    upstream = UpstreamSettings(limits=LimitSettings(requests_per_minute=12))
    stuck = Settings(turnaround=Stuck(), latency_seconds=1.0, lines_in_flight=0)
    play(tmp_path, story, emulator=stuck, upstream=upstream, redis=redis)


def test_what_urgent_traffic_takes_of_the_limit_is_reckoned_with(tmp_path: Path) -> None:
    """6 a minute, of which urgent calls take 3: the rest needs ten minutes for 30 requests, not five and a half."""

    async def story(world: World) -> None:
        async def ask_urgently(number: int) -> Reply:
            await world.sleep(40 * MINUTE + number * 20.0)
            return await world.ask(f"urgent {number}")

        async with world.background(*(ask_urgently(number) for number in range(60))):
            answers = await gather(*(world.ask(f"q{n:03}", deadline="1h") for n in range(30)))
        assert all(answer.status == 200 for answer in answers)
        assert [answer for answer in answers if answer.at > MONDAY_NOON + HOUR] == []
        assert (await world.account())["rate_limited"] == 0

    play(tmp_path, story, emulator=Settings(turnaround=Stuck(), latency_seconds=1.0, lines_in_flight=0, rpm=6))


def test_tokens_are_reckoned_with_where_they_are_the_scarcer_limit(tmp_path: Path) -> None:
    """20 requests of a fifth of a minute's tokens each need four and a half minutes, however small those are that are
    due after them.
    """

    async def story(world: World) -> None:
        large = "word " * 1000
        later = [world.ask(f"{n:03}", deadline="90m") for n in range(60)]
        answers = await gather(*(world.ask(f"{n:03} {large}", deadline="1h") for n in range(20)), *later)
        assert all(answer.status == 200 for answer in answers)
        assert [answer for answer in answers[:20] if answer.at > MONDAY_NOON + HOUR] == []
        assert (await world.account())["rate_limited"] == 0

    stuck = Settings(turnaround=Stuck(), latency_seconds=1.0, lines_in_flight=0, tpm=6000, rpm=1000)
    play(tmp_path, story, emulator=stuck)


def test_a_request_that_no_tier_answers_ends_with_a_clear_504_after_its_overtime(
    tmp_path: Path, redis: str | None
) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("nobody home", deadline="2h")
        assert answer.status == 504
        assert answer.json["error"]["code"] == "deadline_exceeded"
        assert "503" in answer.json["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        (finished,) = world.seen(RequestFinished)
        assert finished.outcome == "expired"
        rows = await world.service.desk.store.ledger_rows(finished.request_id)
        assert [row.paid_usd for row in rows if row.kind is Purchase.EXPIRED] == [Decimal(0)]
        assert [row.met for row in rows if row.met is not None] == [False]

    down = Fault(operation="chat", kind=FaultKind.STATUS, status=503, count=None)
    play(tmp_path, story, emulator=Settings(turnaround=Stuck(), lines_in_flight=0), faults=(down,), redis=redis)


def test_an_expired_batch_is_harvested_and_its_unfinished_lines_are_answered(tmp_path: Path, redis: str | None) -> None:
    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n:03}", deadline="6h") for n in range(20)))
        assert all(answer.status == 200 for answer in answers)
        assert {answer.tier for answer in answers} == {"batch", "standard"}
        await world.settled(within=10 * HOUR)
        for n in range(20):
            assert sum(await world.bought(f"q{n:03}")) == 1
        await world.assert_books_agree()

    stuck = Settings(
        turnaround=Stuck(done_share=0.5), latency_seconds=1.0, window_seconds=90 * MINUTE, lines_in_flight=0
    )
    play(tmp_path, story, emulator=stuck, redis=redis)


def test_what_the_rate_limit_cannot_carry_is_taken_in_all_the_same_and_says_so(
    tmp_path: Path, redis: str | None
) -> None:
    """6 a minute carry 540 minutes' worth of a hundred requests, but not within an hour, should batches fail."""

    async def story(world: World) -> None:
        async with world.background(*(world.ask(f"q{n:03}", deadline="1h") for n in range(600))):
            await world.sleep(30.0)
            late = await world.ask("one more", deadline="1h")
            assert (late.status, late.tier, late.reason) == (200, "batch", "deadline_allows")
            assert late.headers["X-Standby-Best-Effort"] == "true"
            easy = await world.ask("plenty of time", deadline="20h")
            assert "X-Standby-Best-Effort" not in easy.headers

    upstream = UpstreamSettings(limits=LimitSettings(requests_per_minute=6))
    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0),
        upstream=upstream,
        redis=redis,
    )


def test_where_the_rate_limit_is_used_up_a_short_deadline_goes_into_a_batch_too(
    tmp_path: Path, redis: str | None
) -> None:
    """A synchronous call would only join a queue that is full already."""

    async def story(world: World) -> None:
        async with world.background(*(world.ask(f"q{n:03}", deadline="15m") for n in range(100))):
            await world.sleep(11.0)
            first = await world.ask("due before the others", deadline="9m")
            assert (first.status, first.reason) == (200, "deadline_short")
            late = await world.ask("due after the others", deadline="15m")
            assert (late.status, late.reason) == (200, "capacity_short")
            assert late.headers["X-Standby-Best-Effort"] == "true"

    upstream = UpstreamSettings(limits=LimitSettings(requests_per_minute=6))
    unhurried = planner.Settings(batches=latency.Settings(prior_median_seconds=7200.0))
    emulator = Settings(turnaround=Constant(5 * MINUTE), latency_seconds=1.0)
    play(tmp_path, story, emulator=emulator, upstream=upstream, planner=unhurried, redis=redis)


def test_a_model_whose_calls_take_long_is_escalated_that_much_earlier(tmp_path: Path, redis: str | None) -> None:
    """Its calls take four minutes, and the configured service time is one."""

    async def story(world: World) -> None:
        assert (await world.ask("urgent")).status == 200
        answer = await world.ask("deferred", deadline="2h")
        assert (answer.status, answer.tier) == (200, "standard")
        assert answer.at <= world.seen(RequestFinished)[0].deadline_at

    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Stuck(), latency_seconds=4 * MINUTE, lines_in_flight=0),
        redis=redis,
    )


def test_a_policy_that_wants_less_confidence_moves_later(tmp_path: Path, redis: str | None) -> None:
    """One call in ten takes four minutes: who wants 99.9 % reckons with those, who wants 80 % with a minute."""

    async def story(world: World) -> None:
        times = world.service.desk.call_times
        for number in range(300):
            times.observe(UpstreamName("openai"), "gpt-4o-mini", 240.0 if number % 10 == 0 else 5.0)
        deadline_at = MONDAY_NOON + 2 * HOUR
        sure, easy = await gather(
            world.ask("sure", deadline="2h"), world.ask("easy", deadline="2h", headers={"x-app": "easy"})
        )
        began = {event.request_id: event.at for event in world.seen(RequestEscalated)}
        assert len(began) == 2
        early, late = (began[RequestId(answer.headers["X-Standby-Request-Id"])] for answer in (sure, easy))
        assert 4 * MINUTE <= deadline_at - early <= 6 * MINUTE
        assert 1 * MINUTE <= deadline_at - late <= 3 * MINUTE

    file = tmp_path / "policy.yaml"
    file.write_text("rules:\n- name: easy\n  match: {header: {x-app: easy}}\n  then: {confidence: 0.8}\n")
    play(
        tmp_path,
        story,
        emulator=Settings(turnaround=Stuck(0.0), latency_seconds=1.0, lines_in_flight=0),
        policies=file,
        redis=redis,
    )

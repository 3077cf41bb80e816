"""What a policy says about misses: to move in time is the default; `wait` and `fail` never move for want of time."""

from pathlib import Path

import pytest

from proxy.domain.events import RequestEscalated, RequestFinished, WasteBooked
from proxy.domain.labels import OutcomeLabel
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from tests.world import HOUR, MINUTE, MONDAY_NOON, World, gather, play

SLOW = Settings(turnaround=Constant(5 * HOUR), latency_seconds=1.0)


def written(folder: Path, then: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(f"default: {{{then}}}\n")
    return file


def test_one_that_waits_gets_its_answer_from_the_batch_after_its_deadline(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("patient", deadline="2h")
        assert (answer.status, answer.tier) == (200, "batch")
        assert answer.at > MONDAY_NOON + 5 * HOUR
        assert await world.bought("patient") == (0, 1)
        assert world.seen(RequestEscalated) == []
        assert answer.headers["X-Standby-Best-Effort"] == "true"
        (finished,) = world.seen(RequestFinished)
        assert finished.at > finished.deadline_at
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story, emulator=SLOW, policies=written(tmp_path, "on_miss: wait, confidence: 0.5"))


def test_one_that_fails_ends_at_its_deadline_and_says_why(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("no use later", deadline="2h")
        assert answer.status == 504
        assert answer.headers["x-should-retry"] == "false"
        assert answer.json["error"]["code"] == "deadline_exceeded"
        assert "on_miss: fail" in answer.json["error"]["message"]
        assert MONDAY_NOON + 2 * HOUR <= answer.at <= MONDAY_NOON + 2 * HOUR + 1.0
        assert world.seen(RequestEscalated) == []
        (finished,) = world.seen(RequestFinished)
        assert finished.outcome is OutcomeLabel.EXPIRED
        await world.settled(within=8 * HOUR)
        assert await world.bought("no use later") == (0, 1)
        assert len(world.seen(WasteBooked)) == 1
        await world.assert_books_agree()

    refusing = Fault(operation="cancel_batch", kind=FaultKind.STATUS, status=500, count=None)
    policy = written(tmp_path, "on_miss: fail, confidence: 0.5")
    play(tmp_path, story, emulator=SLOW, faults=(refusing,), policies=policy)


def test_without_the_odds_that_are_wanted_it_is_bought_at_once(tmp_path: Path) -> None:
    """Before there is experience, 95 of 100 batches are not believed to be back within an hour."""

    async def story(world: World) -> None:
        answer = await world.ask("sure", deadline="1h")
        assert (answer.tier, answer.reason) == ("standard", "deadline_short")
        later = await world.ask("surely by then", deadline="23h")
        assert later.tier == "batch"

    play(tmp_path, story, policies=written(tmp_path, "on_miss: fail, confidence: 0.95"))


def test_neighbours_that_move_in_time_do_so_whoever_waits_beside_them(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        patient = [world.ask(f"patient-{n}", deadline="2h", headers={"x-app": "patient"}) for n in range(5)]
        hasty = [world.ask(f"hasty-{n}", deadline="2h") for n in range(5)]
        answers = await gather(*patient, *hasty)
        assert [answer.status for answer in answers] == [200] * 10
        assert all(answer.at <= MONDAY_NOON + 2 * HOUR for answer in answers[5:])
        assert [answer.tier for answer in answers[:5]] == ["batch"] * 5
        await world.settled(within=12 * HOUR)
        await world.assert_books_agree()

    file = tmp_path / "policy.yaml"
    file.write_text(
        "rules:\n- name: patient\n  match: {header: {x-app: patient}}\n  then: {on_miss: wait, confidence: 0.5}\n"
    )
    play(tmp_path, story, emulator=SLOW, policies=file)


@pytest.mark.parametrize("on_miss", ["wait", "fail"])
def test_it_is_not_counted_against_the_rate_limit_that_others_need(tmp_path: Path, on_miss: str) -> None:
    """What never moves needs no call kept free for it."""

    async def story(world: World) -> None:
        async with world.background(*(world.ask(f"q{n}", deadline="10h") for n in range(20))):
            await world.sleep(MINUTE)
            assert world.service.engine.slack_seconds(world.now) == {}

    play(tmp_path, story, policies=written(tmp_path, f"on_miss: {on_miss}, confidence: 0.5"))


def test_an_answer_is_kept_as_long_as_the_policy_says(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        auth = {"Authorization": "Bearer sk-alice"}
        told = await world.ask("briefly", deadline="2h", headers={"Prefer": "respond-async"})
        await world.until(lambda: bool(world.seen(RequestFinished)), within=HOUR)
        where = told.headers["Location"]
        assert (await world.send("GET", where, headers=auth)).status == 200
        await world.sleep(30 * MINUTE)
        assert (await world.send("GET", where, headers=auth)).status == 404

    play(tmp_path, story, policies=written(tmp_path, "retention: 20m"))

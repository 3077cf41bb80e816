"""A tenant that has spent its day's budget is told so, and what still goes."""

from pathlib import Path

from proxy.domain.events import RequestRejected
from proxy.server.budgets import LOOK_SECONDS
from tests.world import HOUR, MONDAY_NOON, World, play


def written(folder: Path, over: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(f"default: {{budget: {{usd_per_day: 0.00001, over: {over}}}}}\n")
    return file


async def _spend(world: World) -> None:
    """Until the budget, which is worth one call or two, is known to be spent."""
    assert (await world.ask("first")).status == 200
    statuses = [200]
    while statuses[-1] == 200:
        assert len(statuses) < 5
        await world.sleep(LOOK_SECONDS + 1)
        statuses.append((await world.ask("next")).status)


def test_urgent_calls_are_refused_and_what_can_wait_is_taken(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await _spend(world)
        refused = await world.ask("fourth")
        assert refused.status == 429
        assert refused.json["error"]["code"] == "budget_exceeded"
        assert "send X-Deadline" in refused.json["error"]["message"]
        assert refused.headers["x-should-retry"] == "false"
        assert abs(float(refused.headers["Retry-After"]) - (MONDAY_NOON + 12 * HOUR - world.now)) < 2
        assert world.seen(RequestRejected)[-1].code == "budget_exceeded"
        assert (await world.ask("can wait", deadline="4h")).tier == "batch"
        assert (await world.ask("not mine", key="sk-bob")).status == 200
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story, policies=written(tmp_path, "deferrable_only"))


def test_a_strict_budget_refuses_everything_until_midnight(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await _spend(world)
        assert [(await world.ask("x", deadline=deadline)).status for deadline in (None, "4h")] == [429, 429]
        await world.sleep(12 * HOUR)
        assert (await world.ask("a new day")).status == 200

    play(tmp_path, story, policies=written(tmp_path, "refuse"))


def test_what_was_spent_before_a_restart_counts(tmp_path: Path) -> None:
    async def before(world: World) -> None:
        await _spend(world)

    async def after(world: World) -> None:
        await world.ask("asks about me")
        await world.sleep(1.0)
        assert (await world.ask("x")).status == 429

    for story in (before, after):
        play(tmp_path, story, policies=written(tmp_path, "refuse"))

"""Observe mode: the first week of a cautious team. Everything is bought at once; what would have been is noted."""

from decimal import Decimal
from pathlib import Path

from proxy.domain.decision import Reason
from proxy.domain.events import RequestAccepted, RequestDecided
from proxy.domain.tier import Tier
from proxy.routing.terms import Mode
from tests.world import World, play


def test_what_would_have_waited_is_served_at_once_and_what_it_would_have_saved_is_booked(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        began_at = world.now
        answer = await world.ask("hello", deadline="6h")
        assert (answer.status, answer.tier, answer.reason) == (200, "standard", "observed")
        assert answer.headers["X-Standby-Observed-Tier"] == "batch"
        assert answer.at < began_at + 5
        assert world.seen(RequestAccepted) == []
        (decided,) = world.seen(RequestDecided)
        assert (decided.tier, decided.reason) == (Tier.STANDARD, Reason.OBSERVED)
        await world.service.house.bookings.flush()
        (total,) = await world.service.desk.store.ledger(since=0.0, until=world.now + 1)
        assert total.observed_rows == 1
        assert total.paid_usd == total.list_usd == total.observed_list_usd
        assert total.list_usd / 2 < total.observed_usd < total.list_usd * Decimal("0.6")
        await world.assert_books_agree()

    play(tmp_path, story, mode=Mode.OBSERVE)


def test_what_would_have_been_bought_at_once_anyway_is_not_observed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        urgent, hurried = await world.ask("now"), await world.ask("soon", deadline="20s")
        assert [urgent.reason, hurried.reason] == ["no_deadline", "deadline_short"]
        await world.service.house.bookings.flush()
        (total,) = await world.service.desk.store.ledger(since=0.0, until=world.now + 1)
        assert (total.rows, total.observed_rows) == (2, 0)

    play(tmp_path, story, mode=Mode.OBSERVE)


def test_a_client_that_asks_for_a_202_is_answered_at_once(tmp_path: Path) -> None:
    """Prefer is a wish: RFC 7240 lets a server answer it with the answer itself."""

    async def story(world: World) -> None:
        answer = await world.ask("hello", deadline="6h", headers={"Prefer": "respond-async"})
        assert (answer.status, answer.reason) == (200, "observed")

    play(tmp_path, story, mode=Mode.OBSERVE)


def test_a_rule_decides_for_itself(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "rules:\n"
        "- name: live\n  match: {header: {x-app: live}}\n  then: {mode: enforce}\n"
        "- name: trial\n  match: {header: {x-app: trial}}\n  then: {mode: observe}\n"
    )

    async def under(world: World, app: str) -> str:
        return (await world.ask("hello", deadline="6h", headers={"x-app": app})).reason

    async def observing(world: World) -> None:
        assert [await under(world, app) for app in ("live", "trial", "other")] == [
            *("deadline_allows", "observed", "observed")
        ]

    async def enforcing(world: World) -> None:
        assert [await under(world, app) for app in ("live", "trial", "other")] == [
            *("deadline_allows", "observed", "deadline_allows")
        ]

    for name, story, mode in (("a", observing, Mode.OBSERVE), ("b", enforcing, Mode.ENFORCE)):
        (tmp_path / name).mkdir()
        play(tmp_path / name, story, mode=mode, policies=file)

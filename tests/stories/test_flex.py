"""The flex tier: half the price for what no batch has the time for, and one last chance before the standard tier."""

from decimal import Decimal
from pathlib import Path

from proxy.config.settings import UpstreamSettings
from proxy.domain.events import RateLimited, RequestEscalated, RequestFinished, WasteBooked
from proxy.domain.tier import Tier
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.routing.pricing import ModelPrice, TierPrice
from proxy.routing.ratelimit import Settings as LimitSettings
from tests.world import HOUR, MINUTE, MODEL, MONDAY_NOON, World, gather, play

FLEXIBLE = "gpt-5-mini"
"""Sold at flex; the worlds' usual model is not."""
NO_CAPACITY = Settings(flex_refusal_probability=1.0, latency_seconds=1.0)


def test_a_deadline_too_short_for_a_batch_is_bought_at_flex(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline="10m", model=FLEXIBLE)
        assert (answer.status, answer.tier, answer.reason) == (200, "flex", "deadline_allows_flex")
        assert answer.json["service_tier"] == "flex"
        assert answer.at < MONDAY_NOON + MINUTE
        (finished,) = world.seen(RequestFinished)
        assert finished.row is not None
        assert finished.row.paid_usd == (finished.row.list_usd or Decimal(0)) / 2
        assert world.seen(RequestEscalated) == []
        await world.assert_books_agree()

    play(tmp_path, story, emulator=Settings(latency_seconds=1.0))


def test_a_stream_gets_its_answer_from_flex_as_a_stream(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline="10m", model=FLEXIBLE, stream=True)
        assert (answer.status, answer.tier) == (200, "flex")
        assert answer.body.rstrip().endswith(b"data: [DONE]")

    play(tmp_path, story)


def test_without_capacity_the_standard_tier_follows_in_time_and_nothing_is_billed_twice(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline="10m", model=FLEXIBLE)
        assert (answer.status, answer.tier) == (200, "standard")
        assert answer.at <= MONDAY_NOON + 10 * MINUTE
        assert await world.bought("soon") == (1, 0)
        (escalated,) = world.seen(RequestEscalated)
        assert escalated.tier is Tier.STANDARD
        await world.assert_books_agree()

    play(tmp_path, story, emulator=NO_CAPACITY)


def test_a_refusal_at_flex_is_no_rate_limit_and_holds_nobody_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with world.background(world.ask("soon", deadline="20m", model=FLEXIBLE)):
            await world.sleep(5.0)
            began = world.now
            answer = await world.ask("urgent", model=FLEXIBLE)
            assert answer.status == 200
            assert answer.at - began < 3.0
        assert world.seen(RateLimited) == []

    play(tmp_path, story, emulator=NO_CAPACITY)


def test_a_batch_that_will_not_be_done_in_time_is_followed_by_flex_first(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("patient", deadline="3h", model=FLEXIBLE)
        assert (answer.status, answer.tier, answer.reason) == (200, "flex", "deadline_allows")
        assert answer.at <= MONDAY_NOON + 3 * HOUR
        (escalated,) = world.seen(RequestEscalated)
        assert escalated.tier is Tier.FLEX

    refusing = Fault(operation="cancel_batch", kind=FaultKind.STATUS, status=500, count=None)
    slow = Settings(turnaround=Constant(9 * HOUR), latency_seconds=1.0)
    play(tmp_path, story, emulator=slow, faults=(refusing,))


def test_a_call_at_flex_that_takes_too_long_gives_way_to_the_standard_tier(tmp_path: Path) -> None:
    """Whether it was billed is unknown: it is booked without an amount."""

    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline="10m", model=FLEXIBLE)
        assert (answer.status, answer.tier) == (200, "standard")
        assert answer.at <= MONDAY_NOON + 10 * MINUTE
        (waste,) = world.seen(WasteBooked)
        assert (waste.row.tier, waste.row.paid_usd) == (Tier.FLEX, None)

    play(tmp_path, story, emulator=Settings(latency_seconds=1.0, flex_latency_factor=10_000.0))


def test_a_flex_tier_that_takes_long_is_tried_that_much_earlier(tmp_path: Path) -> None:
    """A call at flex takes six minutes and is given two: after a few that were cut off, it is given more."""

    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n:02}", deadline=f"{180 + 20 * n}m", model=FLEXIBLE) for n in range(12)))
        assert all(answer.status == 200 for answer in answers)
        assert [answer.tier for answer in answers] == ["standard", *["flex"] * 11]
        leads = [moved.slack_seconds for moved in world.seen(RequestEscalated) if moved.tier is Tier.FLEX]
        assert 7 * MINUTE < leads[-1] < 10 * MINUTE
        page = (await world.send("GET", "/metrics")).body.decode()
        assert 'standby_call_forecast_seconds{model="gpt-5-mini",tier="flex",upstream="openai"}' in page

    refusing = Fault(operation="cancel_batch", kind=FaultKind.STATUS, status=500, count=None)
    slow = Settings(turnaround=Constant(9 * HOUR), latency_seconds=1.0, flex_latency_factor=360.0)
    play(tmp_path, story, emulator=slow, faults=(refusing,))


def test_a_model_that_the_provider_does_not_sell_at_flex_is_bought_at_the_standard_tier(tmp_path: Path) -> None:
    """The price list said that there is such a tier, and the provider says 400."""

    async def story(world: World) -> None:
        first, second = await gather(*(world.ask(f"q{n}", deadline="10m") for n in range(2)))
        assert [first.status, second.status] == [200, 200]
        assert [first.tier, second.tier] == ["standard", "standard"]
        assert max(first.at, second.at) <= MONDAY_NOON + 10 * MINUTE

    cheap = ModelPrice(flex=TierPrice(Decimal("0.07"), Decimal("0.3")))
    play(tmp_path, story, emulator=Settings(latency_seconds=1.0), prices={MODEL: cheap})


def test_a_request_that_is_wrong_at_every_tier_gets_the_providers_own_refusal(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline="10m", model=FLEXIBLE, temperature=99)
        assert answer.status == 400
        assert answer.at <= MONDAY_NOON + 10 * MINUTE

    play(tmp_path, story, emulator=Settings(latency_seconds=1.0))


def test_a_client_that_names_flex_gets_flex_or_the_providers_refusal_and_never_another_bill(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("mine", deadline="10m", model=FLEXIBLE, service_tier="flex")
        assert (answer.status, answer.tier, answer.reason) == (429, "flex", "client_tier")
        assert answer.json["error"]["code"] == "resource_unavailable"
        assert await world.bought("mine") == (0, 0)

    play(tmp_path, story, emulator=NO_CAPACITY)


def test_a_crowd_at_flex_stays_under_the_rate_limit_and_meets_its_deadline(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n:03}", deadline="20m", model=FLEXIBLE) for n in range(100)))
        assert all(answer.status == 200 for answer in answers)
        assert all(answer.at <= MONDAY_NOON + 20 * MINUTE for answer in answers)
        tiers = [answer.tier for answer in answers]
        assert tiers.count("flex") >= 50
        assert world.seen(RateLimited) == []

    upstream = UpstreamSettings(limits=LimitSettings(requests_per_minute=10))
    play(
        tmp_path,
        story,
        emulator=Settings(rpm=10, latency_seconds=1.0, flex_refusal_probability=0.1),
        upstream=upstream,
    )

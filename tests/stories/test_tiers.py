"""A client's own choice of tier is honored, and what is billed is the tier that the answer names."""

from decimal import Decimal
from pathlib import Path

import pytest

from proxy.domain.events import CallFinished
from proxy.domain.tier import Tier
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.routing.pricing import ModelPrice, TierPrice
from tests.world import MINUTE, MODEL, Reply, World, play

SOLD_AT_ALL = "gpt-5"
"""A model with a price at every tier."""
USUAL = Settings(turnaround=Constant(5 * MINUTE), latency_seconds=1.0)


async def spent_at(world: World) -> dict[str, Decimal]:
    """What the provider has billed, by tier."""
    return {tier: Decimal(tally["usd"]) for tier, tally in (await world.account())["tiers"].items()}


@pytest.mark.parametrize(("asked", "tier"), [("flex", "flex"), ("priority", "priority"), ("fast", "priority")])
def test_a_tier_that_a_client_names_is_bought_at_once_whatever_its_deadline(
    tmp_path: Path, asked: str, tier: str
) -> None:
    async def story(world: World) -> None:
        began = world.now
        answer = await world.ask("mine", deadline="4h", model=SOLD_AT_ALL, service_tier=asked)
        assert (answer.status, answer.tier, answer.reason) == (200, tier, "client_tier")
        assert answer.at - began < MINUTE
        assert list(await spent_at(world)) == [tier]
        await world.assert_books_agree()

    play(tmp_path, story, emulator=USUAL)


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_at_priority_that_was_served_at_standard_is_billed_at_standard(
    tmp_path: Path,
    stream: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    async def story(world: World) -> None:
        options = {"include_usage": True} if stream else None
        answer = await world.ask(
            "mine", model=SOLD_AT_ALL, service_tier="priority", stream=stream, stream_options=options
        )
        assert answer.status == 200
        if not stream:
            assert answer.tier == "standard"
        (call,) = world.seen(CallFinished)
        assert (call.tier, call.row and call.row.tier) == (Tier.STANDARD, Tier.STANDARD)
        assert list(await spent_at(world)) == ["standard"]
        await world.assert_books_agree()

    play(tmp_path, story, emulator=Settings(latency_seconds=1.0, priority_downgraded=True))


def test_prompts_that_calls_find_in_the_cache_are_bought_synchronously_once_that_is_known_to_be_cheaper(
    tmp_path: Path,
) -> None:
    """Batches have no discount for cached input here, and calls have one of nine tenths."""

    async def story(world: World) -> None:
        async def ask(number: int) -> Reply:
            return await world.ask(f"{prefix} {number}", deadline="2h", max_tokens=5)

        prefix = "the same long instructions " * 400
        first = await ask(0)
        assert (first.tier, first.reason) == ("batch", "deadline_allows")
        for number in range(25):
            assert (await world.ask(f"{prefix} urgent {number}", max_tokens=5)).status == 200
        later = await ask(1)
        assert (later.tier, later.reason) == ("standard", "batch_not_cheaper")

    price = ModelPrice(
        standard=TierPrice(Decimal(2), Decimal(2), Decimal("0.2")), batch=TierPrice(Decimal(1), Decimal(1))
    )
    play(tmp_path, story, emulator=USUAL, prices={MODEL: price})

"""Money: exact decimals, tiers, cached tokens, long prompts, and prices that are unknown."""

import asyncio
import json
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from proxy.emulator.bill import Tally, price
from proxy.emulator.catalog import Catalog
from proxy.emulator.tokens import Usage

LONG = {
    "gpt-long": {
        "input_cost_per_token": 2.5e-06,
        "input_cost_per_token_above_272k_tokens": 5e-06,
        "input_cost_per_token_batches": 1.25e-06,
        "input_cost_per_token_above_272k_tokens_batches": 2.5e-06,
        "input_cost_per_token_priority": 5e-06,
        "cache_read_input_token_cost": 2.5e-07,
        "cache_read_input_token_cost_above_272k_tokens": 5e-07,
        "output_cost_per_token": 1.5e-05,
        "output_cost_per_token_above_272k_tokens": 2.25e-05,
        "output_cost_per_token_batches": 7.5e-06,
        "output_cost_per_token_priority": 3e-05,
    }
}


@pytest.mark.parametrize(
    ("tier", "usage", "usd"),
    [
        ("standard", Usage(1000, 100), "0.0040"),
        ("standard", Usage(1000, 100, cached=400), "0.00310"),
        ("standard", Usage(272_000, 0), "0.68"),
        ("standard", Usage(272_001, 10, cached=1), "1.3602255"),
        ("batch", Usage(1000, 100), "0.0020"),
        ("batch", Usage(300_000, 100), "0.75075"),
        ("priority", Usage(300_000, 0), "1.5"),
    ],
)
def test_prices_follow_tier_length_and_cache(tier: str, usage: Usage, usd: str) -> None:
    assert price(Catalog(LONG, None), "gpt-long", tier, usage) == Decimal(usd)


def test_an_unknown_price_stays_unknown() -> None:
    catalog = Catalog({"half": {"input_cost_per_token": 1e-06}}, None)
    assert price(catalog, "nobody", "standard", Usage(1, 1)) is None
    assert price(catalog, "half", "standard", Usage(1, 1)) is None
    assert price(catalog, "half", "standard", Usage(2, 0)) == Decimal("0.000002")
    assert price(catalog, "half", "flex", Usage(1, 0)) is None


def test_sums_are_exact() -> None:
    tally = Tally()
    for _ in range(1000):
        tally.add(Usage(1, 0), Decimal("8.333333333333334E-8"))
    tally.add(Usage(1, 0), Decimal("123456789"))
    assert tally.shown()["usd"] == "123456789.00008333333333333334"
    assert Tally().shown()["usd"] == "0"


def test_an_answer_without_a_price_is_counted_apart(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat(model="gpt-unheard-of")).status == 200
        total = (await site.emulator.account())["total"]
        assert (total["requests"], total["unpriced_requests"], total["usd"]) == (1, 1, "0")

    play(story)


def test_the_account_keeps_keys_models_and_tiers_apart_and_never_shows_a_key(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.chat(max_tokens=2)
        await site.chat(max_tokens=2, service_tier="priority")
        await site.chat(model="gpt-5-mini", max_completion_tokens=2, service_tier="flex", key="sk-other")
        account = (await site.call("GET", "/emulator/account")).json
        assert len(account["accounts"]) == 2
        flat = {
            (model, tier): tally["usd"]
            for models in account["accounts"].values()
            for model, tiers in models.items()
            for tier, tally in tiers.items()
        }
        assert flat == {
            ("gpt-4o-mini", "standard"): "0.00000195",  # 5 * 1.5e-07 + 2 * 6e-07
            ("gpt-4o-mini", "priority"): "0.00000325",  # 5 * 2.5e-07 + 2 * 1e-06
            ("gpt-5-mini", "flex"): "0.000002625",  # 5 * 1.25e-07 + 2 * 1e-06
        }
        assert Decimal(account["total"]["usd"]) == sum(map(Decimal, flat.values()))
        assert "sk-" not in json.dumps(account)

    play(story)


def test_the_account_is_the_sum_of_what_clients_were_told(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batches = [await site.batch([line(f"b{n}c{m}", "q" * m) for m in range(40)]) for n in range(3)]
        answers = await asyncio.gather(*(site.chat(f"{n} " * n, stream=False) for n in range(60)))
        site.clock.at += 480
        ended = [await site.look(batch) for batch in batches]
        told = [got.json["usage"] for got in answers]
        total = (await site.emulator.account())["total"]
        prompts = sum(usage["prompt_tokens"] for usage in told) + sum(b["usage"]["input_tokens"] for b in ended)
        made = sum(usage["completion_tokens"] for usage in told) + sum(b["usage"]["output_tokens"] for b in ended)
        assert total["requests"] == 60 + 120
        assert (total["prompt_tokens"], total["completion_tokens"]) == (prompts, made)

    play(story)


def test_a_prompt_seen_a_short_time_ago_is_cached_and_cheaper(play: Any) -> None:
    async def story(site: Any) -> None:
        prompt = "y" * 8000
        first = (await site.chat(prompt, max_tokens=1)).json["usage"]
        assert first["prompt_tokens_details"]["cached_tokens"] == 0
        second = (await site.chat(prompt + " and more", max_tokens=1)).json["usage"]
        assert second["prompt_tokens_details"]["cached_tokens"] == 1920
        site.clock.at += 301
        third = (await site.chat(prompt, max_tokens=1)).json["usage"]
        assert third["prompt_tokens_details"]["cached_tokens"] == 0
        other = (await site.chat(prompt, max_tokens=1, key="sk-other")).json["usage"]
        assert other["prompt_tokens_details"]["cached_tokens"] == 0
        tally = (await site.emulator.account())["tiers"]["standard"]
        assert tally["cached_tokens"] == 1920
        prompts = Decimal(tally["prompt_tokens"] - 1920) * Decimal("1.5e-07") + 1920 * Decimal("7.5e-08")
        assert Decimal(tally["usd"]) == prompts + 4 * Decimal("6e-07")

    play(story)


def test_the_real_cost_map_prices_every_tier_of_a_current_model() -> None:
    found = find_spec("litellm")  # finds the package without importing it, which would take seconds
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "model_prices_and_context_window_backup.json"
    catalog = Catalog(json.loads(path.read_text()), None)
    batch = price(catalog, "gpt-4o-mini", "batch", Usage(1_000_000, 1_000_000))
    standard = price(catalog, "gpt-4o-mini", "standard", Usage(1_000_000, 1_000_000))
    assert batch is not None
    assert standard is not None
    assert 0 < batch < standard
    assert price(catalog, "omni-moderation-latest", "batch", Usage(0, 0)) == 0
    assert catalog.batchable("omni-moderation-latest")
    assert "gpt-4o-mini" in catalog.listed()

import json
from collections.abc import Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.money import Usage
from proxy.domain.tier import Tier
from proxy.routing.pricing import Mix, ModelPrice, PriceBook, Rates, TierPrice

COST_MAP: dict[str, dict[str, object]] = {
    "sample_spec": {"mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
    "gpt-4o-mini": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1.5e-07,
        "output_cost_per_token": 6e-07,
        "cache_read_input_token_cost": 7.5e-08,
        "input_cost_per_token_batches": 7.5e-08,
        "output_cost_per_token_batches": 3e-07,
        "input_cost_per_token_priority": 2.5e-07,
        "output_cost_per_token_priority": 1e-06,
        "cache_read_input_token_cost_priority": 1.25e-07,
    },
    "long": {
        "litellm_provider": "openai",
        "mode": "responses",
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 8e-06,
        "cache_read_input_token_cost": 1e-06,
        "input_cost_per_token_above_128k_tokens": 4e-06,
        "output_cost_per_token_above_128k_tokens": 1.6e-05,
        "input_cost_per_token_above_272k_tokens": 6e-06,
        "output_cost_per_token_above_272k_tokens": 2.4e-05,
        "cache_read_input_token_cost_above_272k_tokens": 3e-06,
        "input_cost_per_token_batches": 1e-06,
        "output_cost_per_token_batches": 4e-06,
        "input_cost_per_token_above_272k_tokens_batches": 3e-06,
        "output_cost_per_token_above_272k_tokens_batches": 1.2e-05,
        "cache_read_input_token_cost_above_272k_tokens_batches": 1.5e-06,
        "input_cost_per_token_flex": 1e-06,
        "output_cost_per_token_flex": 4e-06,
        "input_cost_per_token_above_512k_tokens_flex": 5e-06,
        "input_cost_per_token_priority": 4e-06,
    },
    "text-embedding-3-small": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-08},
    "gpt-image-1": {"mode": "image_generation", "input_cost_per_token": 5e-06, "output_cost_per_token": 4e-05},
    "whisper-1": {"mode": "audio_transcription", "input_cost_per_second": 0.0001},
    "gpt-audio": {
        "mode": "chat",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "output_cost_per_audio_token": 6.4e-05,
    },
    "thinker": {
        "mode": "chat",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
        "output_cost_per_reasoning_token": 2e-06,
    },
    "per-request": {
        "mode": "chat",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 1e-06,
        "input_cost_per_request": 0.005,
    },
    "no-mode": {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
    "ft:gpt-4o-mini": {"mode": "chat", "input_cost_per_token": 3e-07, "output_cost_per_token": 1.2e-06},
    "together/llama": {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
}


def book(overrides: Mapping[str, ModelPrice] | None = None) -> PriceBook:
    return PriceBook.from_cost_map(COST_MAP, overrides or {}, "a test")


def rates(fresh: str, cached: str, output: str) -> Rates:
    return Rates(Decimal(fresh), Decimal(cached), Decimal(output))


@pytest.mark.parametrize(
    ("model", "tier", "input_tokens", "expected"),
    [
        ("gpt-4o-mini", Tier.STANDARD, 0, rates("1.5e-7", "7.5e-8", "6e-7")),
        ("gpt-4o-mini", Tier.PRIORITY, 0, rates("2.5e-7", "1.25e-7", "1e-6")),
        # no cache-read price for batches: cached input costs what input costs there
        ("gpt-4o-mini", Tier.BATCH, 0, rates("7.5e-8", "7.5e-8", "3e-7")),
        # no flex price: unknown, not derived from another tier
        ("gpt-4o-mini", Tier.FLEX, 0, None),
        # an input price without an output price
        ("long", Tier.PRIORITY, 0, None),
        ("text-embedding-3-small", Tier.STANDARD, 0, rates("2e-8", "2e-8", "0")),
        ("text-embedding-3-small", Tier.BATCH, 0, None),
        # the price of a size holds above it, not at it
        ("long", Tier.STANDARD, 128_000, rates("2e-6", "1e-6", "8e-6")),
        ("long", Tier.STANDARD, 128_001, rates("4e-6", "4e-6", "1.6e-5")),
        ("long", Tier.STANDARD, 272_000, rates("4e-6", "4e-6", "1.6e-5")),
        ("long", Tier.STANDARD, 272_001, rates("6e-6", "3e-6", "2.4e-5")),
        # another tier's size does not matter
        ("long", Tier.STANDARD, 600_000, rates("6e-6", "3e-6", "2.4e-5")),
        # the tier lists nothing for a size that standard has a price for
        ("long", Tier.BATCH, 128_000, rates("1e-6", "1e-6", "4e-6")),
        ("long", Tier.BATCH, 200_000, None),
        ("long", Tier.BATCH, 300_000, rates("3e-6", "1.5e-6", "1.2e-5")),
        # input is listed above the size, output is not
        ("long", Tier.FLEX, 600_000, None),
        # what tokens do not tell
        ("gpt-image-1", Tier.STANDARD, 0, None),
        ("whisper-1", Tier.STANDARD, 0, None),
        ("gpt-audio", Tier.STANDARD, 0, None),
        ("per-request", Tier.STANDARD, 0, None),
        ("no-mode", Tier.STANDARD, 0, None),
        ("thinker", Tier.STANDARD, 0, rates("1e-6", "1e-6", "2e-6")),
        # not a model
        ("sample_spec", Tier.STANDARD, 0, None),
        ("unheard-of", Tier.STANDARD, 0, None),
    ],
)
def test_rates_are_those_listed_for_the_tier_and_size(
    model: str, tier: Tier, input_tokens: int, expected: Rates | None
) -> None:
    assert book().rates(model, tier, input_tokens) == expected


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-4o-mini", True),
        ("gpt-4o-mini-2099-01-01", True),
        ("openai/gpt-4o-mini", True),
        ("openai/gpt-4o-mini-2099-01-01", True),
        ("ft:gpt-4o-mini:acme::abc", True),
        ("together/llama", True),
        ("whisper-1", True),
        # a reseller's price may be another
        ("azure/gpt-4o-mini", False),
        ("together/gpt-4o-mini", False),
        # not a date
        ("gpt-4o-mini-latest", False),
        ("gpt-4o-mini-2099", False),
        ("gpt-4o-mini-2099-01-01-preview", False),
        ("gpt-4o", False),
        ("llama", False),
        ("ft:gpt-4o", False),
        ("sample_spec", False),
        ("", False),
        ("/", False),
        ("openai/", False),
    ],
)
def test_a_model_is_known_by_its_name_its_snapshots_and_its_providers_prefix(model: str, known: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert book().knows(model) is known


def test_a_snapshot_costs_what_its_model_costs() -> None:
    prices = book()
    for name in ("gpt-4o-mini-2099-01-01", "openai/gpt-4o-mini", "openai/gpt-4o-mini-2099-01-01"):
        assert prices.rates(name, Tier.BATCH) == prices.rates("gpt-4o-mini", Tier.BATCH)


def test_a_fine_tuned_model_has_its_own_price() -> None:
    assert book().rates("ft:gpt-4o-mini:acme::abc", Tier.STANDARD) == rates("3e-7", "3e-7", "1.2e-6")


@pytest.mark.parametrize("price", [True, "1e-6", None, -1e-06, float("nan"), float("inf")])
def test_what_is_not_a_price_is_unknown(price: object) -> None:
    entry = {"mode": "chat", "input_cost_per_token": price, "output_cost_per_token": 1e-06}
    assert PriceBook.from_cost_map({"m": entry}, {}, "a test").rates("m", Tier.STANDARD) is None


def test_a_free_model_costs_nothing_which_is_not_the_same_as_unknown() -> None:
    entry = {"mode": "moderation", "input_cost_per_token": 0, "output_cost_per_token": 0.0}
    prices = PriceBook.from_cost_map({"m": entry}, {}, "a test")
    assert prices.cost("m", Tier.STANDARD, Usage(10, 10)) == 0
    assert prices.cost("n", Tier.STANDARD, Usage(10, 10)) is None


def test_cost_is_exact_to_the_last_digit() -> None:
    cost = book().cost("gpt-4o-mini", Tier.STANDARD, Usage(input_tokens=1000, output_tokens=7, cached_tokens=400))
    assert cost == 600 * Decimal("1.5e-7") + 400 * Decimal("7.5e-8") + 7 * Decimal("6e-7")


def test_the_size_that_prices_a_request_is_its_whole_input_cached_or_not() -> None:
    cost = book().cost("long", Tier.STANDARD, Usage(input_tokens=272_001, output_tokens=1, cached_tokens=272_001))
    assert cost == 272_001 * Decimal("3e-6") + Decimal("2.4e-5")


def test_more_cached_tokens_than_input_are_not_charged_twice() -> None:
    assert book().cost("gpt-4o-mini", Tier.STANDARD, Usage(10, 0, cached_tokens=50)) == 10 * Decimal("7.5e-8")


@given(
    tier=st.sampled_from(Tier),
    fresh=st.integers(0, 10**6),
    cached=st.integers(0, 10**6),
    output=st.integers(0, 10**6),
)
def test_cost_is_never_negative_and_cached_input_never_costs_more(
    tier: Tier, fresh: int, cached: int, output: int
) -> None:
    prices = book()
    cost = prices.cost("gpt-4o-mini", tier, Usage(fresh + cached, output, cached))
    uncached = prices.cost("gpt-4o-mini", tier, Usage(fresh + cached, output))
    if cost is None or uncached is None:
        assert tier is Tier.FLEX
        return
    assert 0 <= cost <= uncached


@pytest.mark.parametrize(
    ("one", "other", "cheaper"),
    [
        (rates("1", "1", "2"), rates("2", "1", "4"), True),
        (rates("1", "1", "4"), rates("2", "1", "4"), True),
        (rates("2", "2", "3"), rates("2", "1", "4"), True),
        (rates("2", "1", "4"), rates("2", "1", "4"), False),
        (rates("1", "1", "5"), rates("2", "1", "4"), False),
        (rates("3", "1", "1"), rates("2", "1", "4"), False),
    ],
)
def test_cheaper_means_less_for_some_tokens_and_more_for_none(one: Rates, other: Rates, cheaper: bool) -> None:  # noqa: FBT001  a parameter of the table
    assert one.is_cheaper_than(other) is cheaper


def test_an_operators_price_replaces_its_tier_only() -> None:
    mine = ModelPrice(batch=TierPrice(Decimal("0.12"), Decimal("0.48"), Decimal("0.06")))
    prices = book({"gpt-4o-mini": mine})
    assert prices.rates("gpt-4o-mini", Tier.BATCH) == rates("1.2e-7", "6e-8", "4.8e-7")
    assert prices.rates("gpt-4o-mini", Tier.STANDARD) == book().rates("gpt-4o-mini", Tier.STANDARD)


def test_an_operators_price_holds_for_snapshots_too_even_listed_ones() -> None:
    listed = {**COST_MAP, "gpt-4o-mini-2024-07-18": COST_MAP["gpt-4o-mini"]}
    prices = PriceBook.from_cost_map(listed, {"gpt-4o-mini": ModelPrice(standard=TierPrice(Decimal(1)))}, "a test")
    assert prices.rates("gpt-4o-mini-2024-07-18", Tier.STANDARD) == rates("1e-6", "1e-6", "0")


def test_an_operators_price_makes_an_unlisted_model_known() -> None:
    tiers = {tier: TierPrice(Decimal(number)) for number, tier in enumerate(Tier, start=1)}
    mine = ModelPrice(tiers[Tier.STANDARD], tiers[Tier.BATCH], tiers[Tier.FLEX], tiers[Tier.PRIORITY])
    prices = book({"my-model": mine})
    assert prices.knows("my-model")
    for tier in Tier:
        assert prices.cost("my-model", tier, Usage(1_000_000, 5)) == tiers[tier].input
    assert prices.mode("my-model") is None


@pytest.mark.parametrize("name", ["input", "output", "cached"])
@pytest.mark.parametrize("amount", ["-0.1", "NaN", "Infinity"])
def test_an_operators_price_that_is_none_is_refused_by_name(name: str, amount: str) -> None:
    prices = {"input": Decimal(1), "output": Decimal(1), name: Decimal(amount)}
    with pytest.raises(ValueError, match=f"^{name}: .* is not a price; give dollars per million tokens"):
        TierPrice(**prices)


def test_the_mode_is_what_the_map_says() -> None:
    prices = book()
    assert prices.mode("text-embedding-3-small") == "embedding"
    assert prices.mode("openai/gpt-4o-mini-2099-01-01") == "chat"
    assert prices.mode("no-mode") is None
    assert prices.mode("unheard-of") is None


def test_the_book_says_where_its_prices_come_from() -> None:
    assert book().source == "a test"


def test_an_entry_is_read_once() -> None:
    entry = {"mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}
    prices = PriceBook.from_cost_map({"m": entry}, {}, "a test")
    before = prices.rates("m", Tier.STANDARD)
    entry.clear()
    assert prices.rates("m", Tier.STANDARD) is before


def real_cost_map() -> dict[str, dict[str, object]]:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    map_file = Path(spec.origin).with_name("model_prices_and_context_window_backup.json")
    loaded: dict[str, dict[str, object]] = json.loads(map_file.read_text(encoding="utf-8"))
    return loaded


def test_every_entry_of_the_published_cost_map_is_read_without_guessing() -> None:
    cost_map = real_cost_map()
    prices = PriceBook.from_cost_map(cost_map, {}, "litellm")
    priced = [
        (model, tier, found) for model in cost_map for tier in Tier if (found := prices.rates(model, tier)) is not None
    ]
    assert len(priced) > 1000
    suffixes = {Tier.STANDARD: "", Tier.BATCH: "_batches", Tier.FLEX: "_flex", Tier.PRIORITY: "_priority"}
    for model, tier, found in priced:
        assert float(found.input) == cost_map[model][f"input_cost_per_token{suffixes[tier]}"]
    standard, batch = (prices.rates("gpt-4o-mini", tier) for tier in (Tier.STANDARD, Tier.BATCH))
    assert standard is not None
    assert batch is not None
    assert batch.is_cheaper_than(standard)


def test_a_tiers_share_of_the_standard_price_depends_on_what_requests_are_made_of() -> None:
    prices = {"m": ModelPrice(standard=TierPrice(Decimal(2), Decimal(8), Decimal(1)), batch=TierPrice(Decimal(1)))}
    book = PriceBook.from_cost_map({}, prices, "a test")
    assert book.share("m", Tier.BATCH, None) == 0.1
    assert book.share("m", Tier.BATCH, Mix(output_per_input=0.0, cached_share=0.0)) == 0.5
    assert book.share("m", Tier.BATCH, Mix(output_per_input=0.0, cached_share=1.0)) == 1.0
    assert book.share("m", Tier.FLEX, None) is None
    assert book.share("?", Tier.BATCH, None) is None

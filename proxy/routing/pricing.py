"""What a token costs, per model and tier, from LiteLLM's cost map and the operator's own prices.

A price that is not listed is unknown (`None`): it is never derived from another tier, and never 0. What token counts
alone cannot tell is unknown as well: images, seconds of audio, answers that mix text with dearer kinds of tokens, fees
per request. Not in any figure here, because `Usage` does not have them: tool surcharges, cache writes above the input
price, audio and image tokens in a prompt (counted as text).

This module does not read files: the map comes in as a plain dict.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from proxy.domain.money import Usage
from proxy.domain.tier import Tier

MILLION = Decimal(1_000_000)
TOKEN_MODES = frozenset({"chat", "completion", "responses", "embedding", "moderation"})
"""The cost map's `mode` values whose bills are made of input and output tokens only."""

_SUFFIX = {Tier.STANDARD: "", Tier.BATCH: "_batches", Tier.FLEX: "_flex", Tier.PRIORITY: "_priority"}
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens(|_batches|_flex|_priority)")
_SNAPSHOT = re.compile(r"(.+)-\d{4}-\d{2}-\d{2}")
_BEYOND_TOKENS = ("input_cost_per_request", "citation_cost_per_token", "tiered_pricing")
_OTHER_OUTPUT = ("output_cost_per_audio_token", "output_cost_per_image_token", "output_cost_per_reasoning_token")
_NOT_A_MODEL = "sample_spec"
"""The cost map's own documentation, shaped like an entry."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per token of one model at one tier, for one size of request.

    Where the tier lists no price for cached input, `cached_input` is the tier's input price: a discount that is not
    written down is not assumed.
    """

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def is_cheaper_than(self, other: "Rates") -> bool:
        """Whether it costs less for some tokens and more for none. Cache hits are left out of the comparison."""
        if self.input > other.input or self.output > other.output:
            return False
        return self.input < other.input or self.output < other.output


@dataclass(frozen=True, slots=True)
class Mix:
    """What requests are made of, as far as experience goes.

    `output_per_input` tokens; `cached_share` of the input tokens that synchronous calls found in the provider's cache,
    and `cached_share_in_batches` of those in batches.
    """

    output_per_input: float
    cached_share: float
    cached_share_in_batches: float = 0.0


def is_cheaper(one: tuple[Tier, Rates], other: tuple[Tier, Rates], mix: Mix | None) -> bool:
    """Whether requests of this mix cost less at the one tier than at the other; without a mix, whether any do and none
    cost more. Cached input can make a synchronous call the cheaper one: not every batch price has that discount.
    """
    if mix is None:
        return one[1].is_cheaper_than(other[1])
    return _expected(*one, mix) < _expected(*other, mix)


def _expected(tier: Tier, rates: Rates, mix: Mix) -> Decimal:
    """Dollars per input token, with the output that comes with it."""
    cached = Decimal(mix.cached_share_in_batches if tier is Tier.BATCH else mix.cached_share)
    return (1 - cached) * rates.input + cached * rates.cached_input + Decimal(mix.output_per_input) * rates.output


@dataclass(frozen=True, slots=True)
class TierPrice:
    """An operator's price of one tier, in dollars per million tokens. `cached` None: cached input costs `input`."""

    input: Decimal
    output: Decimal = Decimal(0)
    cached: Decimal | None = None

    def __post_init__(self) -> None:
        for name, amount in (("input", self.input), ("output", self.output), ("cached", self.cached)):
            if amount is not None and not (amount.is_finite() and amount >= 0):
                raise ValueError(f"{name}: {amount} is not a price; give dollars per million tokens, such as 0.15")


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """An operator's prices for a model. A tier given here replaces the cost map's; the others stay as they are."""

    standard: TierPrice | None = None
    batch: TierPrice | None = None
    flex: TierPrice | None = None
    priority: TierPrice | None = None

    def of(self, tier: Tier) -> TierPrice | None:
        """The price that is given for a tier, if one is."""
        given = {
            Tier.STANDARD: self.standard,
            Tier.BATCH: self.batch,
            Tier.FLEX: self.flex,
            Tier.PRIORITY: self.priority,
        }
        return given[tier]


@dataclass(frozen=True, slots=True)
class _Step:
    """Rates for requests with more than `above_tokens` of input; None: not listed for such requests."""

    above_tokens: int
    rates: Rates | None


USUAL_BATCH_SHARE = 0.5
"""Only for weighing chances, never for money."""
NAMES_REMEMBERED = 4096
"""Model names whose entry is kept at hand. Names come from clients, so there must be an end to them."""


class PriceBook:
    """Looks prices up. Built in no time: an entry of the map is converted when it is first asked for."""

    def __init__(
        self, cost_map: Mapping[str, Mapping[str, object]], overrides: Mapping[str, ModelPrice], source: str
    ) -> None:
        self.source = source
        """Where the prices come from, for people: a file's name and version."""
        self._map = cost_map
        self._overrides = overrides
        self._steps: dict[tuple[str, Tier], tuple[_Step, ...]] = {}
        self._override = lru_cache(maxsize=NAMES_REMEMBERED)(self._find_override)
        self._listed_name = lru_cache(maxsize=NAMES_REMEMBERED)(self._find_listed_name)

    @classmethod
    def from_cost_map(
        cls, cost_map: Mapping[str, Mapping[str, object]], overrides: Mapping[str, ModelPrice], source: str
    ) -> "PriceBook":
        """Prices from LiteLLM's `model_prices_and_context_window` map, with the operator's own on top."""
        return cls(cost_map, overrides, source)

    def knows(self, model: str) -> bool:
        """Whether anything is listed for the model."""
        return self._listed_name(model) is not None or self._override(model) is not None

    def mode(self, model: str) -> str | None:
        """What kind of model the map says it is, such as `chat` or `embedding`."""
        name = self._listed_name(model)
        mode = None if name is None else self._map[name].get("mode")
        return mode if isinstance(mode, str) else None

    def rates(self, model: str, tier: Tier, input_tokens: int = 0) -> Rates | None:
        """The rates for a request of this size, None when unknown.

        A price for requests above a size holds for the whole request. A tier that lists none where the standard tier
        does is unknown above that size.
        """
        override = self._override(model)
        price = None if override is None else override.of(tier)
        if price is not None:
            return _rates_from_override(price)
        name = self._listed_name(model)
        if name is None:
            return None
        found: Rates | None = None
        for step in self._steps_of(name, tier):
            if step.above_tokens < input_tokens or step.above_tokens == 0:
                found = step.rates
        return found

    def cost(self, model: str, tier: Tier, usage: Usage) -> Decimal | None:
        """What these tokens cost in dollars, exact; None when the price is unknown."""
        rates = self.rates(model, tier, usage.input_tokens)
        if rates is None:
            return None
        cached = min(usage.cached_tokens, usage.input_tokens)
        fresh = usage.input_tokens - cached
        return fresh * rates.input + cached * rates.cached_input + usage.output_tokens * rates.output

    def batch_share(self, model: str) -> float:
        """What a token costs in a batch, as a share of its synchronous price; input and output count alike.

        1 for a model that is not sold in batches, and a half where no price is known: what providers usually ask.
        """
        standard, batch = self.rates(model, Tier.STANDARD), self.rates(model, Tier.BATCH)
        if standard is None:
            return USUAL_BATCH_SHARE
        listed = standard.input + standard.output
        return float((batch.input + batch.output) / listed) if batch is not None and listed else 1.0

    def share(self, model: str, tier: Tier, mix: Mix | None) -> float | None:
        """What requests of this mix cost at a tier, as a share of the standard tier's price; None where one of the two
        is unknown. Without a mix, input and output count alike.
        """
        standard, rates = self.rates(model, Tier.STANDARD), self.rates(model, tier)
        if standard is None or rates is None:
            return None
        usual = mix or Mix(output_per_input=1.0, cached_share=0.0)
        listed = _expected(Tier.STANDARD, standard, usual)
        return float(_expected(tier, rates, usual) / listed) if listed else None

    def _find_override(self, model: str) -> ModelPrice | None:
        for name in self._names(model):
            if name in self._overrides:
                return self._overrides[name]
        return None

    def _find_listed_name(self, model: str) -> str | None:
        for name in self._names(model):
            if self._is_listed(name):
                return name
        return None

    def _is_listed(self, name: str) -> bool:
        return name != _NOT_A_MODEL and name in self._map

    def _names(self, model: str) -> list[str]:
        """The names that a model may be listed under, the most exact first."""
        names = _without_snapshot(model)
        provider, slash, rest = model.partition("/")
        if slash:
            names += [name for name in _without_snapshot(rest) if self._sold_by(name, provider)]
        return names

    def _sold_by(self, name: str, provider: str) -> bool:
        """Whether the unprefixed entry is this provider's: a reseller's price may be another."""
        return self._is_listed(name) and self._map[name].get("litellm_provider") == provider

    def _steps_of(self, name: str, tier: Tier) -> tuple[_Step, ...]:
        steps = self._steps.get((name, tier))
        if steps is None:
            steps = _read_steps(self._map[name], tier)
            self._steps[name, tier] = steps
        return steps


def _without_snapshot(model: str) -> list[str]:
    """The name itself, and the name that it is a dated snapshot of."""
    if model.startswith("ft:"):
        return [model, ":".join(model.split(":")[:2])]
    dated = _SNAPSHOT.fullmatch(model)
    return [model, dated[1]] if dated else [model]


def _rates_from_override(price: TierPrice) -> Rates:
    cached = price.input if price.cached is None else price.cached
    return Rates(price.input / MILLION, cached / MILLION, price.output / MILLION)


def _read_steps(entry: Mapping[str, object], tier: Tier) -> tuple[_Step, ...]:
    """All sizes that the entry prices, smallest first; empty when it lists no token price for the tier."""
    if not _tokens_tell_all(entry):
        return ()
    suffix = _SUFFIX[tier]
    base = _read_rates(entry, "", suffix)
    if base is None:
        return ()
    sizes = {int(match[1]) for key in entry if (match := _ABOVE.fullmatch(key)) and match[2] in {"", suffix}}
    above = [_Step(size * 1000, _read_rates(entry, f"_above_{size}k_tokens", suffix)) for size in sorted(sizes)]
    return (_Step(0, base), *above)


def _tokens_tell_all(entry: Mapping[str, object]) -> bool:
    """Whether counts of input and output tokens are all that a bill for this model depends on."""
    if entry.get("mode") not in TOKEN_MODES or any(key in entry for key in _BEYOND_TOKENS):
        return False
    output = entry.get("output_cost_per_token")
    return all(entry.get(key, output) == output for key in _OTHER_OUTPUT)


def _read_rates(entry: Mapping[str, object], above: str, suffix: str) -> Rates | None:
    fresh = _amount(entry.get(f"input_cost_per_token{above}{suffix}"))
    output = _amount(entry.get(f"output_cost_per_token{above}{suffix}"))
    if output is None and entry.get("mode") == "embedding":
        output = Decimal(0)
    if fresh is None or output is None:
        return None
    cached = _amount(entry.get(f"cache_read_input_token_cost{above}{suffix}"))
    return Rates(fresh, fresh if cached is None else cached, output)


def _amount(listed: object) -> Decimal | None:
    """The exact decimal that a person wrote in the map; None for what is not a price."""
    if isinstance(listed, bool) or not isinstance(listed, int | float):
        return None
    amount = Decimal(repr(listed))
    return amount if amount.is_finite() and amount >= 0 else None

"""Which models exist, on which endpoints they work, and what they cost at each tier.

Prices come from LiteLLM's cost map (`model_prices_and_context_window_backup.json`), given as a plain dict of dicts.
Arithmetic is exact: each float becomes the decimal that its shortest representation shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from proxy.emulator.errors import ApiError

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
COMPLETIONS = "/v1/completions"
MODERATIONS = "/v1/moderations"
ENDPOINTS = (CHAT, RESPONSES, EMBEDDINGS, COMPLETIONS, MODERATIONS)

MODES: Mapping[str, frozenset[str]] = {
    CHAT: frozenset({"chat"}),
    RESPONSES: frozenset({"chat", "responses"}),
    EMBEDDINGS: frozenset({"embedding"}),
    COMPLETIONS: frozenset({"completion"}),
    MODERATIONS: frozenset({"moderation"}),
}
SUFFIXES: Mapping[str, str] = {"standard": "", "batch": "_batches", "flex": "_flex", "priority": "_priority"}
HOUSE_NAMES = ("gpt-", "text-embedding", "omni-moderation")

Prices = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per token, for one model at one tier and one prompt length."""

    prompt: Decimal
    cached: Decimal
    completion: Decimal | None
    """None: the price list has none, so that an answer with completion tokens cannot be priced."""


class Catalog:
    """The price list and the list of models. A model without a price is sold, but its price is unknown, never 0."""

    def __init__(self, prices: Prices, models: tuple[str, ...] | None) -> None:
        self._prices = prices
        self._models = models
        self._thresholds: dict[tuple[str, str], list[int]] = {}

    def exists(self, model: str) -> bool:
        """Say whether this model can be asked for."""
        if self._models is not None:
            return model in self._models
        return model in self._prices or model.startswith(HOUSE_NAMES)

    def listed(self) -> list[str]:
        """Return the models for `GET /v1/models`: those configured, else OpenAI's in the cost map."""
        if self._models is not None:
            return list(self._models)
        houses = ("openai", "text-completion-openai")
        return [name for name, entry in self._prices.items() if entry.get("litellm_provider") in houses]

    def require(self, model: str, endpoint: str) -> None:
        """Refuse with a 404 if the model does not exist, or not on this endpoint."""
        if not self.exists(model):
            message = f"The model `{model}` does not exist or you do not have access to it."
            raise ApiError(404, message, code="model_not_found")
        mode = self._entry(model).get("mode")
        if isinstance(mode, str) and mode not in MODES[endpoint]:
            message = f"The model `{model}` is not supported in the {endpoint[1:]} endpoint."
            raise ApiError(404, message, param="model", code="model_not_found")

    def sells(self, model: str, tier: str) -> bool:
        """Say whether the price list has a price for this model at this tier."""
        return self._number(model, f"input_cost_per_token{SUFFIXES[tier]}") is not None

    def batchable(self, model: str) -> bool:
        """Say whether the Batch API takes this model: it has a batch price, or it is free, or its price is unknown."""
        standard = self._number(model, "input_cost_per_token")
        return not standard or self.sells(model, "batch")

    def caches_prompts(self, model: str) -> bool:
        """Say whether the price list has a price for cached prompt tokens."""
        return self._number(model, "cache_read_input_token_cost") is not None

    def limit_of(self, model: str, key: str) -> int | None:
        """Return `max_input_tokens`, `max_output_tokens` or `output_vector_size`, where the list has it."""
        number = self._number(model, key)
        return None if number is None else int(number)

    def rates(self, model: str, tier: str, prompt_tokens: int) -> Rates | None:
        """Return what one token costs for a prompt of this length, or None where that is unknown."""
        above = self._above(model, tier, prompt_tokens)
        prompt = self._rate(model, "input_cost_per_token", tier, above)
        if prompt is None:
            free = tier == "batch" and self._number(model, "input_cost_per_token") == 0
            return Rates(Decimal(0), Decimal(0), Decimal(0)) if free else None
        cached = self._rate(model, "cache_read_input_token_cost", tier, above)
        completion = self._rate(model, "output_cost_per_token", tier, above)
        return Rates(prompt, prompt if cached is None else cached, completion)

    def _above(self, model: str, tier: str, prompt_tokens: int) -> int | None:
        """Return the highest threshold (in thousands) of this tier which the prompt exceeds."""
        thresholds = self._thresholds.get((model, tier))
        if thresholds is None:
            pattern = re.compile(r"input_cost_per_token_above_(\d+)k_tokens" + SUFFIXES[tier])
            matches = (pattern.fullmatch(key) for key in self._entry(model))
            thresholds = sorted(int(match.group(1)) for match in matches if match)
            self._thresholds[model, tier] = thresholds
        return max((known for known in thresholds if prompt_tokens > known * 1000), default=None)

    def _rate(self, model: str, name: str, tier: str, above: int | None) -> Decimal | None:
        suffix = SUFFIXES[tier]
        long_rate = None if above is None else self._number(model, f"{name}_above_{above}k_tokens{suffix}")
        return long_rate if long_rate is not None else self._number(model, f"{name}{suffix}")

    def _number(self, model: str, key: str) -> Decimal | None:
        value = self._entry(model).get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return Decimal(repr(value))

    def _entry(self, model: str) -> Mapping[str, object]:
        return self._prices.get(model, {})

"""The provider's own account: what each key bought, per model and tier, exact to the last digit."""

from collections import Counter
from dataclasses import dataclass
from decimal import Context, Decimal

from proxy.emulator.catalog import Catalog
from proxy.emulator.shape import JsonObject
from proxy.emulator.tokens import Usage

EXACT = Context(prec=80)
"""Sums of products of 17-digit prices and token counts stay exact in 80 digits."""


@dataclass(slots=True)
class Tally:
    """What was bought of one kind. `unpriced_requests` are in `requests` but not in `usd`."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    unpriced_requests: int = 0
    usd: Decimal = Decimal(0)

    def add(self, usage: Usage, usd: Decimal | None) -> None:
        """Book one answer; `usd` is None where its price is unknown."""
        self.requests += 1
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        self.completion_tokens += usage.completion
        if usd is None:
            self.unpriced_requests += 1
        else:
            self.usd = EXACT.add(self.usd, usd)

    def merge(self, other: "Tally") -> None:
        """Book all that the other one holds."""
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.completion_tokens += other.completion_tokens
        self.unpriced_requests += other.unpriced_requests
        self.usd = EXACT.add(self.usd, other.usd)

    def shown(self) -> JsonObject:
        """Return it as JSON, dollars as a decimal string."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "unpriced_requests": self.unpriced_requests,
            "usd": format(self.usd.normalize(EXACT), "f"),
        }


def price(catalog: Catalog, model: str, tier: str, usage: Usage) -> Decimal | None:
    """Return what an answer costs in US dollars, or None where the price list does not say."""
    rates = catalog.rates(model, tier, usage.prompt)
    if rates is None or (rates.completion is None and usage.completion):
        return None
    fresh = EXACT.multiply(rates.prompt, Decimal(usage.prompt - usage.cached))
    cached = EXACT.multiply(rates.cached, Decimal(usage.cached))
    made = EXACT.multiply(rates.completion or Decimal(0), Decimal(usage.completion))
    return EXACT.add(EXACT.add(fresh, cached), made)


class Bill:
    """Tallies per account, model and tier, and what was asked of each route."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self.answers: Counter[tuple[str, int]] = Counter()
        """How often each route answered each status; 0 stands for a connection that was dropped."""

    def add(self, account: str, model: str, tier: str, usage: Usage) -> None:
        """Book one synchronous answer."""
        self.tally(account, model, tier).add(usage, price(self._catalog, model, tier, usage))

    def tally(self, account: str, model: str, tier: str) -> Tally:
        """Return the tally for this account, model and tier, new if there was none."""
        return self._tallies.setdefault((account, model, tier), Tally())

    def shown(self) -> JsonObject:
        """Return everything as JSON: by account, model and tier, and the totals."""
        accounts: dict[str, dict[str, dict[str, JsonObject]]] = {}
        totals, tiers = Tally(), dict[str, Tally]()
        for (account, model, tier), tally in sorted(self._tallies.items()):
            accounts.setdefault(account, {}).setdefault(model, {})[tier] = tally.shown()
            tiers.setdefault(tier, Tally()).merge(tally)
            totals.merge(tally)
        return {
            "accounts": accounts,
            "tiers": {tier: tally.shown() for tier, tally in tiers.items()},
            "total": totals.shown(),
        }

    def routes(self) -> JsonObject:
        """Return how often each route answered each status."""
        shown: dict[str, dict[str, int]] = {}
        for (route, status), times in sorted(self.answers.items()):
            shown.setdefault(route, {})[str(status)] = times
        return dict(shown)

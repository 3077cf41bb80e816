"""What requests are made of, by upstream and model, learned from what they were billed: for comparing tiers' prices.

A listener of the ledger's events. A provider's prompt cache makes synchronous calls cheaper than their list price, and
how much cheaper depends on the traffic.
"""

from collections import OrderedDict
from dataclasses import dataclass

from proxy.domain.events import AnyEvent, CallFinished, RequestFinished, WasteBooked
from proxy.domain.ids import UpstreamName
from proxy.domain.money import LedgerRow, Usage
from proxy.domain.tier import Tier
from proxy.routing.pricing import Mix

MODELS_MAX = 1000
"""How many are remembered: names come from clients."""
PURCHASES_MIN = 20
"""Fewer are no experience."""
FADING = 0.99
"""What is left of a purchase's weight after the next one: the last hundred count most."""


@dataclass(slots=True)
class _Tokens:
    """Faded sums."""

    input: float = 0.0
    cached: float = 0.0
    output: float = 0.0

    def add(self, usage: Usage) -> None:
        self.input = self.input * FADING + usage.input_tokens
        self.cached = self.cached * FADING + usage.cached_tokens
        self.output = self.output * FADING + usage.output_tokens

    @property
    def cached_share(self) -> float:
        return min(1.0, self.cached / self.input) if self.input > 0 else 0.0


@dataclass(slots=True)
class _Known:
    calls: _Tokens
    lines: _Tokens
    purchases: int = 0


class MixBook:
    """Remembers the mix of each model in use."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[UpstreamName, str], _Known] = OrderedDict()

    def of(self, upstream: UpstreamName, model: str) -> Mix | None:
        """The mix, None before there is experience. Until synchronous calls have been seen, no cache is assumed."""
        known = self._known.get((upstream, model))
        if known is None or known.purchases < PURCHASES_MIN:
            return None
        tokens = known.calls.input + known.lines.input
        if tokens <= 0:
            return None
        return Mix(
            output_per_input=(known.calls.output + known.lines.output) / tokens,
            cached_share=known.calls.cached_share,
            cached_share_in_batches=known.lines.cached_share,
        )

    def listen(self, event: AnyEvent) -> None:
        """Learn from every purchase."""
        if isinstance(event, CallFinished | RequestFinished | WasteBooked) and event.row is not None:
            self._learn(event.row)

    def _learn(self, row: LedgerRow) -> None:
        if row.usage is None or row.usage.input_tokens <= 0:
            return
        key = row.upstream, row.model
        known = self._known.setdefault(key, _Known(_Tokens(), _Tokens()))
        self._known.move_to_end(key)
        (known.lines if row.tier is Tier.BATCH else known.calls).add(row.usage)
        known.purchases += 1
        if len(self._known) > MODELS_MAX:
            self._known.popitem(last=False)

"""What the planner has to know of an upstream's model, from what is learned and believed of its batches and calls."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.routing.latency import CompletionTimes
from proxy.routing.planner import Outlook
from proxy.routing.pricing import Mix


@dataclass(frozen=True, slots=True)
class Experience:
    """What is known of one model's batches and calls.

    - `batches`: how long its batches take; `prior` is what was believed of them before there was experience.
    - `odds_needed`: how likely a batch must be in time to be worth trying.
    - `call_seconds`: how much time before its deadline a request needs for a synchronous call.
    - `flex_lead_seconds`: how much more it needs to try flex before that; `flex_under_seconds`: with less time than
      this, flex goes before a batch of the same price.
    - `mix`: what its requests are made of, None when that is not known.
    """

    batches: CompletionTimes
    prior: CompletionTimes
    odds_needed: float
    call_seconds: float
    flex_lead_seconds: float
    flex_under_seconds: float
    mix: Mix | None = None


def outlook(known: Experience, covers: Callable[[float], bool], now: float) -> Outlook:
    """The outlook at this moment; `covers` says whether the rate limits leave room up to a deadline.

    How much time a batch needs is learned, but never more than was believed before there was experience: when batches
    get slow, requests are deferred all the same. They lose little, because an unfinished line is not billed, and
    calling them all at once would only move the crowd to where the rate limit is.
    """
    odds = known.odds_needed
    batch_seconds = min(known.batches.quantile(odds, now), known.prior.quantile(odds, now))
    return Outlook(
        batch_needs_seconds=batch_seconds + known.call_seconds,
        call_needs_seconds=known.call_seconds,
        flex_needs_seconds=known.call_seconds + known.flex_lead_seconds,
        flex_under_seconds=known.flex_under_seconds,
        covers=covers,
        odds=lambda within_seconds: known.batches.chance(within_seconds, now),
        time_for=lambda wanted: known.batches.quantile(wanted, now),
        odds_needed=odds,
        mix=known.mix,
    )

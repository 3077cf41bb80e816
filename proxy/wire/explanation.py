"""Why a request got its tier, for a person: the rule, the tier, what speaks for and against each rung, in numbers.

`Grounds` are the numbers; they are kept with a deferred request, so that the same text can be had again later.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.domain.decision import Decision, FlexObstacle, Grounds, OnMiss, Reason
from proxy.domain.request import RequestView
from proxy.domain.tier import Tier
from proxy.wire.durations import format_duration

REASONS = {
    Reason.NO_DEADLINE: "nobody said that it can wait: neither the client, nor its key, nor the policy",
    Reason.CLIENT_URGENT: "its client called it urgent",
    Reason.CLIENT_TIER: "its client named this tier itself",
    Reason.POLICY_URGENT: "the rule says that nothing is deferred",
    Reason.PASSTHROUGH: "it is not a call that could be deferred",
    Reason.ENDPOINT_NOT_BATCHABLE: "batches do not take this endpoint",
    Reason.NO_BATCH_TIER: "the upstream sells no batches, or has answered that it knows none",
    Reason.NOT_SOLD_AS_BATCH: "the model has no batch price",
    Reason.BATCH_NOT_CHEAPER: "a batch would not have been cheaper",
    Reason.TIER_NOT_ALLOWED: "the rule does not allow batches",
    Reason.DEADLINE_SHORT: "there was no time for anything cheaper",
    Reason.TOO_LARGE: "its body is larger than a batch's file may be",
    Reason.DEADLINE_ALLOWS: "there was time for a batch",
    Reason.DEADLINE_ALLOWS_FLEX: "there was time for a call at flex, and less for a batch or none to be had",
    Reason.WAITS_FOR_IDLE: "the upstream sells no batches, and has calls to spare when no others are made",
    Reason.CAPACITY_SHORT: "the rate limits could not carry it in time, so that a batch had the better odds",
    Reason.OBSERVED: "it would have waited, but the policy only observes",
}
FLEX_OBSTACLES = {
    FlexObstacle.NOT_SOLD: "the upstream does not sell it",
    FlexObstacle.NOT_ALLOWED: "the rule does not allow it",
    FlexObstacle.ENDPOINT: "it is not sold for this endpoint",
    FlexObstacle.PRICE_UNKNOWN: "no price is known for it",
    FlexObstacle.NOT_CHEAPER: "it is not cheaper than standard",
}
ON_MISS = {
    OnMiss.ESCALATE: "it moves to a faster tier in time",
    OnMiss.WAIT: "it waits on for a batch, beyond its deadline",
    OnMiss.FAIL: "it ends at its deadline with an error",
}


@dataclass(frozen=True, slots=True)
class Decided:
    """What is to be explained. `tier` is where the request starts; the rest is as in `Decision`."""

    policy: str
    tier: Tier
    reason: Reason
    on_miss: OnMiss
    confidence: float
    grounds: Grounds | None


def decided_now(decision: Decision) -> Decided:
    """A decision that was just made; one that is only observed is explained as what it would have been."""
    made = decision.observed or decision
    return Decided(made.policy, made.tier, made.reason, made.on_miss, made.confidence, made.grounds)


def decided_before(view: RequestView) -> Decided:
    """The decision about a request that is kept."""
    starts = {Reason.DEADLINE_ALLOWS_FLEX: Tier.FLEX, Reason.WAITS_FOR_IDLE: Tier.STANDARD}
    tier = starts.get(view.reason, Tier.BATCH)
    return Decided(view.policy, tier, view.reason, view.on_miss, view.confidence, view.grounds)


def explain(decided: Decided) -> list[str]:
    """The explanation, a line each."""
    lines = [f"rule {decided.policy}: {decided.tier}, because {REASONS[decided.reason]} ({decided.reason})"]
    grounds = decided.grounds
    if grounds is not None:
        lines.append(f"time until the deadline: {_time(grounds.left_seconds)}")
        lines += _rungs(decided, grounds)
        if decided.tier is Tier.BATCH:
            lines.append(f"if no batch is in time: {ON_MISS[decided.on_miss]} ({_share(decided.confidence)} wanted)")
    return lines


def _rungs(decided: Decided, grounds: Grounds) -> Iterator[str]:
    for tier in Tier:
        chosen = "chosen" if tier is decided.tier else "not chosen"
        yield f"{tier}: {chosen}; {'; '.join(_about(tier, grounds))}"


def _about(tier: Tier, grounds: Grounds) -> list[str]:
    match tier:
        case Tier.BATCH:
            return _about_batch(grounds)
        case Tier.FLEX:
            return _about_flex(grounds)
        case Tier.STANDARD:
            carries = "can" if grounds.covered else "cannot"
            needs = f"needs {_time(grounds.call_needs_seconds)}, {_slack(grounds)}"
            return [needs, f"the rate limits {carries} carry it then, if no batch answers", "the full price"]
        case Tier.PRIORITY:
            return ["bought only where the client names it"]


def _about_batch(grounds: Grounds) -> list[str]:
    odds = f"in time with {_share(grounds.odds)}, {_share(grounds.odds_needed)} needed"
    needs = f"needs {_time(grounds.batch_needs_seconds)}"
    price = _price(grounds.batch_price_share)
    obstacle = grounds.batch_obstacle
    return [odds, needs, price] if obstacle is None else [REASONS[obstacle], price]


def _about_flex(grounds: Grounds) -> list[str]:
    if grounds.flex_obstacle is not None:
        return [FLEX_OBSTACLES[grounds.flex_obstacle]]
    return [f"needs {_time(grounds.flex_needs_seconds)}", _price(grounds.flex_price_share)]


def _slack(grounds: Grounds) -> str:
    """How long a call can be put off."""
    slack_seconds = grounds.left_seconds - grounds.call_needs_seconds
    return f"a slack of {_time(slack_seconds)}" if slack_seconds > 0 else "and there is no slack"


def _price(share: float | None) -> str:
    return "no price is known" if share is None else f"{_share(share)} of the standard price"


def _share(share: float) -> str:
    return f"{100 * share:.4g} %"


def _time(seconds: float) -> str:
    return format_duration(round(seconds)) if seconds >= 1 else "less than a second"

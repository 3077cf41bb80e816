"""Series that begin at 0: those whose labels are known before anything is counted.

`rate()` would miss the first increment of any other, and what has not happened would draw as "no data". What is known
is what is configured; the labels of a model follow when its first deferred request comes in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from proxy.domain.batch import BatchOutcome
from proxy.domain.decision import Reason
from proxy.domain.failure import FailureKind
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import CutReason, EscalationReason, LimitKind, OutcomeLabel
from proxy.domain.money import Purchase
from proxy.domain.tier import Tier
from proxy.telemetry.series import Series

LINE_RESULTS = ("answered", "superseded", "refused", "missing")
"""The counts of `BatchSettled`, by the names of their fields."""

_STARTS = {
    Reason.DEADLINE_ALLOWS: Tier.BATCH,
    Reason.CAPACITY_SHORT: Tier.BATCH,
    Reason.DEADLINE_ALLOWS_FLEX: Tier.FLEX,
}
"""Where a request starts that is not bought at once."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is configured. `models` are those that are named in full, `store_operations` what a store is asked for,
    `price_map` where prices come from.
    """

    models: Mapping[UpstreamName, Sequence[str]] = field(default_factory=dict)
    policies: Sequence[str] = ()
    store_operations: Sequence[str] = ()
    price_map: str = ""


def begin(series: Series, known: Known) -> None:
    """Make the series that are not about a model."""
    for reason in CutReason:
        series.cuts.of(reason)
    for by in ("retry", "idempotency_key"):
        series.attached.of(by)
    for result in ("applied", "refused"):
        series.reloads.of(result)
    for outcome in ("delivered", "failed"):
        series.webhooks.of(outcome)
    for change in ("taken", "lost"):
        series.lane_changes.of(change)
    for operation in known.store_operations:
        series.store_seconds.of(operation)
        series.store_failures.of(operation)
    for upstream in known.models:
        series.tier_losses.of(upstream)
    for policy in known.policies:
        begin_policy(series, policy)


def begin_policy(series: Series, policy: str) -> None:
    """Make the series of one rule of the policy."""
    for reason in Reason:
        tier = _STARTS.get(reason, Tier.STANDARD)
        series.decisions.of(tier, reason, policy)
    for tier, result in product(Tier, ("met", "missed")):
        series.deadlines.of(policy, tier, result)
    series.slacks.of(policy)


def begin_model(series: Series, upstream: str, model: str, policies: Sequence[str]) -> None:
    """Make the series of one model at one upstream."""
    for tier, kind in product(Tier, set(Purchase) - {Purchase.EXPIRED}):
        series.spend.of(upstream, model, tier, kind)
        series.unpriced.of(upstream, model, tier, kind)
    for tier, direction in product(Tier, ("input", "cached_input", "output")):
        series.tokens.of(model, tier, direction)
    for limit in LimitKind:
        series.rate_limited.of(upstream, model, limit)
        series.shadow_limited.of(upstream, model, limit)
    for tier, escalation in product((Tier.FLEX, Tier.STANDARD), EscalationReason):
        series.escalations.of(upstream, model, tier, escalation)
    for failure in FailureKind:
        series.upstream_errors.of(upstream, model, failure)
    series.best_effort.of(upstream, model)
    series.turnarounds.of(upstream, model)
    series.sizes.of(upstream, model)
    series.escalation_slacks.of(upstream, model)
    for outcome in BatchOutcome:
        series.batches.of(upstream, model, outcome)
    for line_result in LINE_RESULTS:
        series.lines.of(upstream, model, line_result)
    series.submitted.of(upstream, model)
    for policy in policies:
        series.counterfactual.of(upstream, model, policy)
        series.accepted.of(upstream, model, policy)
        for tier, ending in product((Tier.BATCH, Tier.STANDARD), (OutcomeLabel.OK, OutcomeLabel.ERROR)):
            series.requests.of(upstream, model, tier, policy, ending)


def begin_observed(series: Series, upstream: str, model: str, policy: str) -> None:
    """Make the series of requests that are only observed under one rule."""
    series.observed_counterfactual.of(upstream, model, policy)
    for tier in (Tier.BATCH, Tier.FLEX):
        series.observed_spend.of(upstream, model, policy, tier)

"""The counters and histograms of `/metrics`: name, meaning, labels, buckets.

When one changes is decided in `proxy.telemetry.metrics`; the gauges are in `proxy.telemetry.gaugeseries`.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, disable_created_metrics

from proxy.telemetry.gaugeseries import PAIR
from proxy.telemetry.pages import Page, read

HOUR = 3600.0
DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR)
OVERHEAD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
FIRST_CHUNK_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SLACK_BUCKETS = (0, 1, 10, 60, 600, HOUR, 6 * HOUR, 24 * HOUR)
"""The first bucket is what was late: negative slack is observed as 0."""
TURNAROUND_BUCKETS = (60, 120, 300, 600, 900, 1800, *(hours * HOUR for hours in (1, 2, 4, 8, 12, 16, 20, 24, 26)))
STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SIZE_BUCKETS = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000)

Child = TypeVar("Child", Counter, Histogram)


class Family(Generic[Child]):
    """A metric and its children by label values. A look-up here costs a fraction of prometheus_client's own."""

    def __init__(self, metric: Child, labels: tuple[str, ...]) -> None:
        self._metric: Child = metric
        self._children: dict[tuple[str, ...], Child] = {} if labels else {(): metric}

    def of(self, *values: str) -> Child:
        """The child with these label values, in the order of the labels; made, at 0, when it is not there."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(*values)
        return child


class Series:
    """All counters and histograms, in a registry of their own, with what the process says of itself.

    `build` tells one running version from the next.
    """

    def __init__(self, build: Mapping[str, str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated by prometheus_client
        self._registry = CollectorRegistry()
        self._add_requests()
        self._add_money()
        self._add_batches()
        self._add_operation()
        Info("standby_build", "The running version, and where its prices come from.", registry=self._registry).info(
            dict(build)
        )
        ProcessCollector(registry=self._registry)

    def page(self) -> Page:
        """All of them, as they are now."""
        return read(self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, meaning, labels, registry=self._registry), labels)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Family[Histogram]:
        return Family(Histogram(name, meaning, labels, buckets=buckets, registry=self._registry), labels)

    def _add_requests(self) -> None:
        self.requests = self._counter(
            "standby_requests_total", "Finished requests.", *PAIR, "tier", "policy", "outcome"
        )
        self.decisions = self._counter(
            "standby_decisions_total", "Requests by the tier they start at, and why.", "tier", "reason", "policy"
        )
        self.rejections = self._counter(
            "standby_rejections_total", "Requests that Standby itself refused.", "status", "code"
        )
        self.accepted = self._counter(
            "standby_accepted_requests_total", "Deferred requests made durable.", *PAIR, "policy"
        )
        self.best_effort = self._counter(
            "standby_best_effort_requests_total",
            "Deferred requests taken in although the rate limits might not carry them in time if no batch does.",
            *PAIR,
        )
        self.attached = self._counter(
            "standby_attached_requests_total", "Calls attached to work that was there already.", "by"
        )
        self.webhooks = self._counter(
            "standby_webhooks_total", "Calls of clients' webhooks; one that failed is tried again.", "outcome"
        )
        self.virtual_batches = self._counter(
            "standby_virtual_batches_total", "Batches that Standby runs itself, by the status they came into.", "status"
        )
        self.durations = self._histogram(
            "standby_request_duration_seconds",
            "From a request's arrival to its answer.",
            DURATION_BUCKETS,
            "tier",
            "model",
        )
        self.overheads = self._histogram(
            "standby_proxy_overhead_seconds", "Standby's own time before it asks upstream.", OVERHEAD_BUCKETS, "route"
        )
        first_chunk = "From asking upstream to the first byte of its answer."
        self.first_chunks = self._histogram(
            "standby_time_to_first_chunk_seconds", first_chunk, FIRST_CHUNK_BUCKETS, "model"
        )
        in_time = (
            "Requests with a deadline by whether an answer, be it an error, was there in time; not the cancelled ones."
        )
        self.deadlines = self._counter("standby_deadline_results_total", in_time, "policy", "tier", "result")
        slack = "Time left to the deadline when the answer was there; 0 for a missed deadline."
        self.slacks = self._histogram("standby_deadline_slack_seconds", slack, SLACK_BUCKETS, "policy")

    def _add_money(self) -> None:
        self.spend = self._counter("standby_spend_usd_total", "Dollars paid, where known.", *PAIR, "tier", "kind")
        at_standard = (
            "Dollars that delivered answers would have cost at the standard tier, where both prices are known."
        )
        self.counterfactual = self._counter("standby_counterfactual_spend_usd_total", at_standard, *PAIR, "policy")
        self.observed_spend = self._counter(
            "standby_observed_spend_usd_total",
            "Dollars that observed requests would have cost at the tier they would have started at.",
            *PAIR,
            "policy",
            "tier",
        )
        self.observed_counterfactual = self._counter(
            "standby_observed_counterfactual_spend_usd_total",
            "Dollars that the same observed requests cost at the standard tier.",
            *PAIR,
            "policy",
        )
        unknown = "Purchases of which what was paid, or the standard price, is unknown."
        self.unpriced = self._counter("standby_unpriced_purchases_total", unknown, *PAIR, "tier", "kind")
        self.tokens = self._counter(
            "standby_tokens_total", "Tokens bought; input excludes cached_input.", "model", "tier", "direction"
        )

    def _add_batches(self) -> None:
        self.cuts = self._counter("standby_batch_cuts_total", "Queues cut into batches.", "reason")
        self.sizes = self._histogram("standby_batch_size_lines", "Lines of batches when cut.", SIZE_BUCKETS, *PAIR)
        self.submitted = self._counter("standby_batches_submitted_total", "Batches that the provider has taken.", *PAIR)
        self.batches = self._counter("standby_batches_total", "Batches that ended and were read.", *PAIR, "outcome")
        self.lines = self._counter("standby_batch_lines_total", "Lines of batches that were read.", *PAIR, "result")
        self.turnarounds = self._histogram(
            "standby_batch_turnaround_seconds", "From a batch's submission to its end.", TURNAROUND_BUCKETS, *PAIR
        )
        self.forecasts = self._counter(
            "standby_forecast_results_total",
            "Quoted completion times of batches that held or did not; the quantile says how many should.",
            *PAIR,
            "quoted",
            "result",
        )
        self.call_forecasts = self._counter(
            "standby_call_forecast_results_total",
            "Calls that took no longer than was expected, or did; the quantile says how many should.",
            *PAIR,
            "tier",
            "quoted",
            "result",
        )
        self.files_deleted = self._counter(
            "standby_provider_files_deleted_total", "Our files deleted from providers' storage."
        )
        self.escalations = self._counter(
            "standby_escalations_total", "Deferred requests moved to a faster tier.", *PAIR, "tier", "reason"
        )
        slack = "Time left to the deadline when an escalation began; 0 when it had passed."
        self.escalation_slacks = self._histogram("standby_escalation_start_slack_seconds", slack, SLACK_BUCKETS, *PAIR)
        self.tier_losses = self._counter(
            "standby_batch_tier_losses_total", "Times an upstream turned out to take no batches.", "upstream"
        )

    def _add_operation(self) -> None:
        self.rate_limited = self._counter(
            "standby_provider_rate_limited_total", "429 answers of providers to synchronous calls.", *PAIR, "limit"
        )
        self.upstream_errors = self._counter(
            "standby_upstream_errors_total", "Calls of any kind that a provider failed.", *PAIR, "kind"
        )
        self.store_seconds = self._histogram(
            "standby_store_seconds", "How long the store took, by what was asked of it.", STORE_BUCKETS, "op"
        )
        self.store_failures = self._counter("standby_store_failures_total", "What the store failed to do.", "op")
        avoided = "Requests that a provider would have refused, had all been sent synchronously on arrival."
        self.shadow_limited = self._counter("standby_shadow_rate_limited_total", avoided, *PAIR, "limit")
        self.lane_changes = self._counter(
            "standby_lane_changes_total",
            "Models (per upstream) that this process began to look after, or lost because the store was away.",
            "change",
        )
        self.store_warnings = self._counter(
            "standby_store_warnings_total", "Settings of the store that put promises at risk, found at the start."
        )
        self.step_failures = self._counter("standby_step_failures_total", "Steps that failed and are repeated.", "step")
        self.reloads = self._counter("standby_policy_reloads_total", "Reloads of the policy.", "result")

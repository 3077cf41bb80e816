"""Every series of `/metrics`: name, meaning, labels, buckets, and how they are written out.

The only module that knows prometheus_client. When a series changes is decided in `proxy.telemetry.metrics`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_text
from prometheus_client.registry import Collector

from proxy.telemetry.gauges import Gauges

HOUR = 3600.0
DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR)
OVERHEAD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
FIRST_CHUNK_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SLACK_BUCKETS = (0, 1, 10, 60, 600, HOUR, 6 * HOUR, 24 * HOUR)
"""The first bucket is what was late: negative slack is observed as 0."""
TURNAROUND_BUCKETS = (60, 120, 300, 600, 900, 1800, *(hours * HOUR for hours in (1, 2, 4, 8, 12, 16, 20, 24, 26)))

PAIR = ("upstream", "model")

Child = TypeVar("Child", Counter, Histogram)
Totals = Mapping[tuple[str, ...], float]


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
    """All counters and histograms, in a registry of their own, with the gauges of the last look at the state.

    `bound` turns a model into a label value.
    """

    def __init__(self, version: str, bound: Callable[[str], str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated by prometheus_client
        self._registry = CollectorRegistry()
        self._gauges = _GaugeCollector(bound)
        self._add_requests()
        self._add_money()
        self._add_batches()
        self._add_operation()
        Info("standby_build", "The running version.", registry=self._registry).info({"version": version})
        self._registry.register(self._gauges)
        ProcessCollector(registry=self._registry)

    def render(self, gauges: Gauges, *, openmetrics: bool) -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics, which carries exemplars, or Prometheus's text format."""
        self._gauges.look = gauges
        if openmetrics:
            return _openmetrics(self._registry), openmetrics_text.CONTENT_TYPE_LATEST
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

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
        unknown = "Purchases of which what was paid, or the standard price, is unknown."
        self.unpriced = self._counter("standby_unpriced_purchases_total", unknown, *PAIR, "tier", "kind")
        self.tokens = self._counter(
            "standby_tokens_total", "Tokens bought; input excludes cached_input.", "model", "tier", "direction"
        )

    def _add_batches(self) -> None:
        self.cuts = self._counter("standby_batch_cuts_total", "Queues cut into batches.", "reason")
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
            "quantile",
            "result",
        )
        self.call_forecasts = self._counter(
            "standby_call_forecast_results_total",
            "Calls that took no longer than was expected, or did; the quantile says how many should.",
            *PAIR,
            "tier",
            "quantile",
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


def _openmetrics(registry: CollectorRegistry) -> bytes:
    text: bytes = openmetrics_text.generate_latest(registry)  # type: ignore[no-untyped-call]  # as above
    return text


class _GaugeCollector(Collector):
    """Writes out the last look at the state. A series that was there once stays, at 0 or whatever means nothing: a gap
    would read as no data.
    """

    def __init__(self, bound: Callable[[str], str]) -> None:
        self.look = Gauges(at=0.0)
        self._bound = bound
        self._seen: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)

    def collect(self) -> Iterable[Metric]:
        look = self.look
        yield from self._queues()
        yield self._family(
            "standby_open_requests",
            "Deferred requests without an answer, by stage.",
            (*PAIR, "stage"),
            self._sum(look.open_requests.items()),
        )
        yield self._family(
            "standby_open_batches",
            "Batches that are not cleaned up yet.",
            (*PAIR, "state"),
            self._sum(look.open_batches.items()),
        )
        yield self._family(
            "standby_escalation_backlog_requests",
            "Requests that should escalate and wait for the rate limit.",
            ("upstream",),
            {(upstream,): count for upstream, count in look.escalation_backlog.items()},
        )
        yield self._family(
            "standby_escalation_slack_seconds",
            "Time until the first waiting request has to move to the synchronous tier; below 0 it is late.",
            PAIR,
            self._min(look.escalation_slack_seconds.items()),
            empty=inf,
        )
        yield from self._forecasts()
        yield self._family(
            "standby_batch_enqueued_tokens",
            "Estimated prompt tokens in batches that have not ended.",
            PAIR,
            self._max(look.enqueued_tokens.items()),
        )
        yield self._family(
            "standby_batch_enqueued_tokens_limit",
            "How many tokens the account may have enqueued, as far as is known.",
            PAIR,
            self._max(look.enqueued_tokens_limit.items()),
        )
        yield self._family(
            "standby_shadow_queue_seconds",
            "Wait of a virtual queue of everything sent synchronously on arrival.",
            PAIR,
            self._max(look.shadow_wait_seconds.items()),
        )
        yield self._family(
            "standby_rate_limit_used_ratio",
            "Share of a provider's rate limit in use; the shadow view may exceed 1.",
            (*PAIR, "limit", "view"),
            self._max(look.rate_used_ratio.items()),
        )
        yield from self._process()

    def _forecasts(self) -> Iterable[Metric]:
        look = self.look
        yield self._family(
            "standby_batch_forecast_seconds",
            "Within this time the quoted share of batches is expected to complete.",
            PAIR,
            self._max(look.forecast_seconds.items()),
        )
        yield self._family(
            "standby_call_forecast_seconds",
            "Within this time nearly every synchronous call is expected to be answered, at flex nine in ten.",
            (*PAIR, "tier"),
            self._max(look.call_forecast_seconds.items()),
        )
        yield self._family(
            "standby_batch_tier_congested",
            "1 while batches have stopped coming back.",
            PAIR,
            self._max(look.congested.items()),
        )

    def _queues(self) -> Iterable[Metric]:
        requests: defaultdict[tuple[str, ...], float] = defaultdict(float)
        tokens: defaultdict[tuple[str, ...], float] = defaultdict(float)
        ages: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for depth in self.look.queues:
            pair = (depth.queue.upstream, self._bound(depth.queue.model))
            requests[pair] += depth.requests
            tokens[pair] += depth.estimated_tokens
            ages[pair] = max(ages[pair], self.look.at - depth.oldest_at)
        yield self._family("standby_queue_requests", "Deferred requests that wait for a batch.", PAIR, requests)
        yield self._family("standby_queue_tokens", "Their estimated prompt tokens.", PAIR, tokens)
        yield self._family("standby_queue_oldest_seconds", "How long the oldest of them has waited.", PAIR, ages)

    def _process(self) -> Iterable[Metric]:
        look = self.look
        for name, meaning, value in (
            ("standby_held_connections", "Client connections held open for an answer.", look.held_connections),
            ("standby_inflight_requests", "Urgent calls under way.", look.urgent_inflight),
            (
                "standby_unbooked_ledger_rows",
                "Ledger rows of urgent calls that are not durable yet.",
                look.unbooked_rows,
            ),
            ("standby_replicas", "Processes that share the store, this one included.", look.replicas),
            ("standby_lanes_held", "Models (per upstream) whose deferred requests this process buys.", look.lanes_held),
            ("standby_policy_loaded_timestamp_seconds", "When the policy in force was loaded.", look.policy_loaded_at),
            (
                "standby_policy_edit_refused",
                "1 while the policy's files say what cannot be used, and an older version is in force.",
                look.policy_edit_refused,
            ),
            ("standby_event_loop_lag_seconds", "How late the event loop ran its timers.", look.event_loop_lag_seconds),
        ):
            yield GaugeMetricFamily(name, meaning, value=value)
        failures = "Failures of listeners to events, such as these metrics."
        yield CounterMetricFamily("standby_listener_failures_total", failures, value=look.listener_failures)

    def _sum(self, values: Iterable[tuple[tuple[str, str, str], float]]) -> Totals:
        totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for (upstream, model, word), value in values:
            totals[upstream, self._bound(model), word] += value
        return totals

    def _max(self, values: Iterable[tuple[tuple[str, ...], float]]) -> Totals:
        totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for (upstream, model, *rest), value in values:
            key = (upstream, self._bound(model), *rest)
            totals[key] = max(totals[key], value)
        return totals

    def _min(self, values: Iterable[tuple[tuple[str, ...], float]]) -> Totals:
        totals: defaultdict[tuple[str, ...], float] = defaultdict(lambda: inf)
        for (upstream, model, *rest), value in values:
            key = (upstream, self._bound(model), *rest)
            totals[key] = min(totals[key], value)
        return totals

    def _family(
        self, name: str, meaning: str, labels: tuple[str, ...], totals: Totals, *, empty: float = 0.0
    ) -> GaugeMetricFamily:
        self._seen[name].update(totals)
        family = GaugeMetricFamily(name, meaning, labels=labels)
        for values in sorted(self._seen[name]):
            family.add_metric(values, totals.get(values, empty))
        return family

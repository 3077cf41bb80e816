"""The gauges of `/metrics`: which are written out from a look at the state, under which names.

How several values of one series combine is said once for each, and holds for models beyond the bound, which share a
label, as it does for the processes behind one address.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf

from proxy.domain.request import QueueDepth
from proxy.telemetry.gauges import Gauges
from proxy.telemetry.pages import Family, Merge, Page, Point

PAIR = ("upstream", "model")

Values = Iterable[tuple[tuple[str, ...], float]]
"""Label values, and what is measured there."""


@dataclass(frozen=True, slots=True)
class GaugeSeries:
    """One gauge. A series that was there once stays, as `empty`: a gap would read as no data."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    merge: Merge
    read: Callable[[Gauges], Values]
    empty: float = 0.0


SERIES = (
    GaugeSeries(
        "standby_queue_requests",
        "Deferred requests that wait for a batch.",
        PAIR,
        Merge.SUM,
        lambda look: ((_pair(depth), depth.requests) for depth in look.queues),
    ),
    GaugeSeries(
        "standby_queue_tokens",
        "Their estimated prompt tokens.",
        PAIR,
        Merge.SUM,
        lambda look: ((_pair(depth), depth.estimated_tokens) for depth in look.queues),
    ),
    GaugeSeries(
        "standby_queue_oldest_seconds",
        "How long the oldest of them has waited.",
        PAIR,
        Merge.MAX,
        lambda look: ((_pair(depth), look.at - depth.oldest_at) for depth in look.queues),
    ),
    GaugeSeries(
        "standby_open_requests",
        "Deferred requests without an answer, by stage.",
        (*PAIR, "stage"),
        Merge.SUM,
        lambda look: look.open_requests.items(),
    ),
    GaugeSeries(
        "standby_open_batches",
        "Batches that are not cleaned up yet.",
        (*PAIR, "state"),
        Merge.SUM,
        lambda look: look.open_batches.items(),
    ),
    GaugeSeries(
        "standby_batch_oldest_seconds",
        "How long ago the oldest batch that the provider works on was submitted.",
        PAIR,
        Merge.MAX,
        lambda look: look.oldest_batch_seconds.items(),
    ),
    GaugeSeries(
        "standby_batch_poll_age_seconds",
        "Of the batches that the provider works on, the longest time without a word about one.",
        PAIR,
        Merge.MAX,
        lambda look: look.poll_age_seconds.items(),
    ),
    GaugeSeries(
        "standby_escalation_backlog_requests",
        "Requests that should escalate and wait for the rate limit.",
        ("upstream",),
        Merge.SUM,
        lambda look: (((upstream,), count) for upstream, count in look.escalation_backlog.items()),
    ),
    GaugeSeries(
        "standby_escalation_slack_seconds",
        "Time until the first waiting request has to move to the synchronous tier; below 0 it is late.",
        PAIR,
        Merge.MIN,
        lambda look: look.escalation_slack_seconds.items(),
        empty=inf,
    ),
    GaugeSeries(
        "standby_batch_forecast_seconds",
        "Within this time the quoted share of batches is expected to complete.",
        PAIR,
        Merge.MAX,
        lambda look: look.forecast_seconds.items(),
    ),
    GaugeSeries(
        "standby_call_forecast_seconds",
        "Within this time nearly every synchronous call is expected to be answered, at flex nine in ten.",
        (*PAIR, "tier"),
        Merge.MAX,
        lambda look: look.call_forecast_seconds.items(),
    ),
    GaugeSeries(
        "standby_batch_tier_congested",
        "1 while batches have stopped coming back.",
        PAIR,
        Merge.MAX,
        lambda look: look.congested.items(),
    ),
    GaugeSeries(
        "standby_batch_enqueued_tokens",
        "Estimated prompt tokens in batches that have not ended.",
        PAIR,
        Merge.SUM,
        lambda look: look.enqueued_tokens.items(),
    ),
    GaugeSeries(
        "standby_batch_enqueued_tokens_limit",
        "How many tokens the account may have enqueued, as far as is known.",
        PAIR,
        Merge.MAX,
        lambda look: look.enqueued_tokens_limit.items(),
    ),
    GaugeSeries(
        "standby_shadow_queue_seconds",
        "Wait of a virtual queue of everything sent synchronously on arrival.",
        PAIR,
        Merge.MAX,
        lambda look: look.shadow_wait_seconds.items(),
    ),
    GaugeSeries(
        "standby_rate_limit_used_ratio",
        "Share of a provider's rate limit in use: what was really sent, and what would have been, had all been.",
        (*PAIR, "limit", "view"),
        Merge.MAX,
        lambda look: look.rate_used_ratio.items(),
    ),
    GaugeSeries(
        "standby_held_connections",
        "Client connections held open for an answer.",
        (),
        Merge.SUM,
        lambda look: [((), look.held_connections)],
    ),
    GaugeSeries(
        "standby_inflight_requests", "Urgent calls under way.", (), Merge.SUM, lambda look: [((), look.urgent_inflight)]
    ),
    GaugeSeries(
        "standby_unbooked_ledger_rows",
        "Ledger rows of urgent calls that are not durable yet.",
        (),
        Merge.SUM,
        lambda look: [((), look.unbooked_rows)],
    ),
    GaugeSeries(
        "standby_replicas",
        "Processes that share the store, as far as is known.",
        (),
        Merge.MAX,
        lambda look: [((), look.replicas)],
    ),
    GaugeSeries(
        "standby_lanes_held",
        "Models (per upstream) whose deferred requests are bought here.",
        (),
        Merge.SUM,
        lambda look: [((), look.lanes_held)],
    ),
    GaugeSeries(
        "standby_leader",
        "1 where the store and the providers' files are swept: of all that share a store, one does it.",
        (),
        Merge.SUM,
        lambda look: [((), look.is_leader)],
    ),
    GaugeSeries(
        "standby_policy_loaded_timestamp_seconds",
        "When the policy in force was loaded.",
        (),
        Merge.MIN,
        lambda look: [((), look.policy_loaded_at)],
    ),
    GaugeSeries(
        "standby_policy_edit_refused",
        "1 while the policy's files say what cannot be used, and an older version is in force.",
        (),
        Merge.MAX,
        lambda look: [((), look.policy_edit_refused)],
    ),
    GaugeSeries(
        "standby_event_loop_lag_seconds",
        "How late the event loop ran its timers.",
        (),
        Merge.MAX,
        lambda look: [((), look.event_loop_lag_seconds)],
    ),
)


class GaugeWriter:
    """Writes out one look after the other. `bound` turns a model into a label value."""

    def __init__(self, bound: Callable[[str], str]) -> None:
        self._bound = bound
        self._seen: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)

    def page(self, look: Gauges) -> Page:
        """Every gauge, and the one counter that is read from state."""
        return (*(self._family(series, look) for series in SERIES), _failures(look))

    def _family(self, series: GaugeSeries, look: Gauges) -> Family:
        found: dict[tuple[str, ...], float] = {}
        for values, value in series.read(look):
            key = self._bounded(series, values)
            found[key] = series.merge.of(found[key], value) if key in found else float(value)
        seen = self._seen[series.name]
        seen.update(found)
        points = tuple(
            Point(series.name, tuple(zip(series.labels, values, strict=True)), found.get(values, series.empty))
            for values in sorted(seen)
        )
        return Family(series.name, "gauge", series.meaning, series.merge, points)

    def _bounded(self, series: GaugeSeries, values: tuple[str, ...]) -> tuple[str, ...]:
        if series.labels[:2] != PAIR:
            return values
        upstream, model, *rest = values
        return (upstream, self._bound(model), *(str(value) for value in rest))


def _pair(depth: QueueDepth) -> tuple[str, str]:
    return depth.queue.upstream, depth.queue.model


def _failures(look: Gauges) -> Family:
    name = "standby_listener_failures"
    meaning = "Failures of listeners to events, such as these metrics."
    point = Point(f"{name}_total", (), float(look.listener_failures))
    return Family(name, "counter", meaning, Merge.SUM, (point,))

"""What `/metrics` reads from state at the moment it is scraped, as plain data that the runtime collects.

Counters and histograms come from events instead: see `proxy.telemetry.metrics`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from proxy.domain.batch import BatchState
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import LimitKind
from proxy.domain.request import QueueDepth, Stage
from proxy.domain.tier import Tier


class LimitView(StrEnum):
    """Whose use of a rate limit is meant."""

    ACTUAL = "actual"
    """What was really sent synchronously."""
    SHADOW = "shadow"
    """What would have been sent, had every request gone out synchronously on arrival."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """One look at the state, at the instant `at` (unix seconds). Pairs are (upstream, model).

    `escalation_backlog` counts requests that should escalate and wait for the rate limit, by upstream.
    `escalation_slack_seconds` is the time until the first waiting request has to move; a pair without one is left out.
    Within `forecast_seconds` the quoted share of batches is expected to complete; `congested`: they have stopped coming
    back. Within `call_forecast_seconds` nearly every call at a tier is expected to be answered.
    `oldest_batch_seconds` counts from the submission of the oldest batch in flight, `poll_age_seconds` from the
    provider's last word about the batch in flight that it has said nothing about for longest.
    `enqueued_tokens` are reserved in batches that have not ended, by our own count; `enqueued_tokens_limit` is what the
    account may have, left out where it is not known.
    `shadow_wait_seconds` is the wait of a virtual queue of everything sent synchronously on arrival.
    `rate_used_ratio` is 0 unused, 1 all used, more than 1 overdrawn. `unbooked_rows` are ledger rows of urgent
    calls that are not durable yet. `listener_failures` is the process's total so far.
    What waits and what is in batches is told by the process that looks after it, once. `replicas` are present, as far
    as this one knows; it holds the leases on `lanes_held`. The leader
    sweeps the store and the providers' files.
    The policy in force was loaded at `policy_loaded_at`; `policy_edit_refused` while its files say what cannot be used.
    """

    at: float
    queues: Sequence[QueueDepth] = ()
    open_requests: Mapping[tuple[UpstreamName, str, Stage], int] = field(default_factory=dict)
    open_batches: Mapping[tuple[UpstreamName, str, BatchState], int] = field(default_factory=dict)
    oldest_batch_seconds: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    poll_age_seconds: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    escalation_backlog: Mapping[UpstreamName, int] = field(default_factory=dict)
    escalation_slack_seconds: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    forecast_seconds: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    call_forecast_seconds: Mapping[tuple[UpstreamName, str, Tier], float] = field(default_factory=dict)
    congested: Mapping[tuple[UpstreamName, str], bool] = field(default_factory=dict)
    enqueued_tokens: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    enqueued_tokens_limit: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    shadow_wait_seconds: Mapping[tuple[UpstreamName, str], float] = field(default_factory=dict)
    rate_used_ratio: Mapping[tuple[UpstreamName, str, LimitKind, LimitView], float] = field(default_factory=dict)
    held_connections: int = 0
    urgent_inflight: int = 0
    unbooked_rows: int = 0
    listener_failures: int = 0
    event_loop_lag_seconds: float = 0.0
    replicas: int = 0
    lanes_held: int = 0
    is_leader: bool = False
    policy_loaded_at: float = 0.0
    policy_edit_refused: bool = False


class StateReader(Protocol):
    """Who can take that look; the runtime implements it over the store, the engine and the server."""

    async def gauges(self) -> Gauges:
        """The state now. Raises `StoreFault` when the store cannot be read."""

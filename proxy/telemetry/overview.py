"""What an operator sees at a glance, as plain data that the runtime collects and `GET /operator/overview` answers.

Instants are unix seconds, durations seconds, amounts dollars. `Replica` and what is under it is the answering process's
own and begins anew when it does; all else is the store's, the same whichever replica is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from proxy.domain.batch import BatchState
from proxy.domain.ids import BatchId, RequestId, UpstreamName
from proxy.domain.labels import OutcomeLabel
from proxy.domain.request import Stage
from proxy.domain.tier import Tier
from proxy.telemetry.happenings import Happening
from proxy.telemetry.journal import Decided


@dataclass(frozen=True, slots=True)
class Money:
    """Ledger rows, summed. `saved_usd` is list price minus paid.

    `wasted_usd` is the part of what was paid that delivered nothing (duplicates and failures); `unpriced` counts the
    purchases whose amounts are not both known, for which no saving is claimed. `observed_usd` would have been saved
    where waiting was only observed. `met` and `missed` are deadlines.
    """

    purchases: int
    list_usd: Decimal
    paid_usd: Decimal
    saved_usd: Decimal
    wasted_usd: Decimal
    unpriced: int
    observed_usd: Decimal
    met: int
    missed: int


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the day."""

    begins_at: float
    money: Money


@dataclass(frozen=True, slots=True)
class Day:
    """What the ledger says of today in `timezone`, as it was at `read_at`."""

    begins_at: float
    read_at: float
    timezone: str
    money: Money
    hours: Sequence[Hour]
    tiers: Mapping[Tier, Money]
    models: Mapping[str, Money]


@dataclass(frozen=True, slots=True)
class LaneView:
    """All open deferred requests of an upstream's model, by stage.

    `oldest_at` is when the first of those was accepted that wait for a batch, None where none does; `waiting_tokens`
    are their estimated prompt tokens. `deadline_at` is the tightest of all. `slack_seconds` is the time until the first
    has to move to the synchronous tier, below 0 where it is late: known to the replica that looks after the lane, None
    elsewhere.
    """

    upstream: UpstreamName
    model: str
    stages: Mapping[Stage, int]
    waiting_tokens: int
    oldest_at: float | None
    deadline_at: float | None
    slack_seconds: float | None


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch that is not collected yet. `expected_at` is when it should be complete, as far as the replica knows."""

    id: BatchId
    provider_id: str | None
    upstream: UpstreamName
    model: str
    endpoint: str
    state: BatchState
    provider_status: str | None
    lines: int
    completed_lines: int
    failed_lines: int
    created_at: float
    submitted_at: float | None
    expected_at: float | None
    deadline_at: float
    cancelling: bool


@dataclass(frozen=True, slots=True)
class LimitView:
    """A provider's rate limit of one model as the replica knows it, and how often it was met.

    Limits are per minute, None where the provider has said nothing. `used_ratio` is that of the scarcer one; above 1 it
    is overdrawn. `refused` counts real 429s, `avoided` requests that would have been over the limit had everything been
    sent on arrival; `all_sync_wait_seconds` is how long one that arrives now would then wait for its turn.
    """

    upstream: UpstreamName
    model: str
    requests_per_minute: float | None
    tokens_per_minute: float | None
    used_ratio: float
    refused: int
    avoided: int
    all_sync_wait_seconds: float


@dataclass(frozen=True, slots=True)
class ForecastView:
    """How long batches of a model take: within `seconds` the share `quantile` of them is expected to be complete.

    Of `checked` such quotes since the replica began, `covered` have held. `congested`: batches no longer come back.
    """

    upstream: UpstreamName
    model: str
    seconds: float
    quantile: float
    congested: bool
    covered: int
    checked: int


@dataclass(frozen=True, slots=True)
class MinuteView:
    """Requests that were finished within a minute, by tier."""

    at: float
    requests: Mapping[Tier, int]


@dataclass(frozen=True, slots=True)
class Replica:
    """The process that answers, and what it has seen since `started_at`.

    `calls` are synchronous calls for deferred requests that are under way, `backlog` those that wait for the rate
    limit. `unbooked` are ledger rows of urgent calls that the store does not have yet. `stages` says where those of the
    deferred requests among `decisions` are that have no answer yet.
    """

    name: str
    version: str
    started_at: float
    policy_rules: int
    lanes: int
    draining: bool
    urgent: int
    held: int
    calls: int
    backlog: int
    unbooked: int
    lag_seconds: float
    listener_failures: int
    deadlines_met: int
    deadlines_missed: int
    requests: Mapping[Tier, Mapping[OutcomeLabel, int]]
    minutes: Sequence[MinuteView]
    limits: Sequence[LimitView]
    forecasts: Sequence[ForecastView]
    decisions: Sequence[Decided]
    stages: Mapping[RequestId, Stage]
    happenings: Sequence[Happening]


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at everything, at the instant `at`.

    `store` is the kind of store, `replicas` how many processes share it. `open_requests` and `open_batches` count all,
    where `lanes` and `batches` are cut off. `store_fault` says why what is the store's is old, where it is.
    """

    at: float
    store: str
    replicas: int
    store_fault: str | None
    day: Day | None
    open_requests: Mapping[Stage, int]
    lanes: Sequence[LaneView]
    open_batches: int
    batches: Sequence[BatchView]
    replica: Replica

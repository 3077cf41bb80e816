"""What a client said about urgency, and what Standby decided: tier, reason, deadline."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.domain.tier import Tier


class Priority(StrEnum):
    """How urgent a client says its request is, when it names no deadline."""

    URGENT = "urgent"
    NORMAL = "normal"
    """Neither: the policy decides."""
    DEFERRABLE = "deferrable"
    """Takes the policy's default deadline."""


class UrgencySource(StrEnum):
    """Where the urgency was said. The order of the members is the order of precedence."""

    PATH = "path"
    HEADER = "header"
    METADATA = "metadata"
    SERVICE_TIER = "service_tier"
    HINT = "hint"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Urgency:
    """What one request says about time. At most one of `deadline_at` and `priority` is set.

    `service_tier` is the client's own explicit choice of a tier in the body (`flex`, `priority`, `fast`), honored as
    it is. `respond_async` is `Prefer: respond-async`; `wait_seconds` its `wait=`, None when absent.
    """

    source: UrgencySource = UrgencySource.NONE
    deadline_at: float | None = None
    priority: Priority | None = None
    service_tier: Tier | None = None
    respond_async: bool = False
    wait_seconds: float | None = None


class Delivery(StrEnum):
    """How the answer of a deferred request goes back."""

    HOLD = "hold"
    """The same call returns, later."""
    ASYNC = "async"
    """202 at once, then `GET /v1/deferred/{id}`."""


class OnMiss(StrEnum):
    """What is done where a batch will not be in time."""

    ESCALATE = "escalate"
    """The request moves to a faster tier while there is time."""
    WAIT = "wait"
    """It waits on for a batch, beyond its deadline if need be."""
    FAIL = "fail"
    """It ends at its deadline, with an error that says so."""


CONFIDENCE_DEFAULT = 0.999
"""The share of deadlines that are to be met where no policy says otherwise."""


class Reason(StrEnum):
    """Why a request got its tier. A closed set: it is a metric label and a response header."""

    NO_DEADLINE = "no_deadline"
    CLIENT_URGENT = "client_urgent"
    CLIENT_TIER = "client_tier"
    POLICY_URGENT = "policy_urgent"
    PASSTHROUGH = "passthrough"
    """Not a call that could be deferred: a file, a list, a model, an unknown route."""
    ENDPOINT_NOT_BATCHABLE = "endpoint_not_batchable"
    NO_BATCH_TIER = "no_batch_tier"
    """The upstream sells no batches, or has answered 404 or 405 to them."""
    NOT_SOLD_AS_BATCH = "not_sold_as_batch"
    """The model's standard price is known and it has no batch price."""
    BATCH_NOT_CHEAPER = "batch_not_cheaper"
    TIER_NOT_ALLOWED = "tier_not_allowed"
    DEADLINE_SHORT = "deadline_short"
    TOO_LARGE = "too_large"
    DEADLINE_ALLOWS = "deadline_allows"
    """There is time for a batch."""
    DEADLINE_ALLOWS_FLEX = "deadline_allows_flex"
    """There is time for a call at flex, and none for a batch or no batch to be had."""
    WAITS_FOR_IDLE = "waits_for_idle"
    """The upstream sells no batches, and has calls to spare only when no others are made."""
    CAPACITY_SHORT = "capacity_short"
    """There is no time for a batch, nor room under the rate limits: a batch has the better odds."""
    OBSERVED = "observed"
    """It would have waited, but the policy only observes: it is bought at once."""


class FlexObstacle(StrEnum):
    """Why a request cannot be bought at flex, time left aside."""

    NOT_SOLD = "not_sold"
    NOT_ALLOWED = "not_allowed"
    ENDPOINT = "endpoint"
    PRICE_UNKNOWN = "price_unknown"
    NOT_CHEAPER = "not_cheaper"


@dataclass(frozen=True, slots=True)
class Grounds:
    """The numbers that a decision about a request with a deadline rests on, as they were at its instant.

    `odds` is how likely a batch is to be in time, of the `odds_needed`; the `needs` are how much time before the
    deadline each tier must have; the price shares are of the standard tier's price, None where one is unknown.
    `covered` is whether the rate limits can carry the request synchronously if no batch answers it.
    `batch_obstacle` is what speaks against a batch, time left aside.
    """

    left_seconds: float
    odds: float
    odds_needed: float
    batch_needs_seconds: float
    flex_needs_seconds: float
    call_needs_seconds: float
    batch_price_share: float | None
    flex_price_share: float | None
    covered: bool
    batch_obstacle: Reason | None
    flex_obstacle: FlexObstacle | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of policy and planner: where a request starts, and why.

    `deadline_at` is None for urgent requests. `tiers` are those that a deferred request may be bought at; one that is
    bought at once has none. `best_effort` is whether the rate limits might not carry a deferred request in time, if
    no batch answers it, or nothing is to be done for it. `confidence` is how sure its deadline is to be,
    `retention_seconds` how long it is kept when it is finished, None: as configured. `grounds` are None where time
    plays no part. `observed` is what would have been decided, had the policy not only observed.
    """

    tier: Tier
    reason: Reason
    policy: str
    deadline_at: float | None = None
    delivery: Delivery = Delivery.HOLD
    tiers: frozenset[Tier] = frozenset()
    best_effort: bool = False
    on_miss: OnMiss = OnMiss.ESCALATE
    confidence: float = CONFIDENCE_DEFAULT
    retention_seconds: float | None = None
    grounds: Grounds | None = None
    observed: "Decision | None" = None

    @property
    def is_deferred(self) -> bool:
        """Whether the request waits; otherwise it is bought at once."""
        return bool(self.tiers)

    @property
    def can_wait(self) -> bool:
        """Whether the request waits, or would, did its policy not only observe."""
        return self.is_deferred or self.observed is not None

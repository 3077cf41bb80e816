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


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of policy and planner: where a request starts, and why.

    `deadline_at` is None for urgent requests. `tiers` are those that a deferred request may be bought at; one that is
    bought at once has none. `best_effort` is whether the rate limits might not carry a deferred request in time, if
    no batch answers it.
    """

    tier: Tier
    reason: Reason
    policy: str
    deadline_at: float | None = None
    delivery: Delivery = Delivery.HOLD
    tiers: frozenset[Tier] = frozenset()
    best_effort: bool = False

    @property
    def is_deferred(self) -> bool:
        """Whether the request waits; otherwise it is bought at once."""
        return bool(self.tiers)

"""What a policy grants one request: the words that policies and the planner share. No matching, no deciding."""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from proxy.domain.decision import CONFIDENCE_DEFAULT, Delivery, OnMiss
from proxy.domain.tier import Tier


class Mode(StrEnum):
    """Whether decisions are carried out."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
    """Everything is bought at once, and what would have been deferred and saved is noted."""


class OverBudget(StrEnum):
    """What a tenant that has spent its day's budget may still send."""

    DEFERRABLE_ONLY = "deferrable_only"
    """Requests that can wait. Urgent ones are refused."""
    REFUSE = "refuse"
    """Nothing until the next day."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What each tenant may spend in a day of the configured time zone, as far as prices are known.

    - `usd_per_day`: how many dollars.
    - `over`: what a tenant may still send that has spent them.
    """

    usd_per_day: Decimal
    over: OverBudget = OverBudget.DEFERRABLE_ONLY

    def __post_init__(self) -> None:
        if self.usd_per_day <= 0:
            raise ValueError(f"usd_per_day: {self.usd_per_day} is no budget; give more than 0, or leave budget out")


@dataclass(frozen=True, slots=True)
class Terms:
    """The policy outcome in force for one request.

    `policy` names the rule, for headers and metrics. The defaults are the built-in terms: a deadline is honored, and a
    request without one is never deferred.

    - `tiers`: what Standby may choose by itself. Without BATCH nothing is deferred. STANDARD is always possible: it is
      what a request falls back to. A tier that the client names in the body is the client's own, and not limited here.
    - `urgent`: the policy insists: nothing is deferred, whatever the client says about time.
    - `default_deadline_seconds`: the time that a request without a deadline gets; None: such a request is urgent.
      Also what "deferrable" means (None: the planner's built-in day).
    - `deadline_min_seconds`: a request with less time left than this is bought at once. None: no floor.
    - `deadline_max_seconds`: later deadlines are brought forward to this. None: no cap.
    - `delivery`: HOLD refuses 202 even to clients that ask for it. None and ASYNC both leave it to the client: a 202
      that nobody asked for would break every stock SDK.
    - `hint_may_defer`: whether a hint alone (RFC 9218 `Priority`, `grpc-timeout`, `X-Server-Timeout`) may defer.
    - `on_miss`: what is done where a batch will not be in time.
    - `confidence`: the share of deadlines that is to be met. With ESCALATE it says how slow a synchronous call is
      reckoned with; with the others, which never move, how likely a batch must be in time to be tried at all.
    - `budget`: what the tenant may spend in a day, all that it buys counted. None: there is no limit.
    - `retention_seconds`: how long a finished request and its answer are kept. None: as configured.
    - `observe`: nothing is deferred; what would have been is noted. None: as configured.
    """

    policy: str = "default"
    tiers: frozenset[Tier] = frozenset({Tier.BATCH, Tier.FLEX, Tier.STANDARD})
    urgent: bool = False
    default_deadline_seconds: float | None = None
    deadline_min_seconds: float | None = None
    deadline_max_seconds: float | None = None
    delivery: Delivery | None = None
    hint_may_defer: bool = False
    on_miss: OnMiss = OnMiss.ESCALATE
    confidence: float = CONFIDENCE_DEFAULT
    budget: Budget | None = None
    retention_seconds: float | None = None
    observe: bool | None = None

    def __post_init__(self) -> None:
        names = ("default_deadline_seconds", "deadline_min_seconds", "deadline_max_seconds", "retention_seconds")
        for name in names:
            seconds: float | None = getattr(self, name)
            if seconds is not None and not 0 < seconds < float("inf"):
                raise ValueError(f"{name}: {seconds} is not a time to wait; give more than 0 seconds, or leave it out")
        if not 0 <= self.confidence < 1:
            raise ValueError(f"confidence: {self.confidence} is no share under 1; give one, such as 0.99")
        if self.deadline_min_seconds is None or self.deadline_max_seconds is None:
            return
        if self.deadline_min_seconds > self.deadline_max_seconds:
            raise ValueError(
                f"deadline_min_seconds: {self.deadline_min_seconds} is over deadline_max_seconds "
                f"{self.deadline_max_seconds}, so nothing could wait; give a smaller one"
            )

    def completed(self, *, key_deadline_seconds: float | None, observes: bool) -> "Terms":
        """The same with what is configured beside the policy: a key's own deadline comes before the policy's, and the
        configured mode holds where the policy names none.
        """
        terms = self
        if key_deadline_seconds is not None:
            terms = replace(terms, default_deadline_seconds=key_deadline_seconds)
        if observes and terms.observe is None:
            terms = replace(terms, observe=True)
        return terms

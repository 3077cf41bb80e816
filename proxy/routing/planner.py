"""Where a request starts: urgency, terms, offer and prices in, a decision with its reason out. Pure and total.

The plain rule: what says that it can wait goes to the batch tier if a batch is allowed, sold, cheaper, and has the time
that it needs; everything else is bought at once at the standard tier. Nothing is ever bought dearer than standard, nor
at flex, unless the client names that tier.
"""

from dataclasses import dataclass, field, replace

from proxy.domain.decision import Decision, Delivery, Priority, Reason, Urgency, UrgencySource
from proxy.domain.tier import Tier
from proxy.routing import latency
from proxy.routing.pricing import PriceBook
from proxy.routing.terms import Terms

DEFERRABLE_DEADLINE_SECONDS = 86_400.0
"""What "deferrable" means where the policy has no default deadline: the window in which providers sell batches."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to weigh the batch tier.

    - `batches`: how completion times are learned, and what is believed before there is experience.
    - `billed_twice_share`: the share of requests, of those that have to be bought synchronously after all, that their
      batch will have billed as well.
    """

    batches: latency.Settings = field(default_factory=latency.Settings)
    billed_twice_share: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.billed_twice_share <= 1:
            raise ValueError(f"billed_twice_share: {self.billed_twice_share} is no share; give 0 to 1, such as 0.3")


def odds_needed(price_share: float, billed_twice_share: float) -> float:
    """How likely a batch must be in time to be worth trying, when the answer is bought synchronously if it is not.

    With `b` the price in a batch as a share of the synchronous one, and `q` the share billed twice, a request costs
    `b` with the odds `p` and `1 + q b` otherwise: less than 1 iff `p > q b / (1 - b + q b)`.
    """
    if price_share >= 1:
        return 1.0
    twice = billed_twice_share * price_share
    return twice / (1 - price_share + twice)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the upstream sells. `endpoints` are the paths that its batches take, such as `/v1/chat/completions`."""

    batch: bool
    flex: bool
    endpoints: frozenset[str]


def decide(
    *,
    urgency: Urgency,
    terms: Terms,
    offer: Offer,
    endpoint: str,
    model: str,
    body_bytes: int,
    line_bytes_max: int,
    book: PriceBook,
    now: float,
    needs_seconds: float,
) -> Decision:
    """Decide one request. `needs_seconds` is the time that a batch of this upstream and model needs.

    The decision carries the deadline in force also where the request is bought at once because of it or in spite of
    it; it carries none where urgency was chosen, by the client or by the policy.
    """
    if urgency.service_tier is not None:
        return Decision(urgency.service_tier, Reason.CLIENT_TIER, terms.policy)
    if terms.urgent:
        return Decision(Tier.STANDARD, Reason.POLICY_URGENT, terms.policy)
    if urgency.priority is Priority.URGENT and urgency.source is not UrgencySource.HINT:
        return Decision(Tier.STANDARD, Reason.CLIENT_URGENT, terms.policy)
    deadline_at = deadline_in_force(urgency, terms, now)
    if deadline_at is None:
        return Decision(Tier.STANDARD, Reason.NO_DEADLINE, terms.policy)
    at_once = Decision(Tier.STANDARD, Reason.DEADLINE_SHORT, terms.policy, deadline_at)
    obstacle = _no_batch_for_kind(terms, offer, endpoint)
    if obstacle is None and body_bytes > line_bytes_max:
        obstacle = Reason.TOO_LARGE
    if obstacle is None:
        obstacle = _no_batch_for_price(book, model)
    if obstacle is not None:
        return replace(at_once, reason=obstacle)
    if deadline_at - now < max(needs_seconds, terms.deadline_min_seconds or 0.0):
        return at_once
    return Decision(Tier.BATCH, Reason.DEADLINE_ALLOWS, terms.policy, deadline_at, delivery(urgency, terms))


def deadline_in_force(urgency: Urgency, terms: Terms, now: float) -> float | None:
    """The deadline of a request that nobody called urgent: its own, or the policy's, capped; None: it has none."""
    deadline_at = _hinted(urgency, terms, now) if urgency.source is UrgencySource.HINT else _said(urgency, terms, now)
    if deadline_at is None or terms.deadline_max_seconds is None:
        return deadline_at
    return min(deadline_at, now + terms.deadline_max_seconds)


def delivery(urgency: Urgency, terms: Terms) -> Delivery:
    """A 202 only for clients that ask for one, and only where the policy does not insist on holding."""
    wants_async = urgency.respond_async and terms.delivery is not Delivery.HOLD
    return Delivery.ASYNC if wants_async else Delivery.HOLD


def _said(urgency: Urgency, terms: Terms, now: float) -> float | None:
    if urgency.deadline_at is not None:
        return urgency.deadline_at
    if urgency.priority is Priority.DEFERRABLE or urgency.respond_async:
        return now + _deferrable_seconds(terms)
    return None if terms.default_deadline_seconds is None else now + terms.default_deadline_seconds


def _hinted(urgency: Urgency, terms: Terms, now: float) -> float | None:
    """A hint is set by machines, often unasked: it shortens a wait, and starts one only where the policy lets it.

    It never lengthens what "deferrable" means. `Prefer: respond-async` is a client that asks to wait: no mere hint.
    """
    says_wait = urgency.deadline_at is not None or urgency.priority is Priority.DEFERRABLE
    if urgency.respond_async or (terms.hint_may_defer and says_wait):
        longest_at = now + _deferrable_seconds(terms)
    elif terms.default_deadline_seconds is not None:
        longest_at = now + terms.default_deadline_seconds
    else:
        return None
    return longest_at if urgency.deadline_at is None else min(longest_at, urgency.deadline_at)


def _deferrable_seconds(terms: Terms) -> float:
    if terms.default_deadline_seconds is None:
        return DEFERRABLE_DEADLINE_SECONDS
    return terms.default_deadline_seconds


def _no_batch_for_kind(terms: Terms, offer: Offer, endpoint: str) -> Reason | None:
    if not offer.batch:
        return Reason.NO_BATCH_TIER
    if endpoint not in offer.endpoints:
        return Reason.ENDPOINT_NOT_BATCHABLE
    return None if Tier.BATCH in terms.tiers else Reason.TIER_NOT_ALLOWED


def _no_batch_for_price(book: PriceBook, model: str) -> Reason | None:
    """A batch has to be cheaper as far as anybody knows; where no price is known, the client's word is enough."""
    standard = book.rates(model, Tier.STANDARD)
    batch = book.rates(model, Tier.BATCH)
    if standard is None:
        return None
    if batch is None:
        return Reason.NOT_SOLD_AS_BATCH
    return None if batch.is_cheaper_than(standard) else Reason.BATCH_NOT_CHEAPER

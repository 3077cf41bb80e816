"""Where a request starts: urgency, terms, offer, prices and outlook in, a decision with its reason out. Pure and total.

What says that it can wait goes to the cheapest tier that has the time it needs. A batch needs hours to be likely; flex,
a synchronous call that may find no capacity, needs minutes and serves what batches cannot. Everything else is bought at
once at the standard tier. Nothing is ever bought dearer than standard, unless the client names that tier.

Where the policy has waiting requests moved in time (`on_miss: escalate`), a batch needs the odds that make it worth its
price. Where they are not moved, nothing protects a deadline but the odds: they have to be the confidence wanted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.domain.decision import (
    Decision,
    Delivery,
    FlexObstacle,
    Grounds,
    OnMiss,
    Priority,
    Reason,
    Urgency,
    UrgencySource,
)
from proxy.domain.tier import Tier
from proxy.routing import latency
from proxy.routing.pricing import Mix, PriceBook, is_cheaper
from proxy.routing.terms import Terms

DEFERRABLE_DEADLINE_SECONDS = 86_400.0
"""What "deferrable" means where the policy has no default deadline: the window in which providers sell batches."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to weigh the batch tier.

    - `batches`: how completion times are learned, and what is believed before there is experience.
    - `billed_twice_share`: the share of requests, of those that have to be bought synchronously after all, that their
      batch will have billed as well.
    - `flex_under_seconds`: with less time than this, flex goes before a batch of the same price.
    """

    batches: latency.Settings = field(default_factory=latency.Settings)
    billed_twice_share: float = 0.3
    flex_under_seconds: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 <= self.billed_twice_share <= 1:
            raise ValueError(f"billed_twice_share: {self.billed_twice_share} is no share; give 0 to 1, such as 0.3")
        if not 0 <= self.flex_under_seconds < math.inf:
            raise ValueError(f"flex_under: {self.flex_under_seconds} is no time; give 0 s or more, such as 1h")


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
    """What the upstream sells. `endpoints` are the paths that its batches take, such as `/v1/chat/completions`. `idle`:
    it never sells batches, but has capacity of its own that may be idle.
    """

    batch: bool
    flex: bool
    endpoints: frozenset[str]
    idle: bool = False


FLEX_ENDPOINTS = frozenset({"/v1/chat/completions", "/v1/responses"})
"""What OpenAI sells at flex."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known at this moment of one upstream and model.

    - `batch_needs_seconds`: how much time a request must have for a batch to be worth trying, a call after it included.
    - `call_needs_seconds`: how much a synchronous call needs, room for the unforeseen included.
    - `flex_needs_seconds`: how much a call at flex needs, one at the standard tier after it included.
    - `flex_under_seconds`: with less time than this, flex goes before a batch of the same price.
    - `covers`: whether the rate limits leave room to buy everything that waits and is due by this deadline, and one
      request more, synchronously.
    - `odds`: how likely a batch is to be complete within so many seconds; `time_for` is the inverse.
    - `odds_needed`: the odds that make a batch worth trying.
    - `mix`: what requests here are made of, None when there is no experience.
    """

    batch_needs_seconds: float
    call_needs_seconds: float
    flex_needs_seconds: float
    flex_under_seconds: float
    covers: Callable[[float], bool]
    odds: Callable[[float], float]
    time_for: Callable[[float], float]
    odds_needed: float
    mix: Mix | None = None


def time_for_batch(outlook: Outlook, now: float) -> float:
    """How much time a request must have to be put into a batch now: that for which a batch is worth trying, or, where
    the rate limits cannot carry what is due by then, only that for a call.
    """
    needed = outlook.batch_needs_seconds
    return needed if outlook.covers(now + needed) else min(needed, outlook.call_needs_seconds)


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
    outlook: Outlook,
) -> Decision:
    """Decide one request.

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
    grounds = _grounds(
        terms,
        offer,
        endpoint,
        model,
        book,
        outlook,
        too_large=body_bytes > line_bytes_max,
        deadline_at=deadline_at,
        left_seconds=deadline_at - now,
    )
    has_flex = grounds.flex_obstacle is None
    tier, reason = _start(
        grounds,
        floor_seconds=terms.deadline_min_seconds or 0.0,
        flex_goes_first=has_flex and _flex_goes_first(book, model, outlook, grounds.left_seconds),
    )
    waits_for_idle = tier is Tier.STANDARD and offer.idle and grounds.left_seconds >= outlook.call_needs_seconds
    if tier is Tier.STANDARD and not waits_for_idle:
        return Decision(tier, reason, terms.policy, deadline_at, grounds=grounds)
    on_miss = terms.on_miss if tier is Tier.BATCH else OnMiss.ESCALATE
    decision = Decision(
        tier,
        Reason.WAITS_FOR_IDLE if waits_for_idle else reason,
        terms.policy,
        deadline_at,
        delivery(urgency, terms),
        tiers=frozenset({tier, Tier.STANDARD, *([Tier.FLEX] if has_flex and on_miss is OnMiss.ESCALATE else [])}),
        best_effort=not grounds.covered or on_miss is not OnMiss.ESCALATE,
        on_miss=on_miss,
        confidence=terms.confidence,
        retention_seconds=terms.retention_seconds,
        grounds=grounds,
    )
    if not terms.observe:
        return decision
    return Decision(Tier.STANDARD, Reason.OBSERVED, terms.policy, deadline_at, grounds=grounds, observed=decision)


def _grounds(
    terms: Terms,
    offer: Offer,
    endpoint: str,
    model: str,
    book: PriceBook,
    outlook: Outlook,
    *,
    too_large: bool,
    deadline_at: float,
    left_seconds: float,
) -> Grounds:
    obstacle = _no_batch_for_kind(terms, offer, endpoint)
    if obstacle is None and too_large:
        obstacle = Reason.TOO_LARGE
    if obstacle is None:
        obstacle = _no_batch_for_price(book, model, outlook.mix)
    moves_in_time = terms.on_miss is OnMiss.ESCALATE
    return Grounds(
        left_seconds=left_seconds,
        odds=outlook.odds(left_seconds),
        odds_needed=outlook.odds_needed if moves_in_time else terms.confidence,
        batch_needs_seconds=outlook.batch_needs_seconds if moves_in_time else outlook.time_for(terms.confidence),
        flex_needs_seconds=outlook.flex_needs_seconds,
        call_needs_seconds=outlook.call_needs_seconds,
        batch_price_share=book.share(model, Tier.BATCH, outlook.mix),
        flex_price_share=book.share(model, Tier.FLEX, outlook.mix),
        covered=outlook.covers(deadline_at),
        batch_obstacle=obstacle,
        flex_obstacle=_flex_obstacle(terms, offer, endpoint, book, model, outlook.mix),
    )


def _start(grounds: Grounds, *, floor_seconds: float, flex_goes_first: bool) -> tuple[Tier, Reason]:
    """The tier to start at.

    Where the rate limits cannot carry all that is due, what has no time for a batch goes into one all the same: a call
    at once would only join a queue that is full already.
    """
    left_seconds, obstacle = grounds.left_seconds, grounds.batch_obstacle
    if left_seconds < floor_seconds:
        return Tier.STANDARD, obstacle or Reason.DEADLINE_SHORT
    fits_batch = obstacle is None and left_seconds >= grounds.batch_needs_seconds
    fits_flex = grounds.flex_obstacle is None and left_seconds >= grounds.flex_needs_seconds
    if fits_flex and (obstacle is not None or (grounds.covered and (flex_goes_first or not fits_batch))):
        return Tier.FLEX, Reason.DEADLINE_ALLOWS_FLEX
    if fits_batch:
        return Tier.BATCH, Reason.DEADLINE_ALLOWS
    if obstacle is None and not grounds.covered and left_seconds >= grounds.call_needs_seconds:
        return Tier.BATCH, Reason.CAPACITY_SHORT
    return Tier.STANDARD, obstacle or Reason.DEADLINE_SHORT


def _flex_goes_first(book: PriceBook, model: str, outlook: Outlook, left_seconds: float) -> bool:
    """Flex goes before a batch that is dearer; before one of the same price, where time is short."""
    if _is_cheaper(book, model, Tier.FLEX, Tier.BATCH, outlook.mix):
        return True
    batch_is_cheaper = _is_cheaper(book, model, Tier.BATCH, Tier.FLEX, outlook.mix)
    return left_seconds < outlook.flex_under_seconds and not batch_is_cheaper


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


def _no_batch_for_price(book: PriceBook, model: str, mix: Mix | None) -> Reason | None:
    """A batch has to be cheaper as far as anybody knows; where no price is known, the client's word is enough."""
    if book.rates(model, Tier.STANDARD) is None:
        return None
    if book.rates(model, Tier.BATCH) is None:
        return Reason.NOT_SOLD_AS_BATCH
    return None if _is_cheaper(book, model, Tier.BATCH, Tier.STANDARD, mix) else Reason.BATCH_NOT_CHEAPER


def _flex_obstacle(
    terms: Terms, offer: Offer, endpoint: str, book: PriceBook, model: str, mix: Mix | None
) -> FlexObstacle | None:
    """Flex has to be allowed, sold, and known to be cheaper: nobody has asked for it."""
    if not offer.flex:
        return FlexObstacle.NOT_SOLD
    if Tier.FLEX not in terms.tiers:
        return FlexObstacle.NOT_ALLOWED
    if endpoint not in FLEX_ENDPOINTS:
        return FlexObstacle.ENDPOINT
    if book.rates(model, Tier.FLEX) is None or book.rates(model, Tier.STANDARD) is None:
        return FlexObstacle.PRICE_UNKNOWN
    return None if _is_cheaper(book, model, Tier.FLEX, Tier.STANDARD, mix) else FlexObstacle.NOT_CHEAPER


def _is_cheaper(book: PriceBook, model: str, tier: Tier, than: Tier, mix: Mix | None) -> bool:
    """Whether both prices are known and the first is lower for requests like these."""
    rates, others = book.rates(model, tier), book.rates(model, than)
    return rates is not None and others is not None and is_cheaper((tier, rates), (than, others), mix)

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

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
from proxy.routing.planner import Offer, Outlook, Settings, decide, delivery, odds_needed
from proxy.routing.pricing import Mix, ModelPrice, PriceBook, TierPrice, is_cheaper
from proxy.routing.terms import Terms

NOW = 1_800_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR
NEEDS = 1800.0
CALL_NEEDS = 120.0
FLEX_NEEDS = 240.0
FLEX_UNDER = 900.0
CHAT = "/v1/chat/completions"
OFFER = Offer(batch=True, flex=False, endpoints=frozenset({CHAT}))
TERMS = Terms(policy="the-policy")
STANDARD_ONLY = frozenset({Tier.STANDARD})


def price(dollars: str) -> TierPrice:
    return TierPrice(Decimal(dollars), Decimal(dollars))


BOOK = PriceBook.from_cost_map(
    {},
    {
        "half": ModelPrice(standard=price("2"), batch=price("1"), flex=price("1"), priority=price("4")),
        "same": ModelPrice(standard=price("2"), batch=price("2")),
        "dear": ModelPrice(standard=price("2"), batch=price("3")),
        "sync-only": ModelPrice(standard=price("2")),
        "batch-only": ModelPrice(batch=price("2")),
        "half-at-flex": ModelPrice(standard=price("2"), flex=price("1")),
        "cached": ModelPrice(
            standard=TierPrice(Decimal(2), Decimal(8), Decimal("0.2")), batch=TierPrice(Decimal(1), Decimal(4))
        ),
        "cached-in-batches": ModelPrice(
            standard=TierPrice(Decimal(2), Decimal(8), Decimal("0.2")),
            batch=TierPrice(Decimal(1), Decimal(4), Decimal("0.1")),
        ),
    },
    "a test",
)


def said(
    left: float | None = None,
    priority: Priority | None = None,
    source: UrgencySource = UrgencySource.HEADER,
    *,
    respond_async: bool = False,
    service_tier: Tier | None = None,
) -> Urgency:
    deadline_at = None if left is None else NOW + left
    return Urgency(source, deadline_at, priority, service_tier=service_tier, respond_async=respond_async)


def hinted(left: float | None = None, priority: Priority | None = None, *, respond_async: bool = False) -> Urgency:
    return said(left, priority, UrgencySource.HINT, respond_async=respond_async)


def decided(
    urgency: Urgency,
    terms: Terms = TERMS,
    offer: Offer = OFFER,
    endpoint: str = CHAT,
    model: str = "half",
    body_bytes: int = 1000,
    needs_seconds: float = NEEDS,
    *,
    covered: bool = True,
    mix: Mix | None = None,
    book: PriceBook = BOOK,
) -> Decision:
    return decide(
        urgency=urgency,
        terms=terms,
        offer=offer,
        endpoint=endpoint,
        model=model,
        body_bytes=body_bytes,
        line_bytes_max=1_000_000,
        book=book,
        now=NOW,
        outlook=Outlook(
            batch_needs_seconds=needs_seconds,
            call_needs_seconds=CALL_NEEDS,
            flex_needs_seconds=FLEX_NEEDS,
            flex_under_seconds=FLEX_UNDER,
            covers=lambda _: covered,
            odds=lambda within_seconds: min(1.0, within_seconds / DAY),
            time_for=lambda odds: odds * DAY,
            odds_needed=0.25,
            mix=mix,
        ),
    )


NOTHING = Urgency()
DEFERRABLE = Priority.DEFERRABLE
IN_TWO_HOURS = Terms(default_deadline_seconds=2 * HOUR)
HINTS_COUNT = Terms(hint_may_defer=True)
HINTS_COUNT_FOR_TWO_HOURS = Terms(default_deadline_seconds=2 * HOUR, hint_may_defer=True)


@pytest.mark.parametrize(
    ("urgency", "terms", "tier", "reason", "left"),
    [
        # nothing said: the policy decides, and the built-in one says urgent
        (NOTHING, Terms(), Tier.STANDARD, Reason.NO_DEADLINE, None),
        (said(priority=Priority.NORMAL), Terms(), Tier.STANDARD, Reason.NO_DEADLINE, None),
        (NOTHING, IN_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        (said(priority=Priority.NORMAL), IN_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        (NOTHING, Terms(default_deadline_seconds=60), Tier.STANDARD, Reason.DEADLINE_SHORT, 60),
        # a deadline
        (said(4 * HOUR), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, 4 * HOUR),
        (said(NEEDS), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, NEEDS),
        (said(NEEDS - 1), Terms(), Tier.STANDARD, Reason.DEADLINE_SHORT, NEEDS - 1),
        (said(-5), Terms(), Tier.STANDARD, Reason.DEADLINE_SHORT, -5),
        (said(4 * HOUR), IN_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 4 * HOUR),
        # deferrable: the policy's default, or a day
        (said(priority=DEFERRABLE), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        (said(priority=DEFERRABLE), IN_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        # asking for a 202 is a wish to wait
        (said(respond_async=True), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        (said(3 * HOUR, respond_async=True), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, 3 * HOUR),
        (said(priority=Priority.NORMAL, respond_async=True), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        # the cap and the floor
        (said(4 * DAY), Terms(deadline_max_seconds=DAY), Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        (said(priority=DEFERRABLE), Terms(deadline_max_seconds=HOUR), Tier.BATCH, Reason.DEADLINE_ALLOWS, HOUR),
        (said(DAY), Terms(deadline_max_seconds=60), Tier.STANDARD, Reason.DEADLINE_SHORT, 60),
        (said(HOUR), Terms(deadline_min_seconds=2 * HOUR), Tier.STANDARD, Reason.DEADLINE_SHORT, HOUR),
        (said(2 * HOUR), Terms(deadline_min_seconds=2 * HOUR), Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        # urgent
        (said(priority=Priority.URGENT), IN_TWO_HOURS, Tier.STANDARD, Reason.CLIENT_URGENT, None),
        (said(priority=Priority.URGENT, respond_async=True), Terms(), Tier.STANDARD, Reason.CLIENT_URGENT, None),
        (said(DAY), Terms(urgent=True), Tier.STANDARD, Reason.POLICY_URGENT, None),
        # a tier in the body is the client's own choice, before everything else
        (said(DAY, service_tier=Tier.FLEX), IN_TWO_HOURS, Tier.FLEX, Reason.CLIENT_TIER, None),
        (said(service_tier=Tier.PRIORITY), Terms(tiers=STANDARD_ONLY), Tier.PRIORITY, Reason.CLIENT_TIER, None),
        (said(service_tier=Tier.FLEX), Terms(urgent=True), Tier.FLEX, Reason.CLIENT_TIER, None),
        # a hint alone does nothing...
        (hinted(priority=DEFERRABLE), Terms(), Tier.STANDARD, Reason.NO_DEADLINE, None),
        (hinted(5 * HOUR), Terms(), Tier.STANDARD, Reason.NO_DEADLINE, None),
        (hinted(priority=Priority.URGENT), IN_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        (hinted(priority=Priority.URGENT), HINTS_COUNT, Tier.STANDARD, Reason.NO_DEADLINE, None),
        # ...unless the policy lets it, and never more than the default deadline
        (hinted(priority=DEFERRABLE), HINTS_COUNT, Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        (hinted(5 * HOUR), HINTS_COUNT, Tier.BATCH, Reason.DEADLINE_ALLOWS, 5 * HOUR),
        (hinted(5 * DAY), HINTS_COUNT, Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        (hinted(5 * HOUR), HINTS_COUNT_FOR_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        (hinted(priority=DEFERRABLE), HINTS_COUNT_FOR_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        # but it shortens what would wait anyway: the client will be gone
        (hinted(60), IN_TWO_HOURS, Tier.STANDARD, Reason.DEADLINE_SHORT, 60),
        (hinted(5 * HOUR), IN_TWO_HOURS, Tier.BATCH, Reason.DEADLINE_ALLOWS, 2 * HOUR),
        # respond-async is a client's wish, whatever else came as a hint
        (hinted(respond_async=True), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, DAY),
        (hinted(3 * HOUR, respond_async=True), Terms(), Tier.BATCH, Reason.DEADLINE_ALLOWS, 3 * HOUR),
    ],
)
def test_urgency_and_terms_decide(
    urgency: Urgency, terms: Terms, tier: Tier, reason: Reason, left: float | None
) -> None:
    found = decided(urgency, terms)
    deadline_at = None if left is None else NOW + left
    assert (found.tier, found.reason, found.deadline_at) == (tier, reason, deadline_at)


NO_BATCHES = Offer(batch=False, flex=False, endpoints=frozenset())


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        (Reason.NO_BATCH_TIER, decided(said(DAY), offer=NO_BATCHES)),
        (Reason.ENDPOINT_NOT_BATCHABLE, decided(said(DAY), endpoint="/v1/audio/speech")),
        (Reason.TIER_NOT_ALLOWED, decided(said(DAY), Terms(tiers=STANDARD_ONLY))),
        (Reason.TOO_LARGE, decided(said(DAY), body_bytes=1_000_001)),
        (Reason.NOT_SOLD_AS_BATCH, decided(said(DAY), model="sync-only")),
        (Reason.BATCH_NOT_CHEAPER, decided(said(DAY), model="same")),
        (Reason.BATCH_NOT_CHEAPER, decided(said(DAY), model="dear")),
        # what no deadline could change is said before that the deadline is short
        (Reason.NOT_SOLD_AS_BATCH, decided(said(60), model="sync-only")),
        (Reason.NO_BATCH_TIER, decided(said(60), offer=NO_BATCHES, endpoint="/v1/audio/speech", body_bytes=10**9)),
    ],
)
def test_what_keeps_a_request_from_a_batch_is_named(reason: Reason, found: Decision) -> None:
    assert (found.tier, found.reason) == (Tier.STANDARD, reason)
    assert found.deadline_at is not None


@pytest.mark.parametrize("model", ["unheard-of", "batch-only"])
def test_where_the_standard_price_is_unknown_the_clients_word_is_enough(model: str) -> None:
    assert decided(said(DAY), model=model).tier is Tier.BATCH


def test_a_body_of_exactly_the_limit_fits() -> None:
    assert decided(said(DAY), body_bytes=1_000_000).tier is Tier.BATCH


def test_the_policy_is_named_on_every_decision() -> None:
    for urgency in (NOTHING, said(DAY), said(60), said(priority=Priority.URGENT), said(service_tier=Tier.FLEX)):
        assert decided(urgency).policy == "the-policy"


@pytest.mark.parametrize(
    ("respond_async", "terms_delivery", "expected"),
    [
        (False, None, Delivery.HOLD),
        (True, None, Delivery.ASYNC),
        (True, Delivery.ASYNC, Delivery.ASYNC),
        (True, Delivery.HOLD, Delivery.HOLD),
        # a 202 that nobody asked for breaks stock clients
        (False, Delivery.ASYNC, Delivery.HOLD),
    ],
)
def test_a_202_is_only_for_those_who_ask(
    respond_async: bool,  # noqa: FBT001  a parameter of the table
    terms_delivery: Delivery | None,
    expected: Delivery,
) -> None:
    urgency, terms = said(DAY, respond_async=respond_async), Terms(delivery=terms_delivery)
    assert delivery(urgency, terms) is expected
    assert decided(urgency, terms).delivery is expected


LEFTS = st.none() | st.floats(-HOUR, 10 * DAY)
SECONDS = st.none() | st.floats(0.1, 10 * DAY)


@st.composite
def urgencies(draw: st.DrawFn) -> Urgency:
    left = draw(LEFTS)
    return Urgency(
        source=draw(st.sampled_from(UrgencySource)),
        deadline_at=None if left is None else NOW + left,
        priority=None if left is not None else draw(st.none() | st.sampled_from(Priority)),
        service_tier=draw(st.sampled_from([None, None, None, Tier.FLEX, Tier.STANDARD, Tier.PRIORITY])),
        respond_async=draw(st.booleans()),
    )


@st.composite
def any_terms(draw: st.DrawFn) -> Terms:
    floor, cap = draw(SECONDS), draw(SECONDS)
    if floor is not None and cap is not None:
        floor, cap = min(floor, cap), max(floor, cap)
    return Terms(
        tiers=draw(st.frozensets(st.sampled_from(Tier))),
        urgent=draw(st.booleans()),
        default_deadline_seconds=draw(SECONDS),
        deadline_min_seconds=floor,
        deadline_max_seconds=cap,
        delivery=draw(st.none() | st.sampled_from(Delivery)),
        hint_may_defer=draw(st.booleans()),
    )


MODELS = st.sampled_from(["half", "same", "dear", "sync-only", "batch-only", "unheard-of"])


CHEAPER_THAN_STANDARD = {"half": {Tier.BATCH, Tier.FLEX}, "batch-only": {Tier.BATCH}, "unheard-of": {Tier.BATCH}}
"""What may be chosen for each of the models; where no price is known, the client's word is enough for a batch."""


@given(
    urgency=urgencies(),
    terms=any_terms(),
    model=MODELS,
    needs_seconds=st.floats(0, DAY),
    flex=st.booleans(),
    covered=st.booleans(),
)
def test_whatever_is_asked_what_is_chosen_is_allowed_sold_cheaper_and_in_time(
    urgency: Urgency,
    terms: Terms,
    model: str,
    needs_seconds: float,
    flex: bool,  # noqa: FBT001  a parameter of the property
    covered: bool,  # noqa: FBT001
) -> None:
    offer = replace(OFFER, flex=flex)
    found = decided(urgency, terms, offer, model=model, needs_seconds=needs_seconds, covered=covered)
    if urgency.service_tier is not None:
        assert (found.tier, found.reason, found.is_deferred) == (urgency.service_tier, Reason.CLIENT_TIER, False)
        return
    # nothing dearer than standard but by the client's own word
    assert found.tier in {Tier.BATCH, Tier.FLEX, Tier.STANDARD}
    assert found.is_deferred == (found.tier is not Tier.STANDARD)
    if found.tier is Tier.STANDARD:
        assert found.delivery is Delivery.HOLD
        return
    assert found.tiers <= terms.tiers | {Tier.STANDARD}
    assert found.tiers - {Tier.STANDARD} <= CHEAPER_THAN_STANDARD[model]
    assert not terms.urgent
    assert found.best_effort != covered
    assert found.deadline_at is not None
    left = found.deadline_at - NOW
    assert (
        left
        >= {
            Reason.DEADLINE_ALLOWS: needs_seconds,
            Reason.DEADLINE_ALLOWS_FLEX: FLEX_NEEDS,
            Reason.CAPACITY_SHORT: CALL_NEEDS,
        }[found.reason]
    )
    assert left >= (terms.deadline_min_seconds or 0)
    assert left <= (terms.deadline_max_seconds or math.inf) + 1e-6
    if urgency.deadline_at is not None:
        assert found.deadline_at <= urgency.deadline_at


WITH_FLEX = replace(OFFER, flex=True)


@given(urgency=urgencies(), terms=any_terms(), needs_seconds=st.floats(FLEX_NEEDS, DAY), flex=st.booleans())
def test_no_tier_is_bought_that_is_dearer_than_one_that_was_feasible(
    urgency: Urgency,
    terms: Terms,
    needs_seconds: float,
    flex: bool,  # noqa: FBT001  a parameter of the property
) -> None:
    found = decided(urgency, terms, replace(OFFER, flex=flex), needs_seconds=needs_seconds)
    if found.tier is not Tier.STANDARD or found.deadline_at is None:
        return
    left = found.deadline_at - NOW
    had_time = left >= (terms.deadline_min_seconds or 0)
    assert not (had_time and Tier.BATCH in terms.tiers and left >= needs_seconds)
    assert not (had_time and flex and Tier.FLEX in terms.tiers and left >= FLEX_NEEDS)


AMOUNTS = st.sampled_from([Decimal(1), Decimal(2), Decimal(4), Decimal(8)])
PRICES = st.builds(TierPrice, AMOUNTS, AMOUNTS, st.none() | AMOUNTS) | st.none()
MIXES = st.none() | st.builds(Mix, st.floats(0, 4), st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=500)
@given(
    left=st.integers(int(CALL_NEEDS), int(FLEX_UNDER + 300)),
    terms=st.builds(Terms, tiers=st.frozensets(st.sampled_from(Tier), min_size=2)),
    prices=st.builds(ModelPrice, PRICES, PRICES, PRICES, PRICES),
    mix=MIXES,
    needs_seconds=st.sampled_from([CALL_NEEDS, FLEX_NEEDS, NEEDS]),
    covered=st.booleans(),
)
def test_whatever_is_charged_no_tier_is_bought_while_a_cheaper_one_is_feasible(
    left: int,
    terms: Terms,
    prices: ModelPrice,
    mix: Mix | None,
    needs_seconds: float,
    covered: bool,  # noqa: FBT001  a parameter of the property
) -> None:
    book = PriceBook.from_cost_map({}, {"any": prices}, "a test")
    found = decided(
        said(left), terms, WITH_FLEX, model="any", needs_seconds=needs_seconds, covered=covered, mix=mix, book=book
    )
    feasible = {
        Tier.BATCH: Tier.BATCH in terms.tiers and left >= needs_seconds,
        Tier.FLEX: Tier.FLEX in terms.tiers and left >= FLEX_NEEDS and covered,
    }
    bought = book.rates("any", found.tier)
    standard = book.rates("any", Tier.STANDARD)
    for tier, is_feasible in feasible.items():
        rates = book.rates("any", tier)
        if not is_feasible or bought is None or standard is None or rates is None:
            continue
        assert not (
            is_cheaper((tier, rates), (found.tier, bought), mix)
            and is_cheaper((tier, rates), (Tier.STANDARD, standard), mix)
        )


def test_a_batch_that_is_cheaper_than_flex_goes_first_whatever_the_time() -> None:
    prices = ModelPrice(standard=price("4"), batch=price("1"), flex=price("2"))
    book = PriceBook.from_cost_map({}, {"any": prices}, "a test")
    found = decided(said(FLEX_UNDER - 1), offer=WITH_FLEX, model="any", needs_seconds=FLEX_NEEDS, book=book)
    assert (found.tier, found.tiers) == (Tier.BATCH, frozenset({Tier.BATCH, Tier.FLEX, Tier.STANDARD}))


@pytest.mark.parametrize(
    ("left", "tier", "reason"),
    [
        (FLEX_NEEDS - 1, Tier.STANDARD, Reason.DEADLINE_SHORT),
        (FLEX_NEEDS, Tier.FLEX, Reason.DEADLINE_ALLOWS_FLEX),
        (NEEDS - 1, Tier.FLEX, Reason.DEADLINE_ALLOWS_FLEX),
        (NEEDS, Tier.BATCH, Reason.DEADLINE_ALLOWS),
        (DAY, Tier.BATCH, Reason.DEADLINE_ALLOWS),
    ],
)
def test_flex_serves_what_has_no_time_for_a_batch(left: float, tier: Tier, reason: Reason) -> None:
    found = decided(said(left), offer=WITH_FLEX)
    assert (found.tier, found.reason) == (tier, reason)


def test_with_little_time_flex_goes_before_a_batch_that_would_do() -> None:
    assert decided(said(FLEX_UNDER - 1), offer=WITH_FLEX, needs_seconds=60).tier is Tier.FLEX
    assert decided(said(FLEX_UNDER), offer=WITH_FLEX, needs_seconds=60).tier is Tier.BATCH


def test_a_batch_keeps_the_way_to_flex_open_and_flex_is_not_put_into_batches() -> None:
    assert decided(said(DAY), offer=WITH_FLEX).tiers == {Tier.BATCH, Tier.FLEX, Tier.STANDARD}
    assert decided(said(DAY)).tiers == {Tier.BATCH, Tier.STANDARD}
    assert decided(said(FLEX_NEEDS), offer=WITH_FLEX).tiers == {Tier.FLEX, Tier.STANDARD}


@pytest.mark.parametrize(
    "found",
    [
        decided(said(DAY), Terms(tiers=frozenset({Tier.FLEX, Tier.STANDARD})), WITH_FLEX),
        decided(said(DAY), offer=replace(NO_BATCHES, flex=True)),
        decided(said(DAY), offer=WITH_FLEX, body_bytes=1_000_001),
        decided(said(DAY), offer=WITH_FLEX, model="half-at-flex"),
    ],
)
def test_flex_serves_what_no_batch_is_to_be_had_for(found: Decision) -> None:
    assert (found.tier, found.reason) == (Tier.FLEX, Reason.DEADLINE_ALLOWS_FLEX)


@pytest.mark.parametrize(
    "found",
    [
        decided(said(HOUR), Terms(tiers=STANDARD_ONLY), WITH_FLEX),
        decided(said(600), Terms(deadline_min_seconds=601), WITH_FLEX),
        decided(said(600), offer=WITH_FLEX, model="same"),
        decided(said(600), offer=WITH_FLEX, model="unheard-of"),
        decided(said(600), offer=WITH_FLEX, endpoint="/v1/embeddings"),
    ],
)
def test_flex_is_not_chosen_where_it_is_not_allowed_sold_or_known_to_be_cheaper(found: Decision) -> None:
    assert (found.tier, found.is_deferred) == (Tier.STANDARD, False)


def test_where_the_limits_cannot_carry_what_is_due_a_batch_is_tried_all_the_same() -> None:
    short = decided(said(600), covered=False)
    assert (short.tier, short.reason, short.best_effort) == (Tier.BATCH, Reason.CAPACITY_SHORT, True)
    with_flex = decided(said(600), offer=WITH_FLEX, covered=False)
    assert with_flex.tier is Tier.BATCH
    assert with_flex.tiers == {Tier.BATCH, Tier.FLEX, Tier.STANDARD}
    long = decided(said(DAY), covered=False)
    assert (long.reason, long.best_effort) == (Reason.DEADLINE_ALLOWS, True)
    assert decided(said(CALL_NEEDS - 1), covered=False).tier is Tier.STANDARD


@pytest.mark.parametrize(
    ("cached_share", "tier"), [(0.0, Tier.BATCH), (0.5, Tier.BATCH), (0.9, Tier.STANDARD), (1.0, Tier.STANDARD)]
)
def test_prompts_that_synchronous_calls_find_in_the_cache_can_make_a_batch_the_dearer_one(
    cached_share: float, tier: Tier
) -> None:
    mix = Mix(output_per_input=0.05, cached_share=cached_share)
    assert decided(said(DAY), model="cached", mix=mix).tier is tier
    if tier is Tier.STANDARD:
        assert decided(said(DAY), model="cached", mix=mix).reason is Reason.BATCH_NOT_CHEAPER
    hits_in_batches = replace(mix, cached_share_in_batches=cached_share)
    assert decided(said(DAY), model="cached-in-batches", mix=hits_in_batches).tier is Tier.BATCH


@given(
    priority=st.sampled_from([None, Priority.NORMAL, Priority.URGENT]),
    source=st.sampled_from(UrgencySource),
    model=MODELS,
    needs_seconds=st.floats(0, DAY),
)
def test_nobody_is_deferred_by_surprise(
    priority: Priority | None, source: UrgencySource, model: str, needs_seconds: float
) -> None:
    assert decided(said(None, priority, source), model=model, needs_seconds=needs_seconds).tier is Tier.STANDARD


@given(left=LEFTS, priority=st.none() | st.sampled_from(Priority), model=MODELS)
def test_a_hint_alone_never_defers(left: float | None, priority: Priority | None, model: str) -> None:
    assert decided(hinted(left, priority), model=model).tier is Tier.STANDARD


@given(terms=any_terms(), left=LEFTS)
def test_a_hint_never_waits_longer_than_the_default_deadline(terms: Terms, left: float | None) -> None:
    found = decided(hinted(left, None if left is not None else DEFERRABLE), terms)
    if found.deadline_at is not None:
        assert found.deadline_at <= NOW + (terms.default_deadline_seconds or DAY)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused_by_name(share: float) -> None:
    with pytest.raises(ValueError, match=r"^billed_twice_share: .* is no share; give 0 to 1"):
        Settings(billed_twice_share=share)


@pytest.mark.parametrize(
    ("price_share", "billed_twice_share", "odds"),
    [
        (0.5, 0.0, 0.0),  # nothing to lose: any chance will do
        (0.5, 0.3, 0.15 / 0.65),
        (0.5, 1.0, 0.5),
        (0.9, 1.0, 0.9),
        (1.0, 0.0, 1.0),  # nothing to gain
        (1.2, 0.3, 1.0),
    ],
)
def test_a_batch_is_worth_its_odds_only_above_what_buying_twice_costs(
    price_share: float, billed_twice_share: float, odds: float
) -> None:
    assert odds_needed(price_share, billed_twice_share) == pytest.approx(odds)


@given(price=st.floats(0.01, 0.99), twice=st.floats(0.0, 1.0), chance=st.floats(0.0, 1.0))
def test_exactly_above_those_odds_a_batch_costs_less_than_a_call(price: float, twice: float, chance: float) -> None:
    with_batch = chance * price + (1 - chance) * (1 + twice * price)
    assume(abs(with_batch - 1) > 1e-9)
    assert (with_batch < 1) == (chance > odds_needed(price, twice))


WAITS = Terms(on_miss=OnMiss.WAIT, confidence=0.5)
"""Half of all batches are back within half a day, by the odds of these tests."""


@pytest.mark.parametrize("on_miss", [OnMiss.WAIT, OnMiss.FAIL])
def test_a_request_that_never_moves_needs_the_odds_of_its_confidence(on_miss: OnMiss) -> None:
    terms = replace(WAITS, on_miss=on_miss)
    enough, short = decided(said(12 * HOUR), terms), decided(said(12 * HOUR - 1), terms)
    assert (enough.tier, enough.on_miss, enough.best_effort) == (Tier.BATCH, on_miss, True)
    assert (short.tier, short.reason) == (Tier.STANDARD, Reason.DEADLINE_SHORT)


def test_one_that_never_moves_is_not_tried_at_flex_while_it_waits() -> None:
    sells_flex = replace(OFFER, flex=True)
    assert Tier.FLEX in decided(said(20 * HOUR), Terms(), sells_flex).tiers
    assert decided(said(20 * HOUR), WAITS, sells_flex).tiers == {Tier.BATCH, Tier.STANDARD}


def test_one_that_begins_at_flex_moves_in_time_whatever_the_policy_says_of_batches() -> None:
    found = decided(said(12 * HOUR), WAITS, replace(OFFER, flex=True), model="half-at-flex")
    assert (found.tier, found.on_miss, found.best_effort) == (Tier.FLEX, OnMiss.ESCALATE, False)


def test_where_the_policy_only_observes_it_is_bought_at_once_and_the_decision_is_noted() -> None:
    found = decided(said(4 * HOUR), Terms(observe=True))
    assert (found.tier, found.reason, found.is_deferred) == (Tier.STANDARD, Reason.OBSERVED, False)
    assert found.observed == decided(said(4 * HOUR), Terms())
    assert decided(said(60), Terms(observe=True)) == decided(said(60), Terms())
    assert decided(NOTHING, Terms(observe=True)).observed is None


def test_the_grounds_are_the_numbers_that_the_decision_rests_on() -> None:
    grounds = decided(said(6 * HOUR)).grounds
    assert grounds == Grounds(
        left_seconds=6 * HOUR,
        odds=0.25,
        odds_needed=0.25,
        batch_needs_seconds=NEEDS,
        flex_needs_seconds=FLEX_NEEDS,
        call_needs_seconds=CALL_NEEDS,
        batch_price_share=0.5,
        flex_price_share=0.5,
        covered=True,
        batch_obstacle=None,
        flex_obstacle=FlexObstacle.NOT_SOLD,
    )
    assert decided(NOTHING).grounds is None


@pytest.mark.parametrize(
    ("terms", "offer", "endpoint", "model", "obstacle"),
    [
        (Terms(), OFFER, CHAT, "half", FlexObstacle.NOT_SOLD),
        (Terms(tiers=STANDARD_ONLY), replace(OFFER, flex=True), CHAT, "half", FlexObstacle.NOT_ALLOWED),
        (Terms(), replace(OFFER, flex=True), "/v1/embeddings", "half", FlexObstacle.ENDPOINT),
        (Terms(), replace(OFFER, flex=True), CHAT, "sync-only", FlexObstacle.PRICE_UNKNOWN),
        (Terms(), replace(OFFER, flex=True), CHAT, "half", None),
    ],
)
def test_what_speaks_against_flex_is_named(
    terms: Terms, offer: Offer, endpoint: str, model: str, obstacle: FlexObstacle | None
) -> None:
    grounds = decided(said(4 * HOUR), terms, offer, endpoint, model).grounds
    assert grounds is not None
    assert grounds.flex_obstacle is obstacle


def test_the_policys_word_about_keeping_goes_with_the_request() -> None:
    found = decided(said(4 * HOUR), Terms(confidence=0.9, retention_seconds=60.0))
    assert (found.confidence, found.retention_seconds) == (0.9, 60.0)

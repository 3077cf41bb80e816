from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.decision import Decision, FlexObstacle, Grounds, OnMiss, Reason
from proxy.domain.tier import Tier
from proxy.wire.explanation import FLEX_OBSTACLES, ON_MISS, REASONS, Decided, decided_now, explain

GROUNDS = Grounds(
    left_seconds=14_400.0,
    odds=0.9132,
    odds_needed=0.2308,
    batch_needs_seconds=520.0,
    flex_needs_seconds=240.0,
    call_needs_seconds=120.0,
    batch_price_share=0.5,
    flex_price_share=None,
    covered=True,
    batch_obstacle=None,
    flex_obstacle=FlexObstacle.PRICE_UNKNOWN,
)
BATCH = Decided("nightly", Tier.BATCH, Reason.DEADLINE_ALLOWS, OnMiss.ESCALATE, 0.999, GROUNDS)


def test_it_names_the_rule_the_tier_and_the_numbers_of_every_rung() -> None:
    assert explain(BATCH) == [
        "rule nightly: batch, because there was time for a batch (deadline_allows)",
        "time until the deadline: 4h",
        "batch: chosen; in time with 91.32 %, 23.08 % needed; needs 8m40s; 50 % of the standard price",
        "flex: not chosen; no price is known for it",
        "standard: not chosen; needs 2m, a slack of 3h58m; the rate limits can carry it then, if no batch answers; "
        "the full price",
        "priority: not chosen; bought only where the client names it",
        "if no batch is in time: it moves to a faster tier in time (99.9 % wanted)",
    ]


def test_what_speaks_against_a_batch_takes_the_place_of_its_odds() -> None:
    grounds = replace(GROUNDS, batch_obstacle=Reason.NOT_SOLD_AS_BATCH, batch_price_share=None, covered=False)
    lines = explain(Decided("default", Tier.STANDARD, Reason.NOT_SOLD_AS_BATCH, OnMiss.ESCALATE, 0.999, grounds))
    assert lines[2] == "batch: not chosen; the model has no batch price; no price is known"
    assert "the rate limits cannot carry it then" in lines[4]


def test_where_time_plays_no_part_one_line_says_it_all() -> None:
    lines = explain(decided_now(Decision(Tier.STANDARD, Reason.NO_DEADLINE, "default")))
    assert lines == [
        "rule default: standard, because nobody said that it can wait: neither the client, nor its key, nor the policy "
        "(no_deadline)"
    ]


def test_what_is_only_observed_is_explained_as_what_it_would_have_been() -> None:
    would_be = Decision(Tier.BATCH, Reason.DEADLINE_ALLOWS, "nightly", grounds=GROUNDS)
    observed = Decision(Tier.STANDARD, Reason.OBSERVED, "nightly", grounds=GROUNDS, observed=would_be)
    assert explain(decided_now(observed)) == explain(BATCH)


def test_every_word_has_a_sentence() -> None:
    assert set(REASONS) == set(Reason)
    assert set(FLEX_OBSTACLES) == set(FlexObstacle)
    assert set(ON_MISS) == set(OnMiss)


@given(
    left=st.floats(-1e6, 1e9),
    odds=st.floats(0, 1),
    share=st.none() | st.floats(0, 10),
    tier=st.sampled_from(Tier),
    reason=st.sampled_from(Reason),
)
def test_it_explains_anything(left: float, odds: float, share: float | None, tier: Tier, reason: Reason) -> None:
    grounds = replace(GROUNDS, left_seconds=left, odds=odds, batch_price_share=share)
    assert explain(replace(BATCH, tier=tier, reason=reason, grounds=grounds))


@pytest.mark.parametrize("on_miss", OnMiss)
def test_what_happens_on_a_miss_is_said(on_miss: OnMiss) -> None:
    assert ON_MISS[on_miss] in explain(replace(BATCH, on_miss=on_miss))[-1]

import pytest

from proxy.domain.tier import Tier
from proxy.routing.terms import Terms


def test_the_built_in_terms_allow_a_batch_and_defer_nobody_by_surprise() -> None:
    terms = Terms()
    assert Tier.BATCH in terms.tiers
    assert Tier.PRIORITY not in terms.tiers
    assert terms.default_deadline_seconds is None
    assert not terms.hint_may_defer
    assert not terms.urgent


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_time_that_nobody_can_wait_is_refused_by_name(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^default_deadline_seconds: "):
        Terms(default_deadline_seconds=seconds)
    with pytest.raises(ValueError, match=r"^deadline_min_seconds: "):
        Terms(deadline_min_seconds=seconds)
    with pytest.raises(ValueError, match=r"^deadline_max_seconds: "):
        Terms(deadline_max_seconds=seconds)


def test_fractions_of_a_second_are_times() -> None:
    assert Terms(deadline_min_seconds=0.05).deadline_min_seconds == 0.05


def test_a_floor_above_the_cap_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^deadline_min_seconds: 7200 is over deadline_max_seconds 3600"):
        Terms(deadline_min_seconds=7200, deadline_max_seconds=3600)


def test_a_floor_equal_to_the_cap_is_allowed() -> None:
    assert Terms(deadline_min_seconds=3600, deadline_max_seconds=3600).deadline_max_seconds == 3600

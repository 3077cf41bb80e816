import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.survival import POINTS, Memory, estimate, number_of, steps, weights_of

NOTHING = [0.0] * POINTS
weights = st.lists(st.floats(0.0, 1e6), min_size=POINTS, max_size=POINTS)


def at(**cells: float) -> list[float]:
    """Weights by cell: `at(c3=2.0)`."""
    return [cells.get(f"c{cell}", 0.0) for cell in range(POINTS)]


def test_without_censoring_it_is_the_share_that_has_ended() -> None:
    curve = estimate(at(c1=1.0, c3=2.0, c5=1.0), NOTHING, NOTHING, 0.0)
    assert curve[:6] == pytest.approx([0.0, 0.25, 0.25, 0.75, 0.75, 1.0])


def test_what_goes_on_counts_until_it_was_last_seen() -> None:
    """Four at first; one ends, one is lost sight of, one of the two that are left ends: 1 - 3/4 * 1/2."""
    curve = estimate(at(c1=1.0, c3=1.0), at(c2=1.0, c9=1.0), NOTHING, 0.0)
    assert curve[1:4] == pytest.approx([0.25, 0.25, 0.625])
    assert curve[-1] == pytest.approx(0.625)


def test_a_belief_counts_as_if_it_had_been_seen() -> None:
    believed = estimate(at(c1=2.0), NOTHING, at(c3=1.0), 2.0)
    seen = estimate(at(c1=2.0, c3=2.0), NOTHING, NOTHING, 0.0)
    assert believed == pytest.approx(seen)


@given(weights, weights, st.floats(0.0, 100.0))
def test_it_is_a_distribution_whatever_was_seen(completed: list[float], censored: list[float], trust: float) -> None:
    curve = estimate(completed, censored, steps([1.0] * POINTS), trust)
    assert curve == sorted(curve)
    assert curve[0] >= 0.0
    assert curve[-1] <= 1.0


def test_weights_halve() -> None:
    memory = Memory(half_life_seconds=100.0)
    memory.add(3, at=0.0, completed=True)
    memory.add(4, at=100.0, completed=False)
    completed, censored = memory.shares(200.0)
    assert (completed[3], censored[4]) == pytest.approx((0.25, 0.5))


def test_a_memory_survives_in_plain_numbers() -> None:
    memory = Memory(half_life_seconds=100.0)
    memory.add(3, at=0.0, completed=True)
    again = Memory(half_life_seconds=100.0)
    assert again.restore(memory.snapshot(50.0)) == 50.0
    assert again.shares(200.0)[0] == pytest.approx(memory.shares(200.0)[0], abs=1e-5)


@pytest.mark.parametrize("wrong", [None, True, "1", float("nan")])
def test_what_is_no_number_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="no number"):
        number_of(wrong)


@pytest.mark.parametrize("wrong", [None, [1.0], [None] * POINTS])
def test_what_is_no_list_of_weights_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        weights_of(wrong)

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.budget import Budget


def test_without_a_known_limit_everything_fits() -> None:
    budget = Budget(None)
    assert (budget.limit, budget.batch_max) == (math.inf, None)
    assert budget.fits(10**12, 10**12)


def test_a_batch_takes_a_quarter_at_most_and_joins_only_while_there_is_room() -> None:
    budget = Budget(1000)
    assert budget.batch_max == 250
    assert budget.fits(250, 750)
    assert not budget.fits(250, 751)


def test_what_is_larger_than_the_limit_is_tried_alone() -> None:
    assert Budget(1000).fits(5000, 0)
    assert not Budget(1000).fits(5000, 1)


def test_a_refusal_that_names_the_limit_is_believed() -> None:
    budget = Budget(None)
    budget.refused(50_000, enqueued=60_000, said=90_000)
    assert (budget.limit, budget.batch_max) == (90_000, 22_500)
    completions = 3
    for _ in range(completions):
        budget.completed()
    assert budget.limit == 90_000


def test_a_refusal_that_names_none_sets_the_limit_to_what_was_refused_and_halves_it() -> None:
    budget = Budget(None)
    budget.refused(3000, enqueued=1000, said=None)
    assert budget.limit == 2000


def test_a_guessed_limit_grows_again_with_every_batch_that_completes() -> None:
    budget = Budget(None)
    budget.refused(4000, enqueued=0, said=None)
    limits = [budget.limit]
    for _ in range(3):
        budget.completed()
        limits.append(budget.limit)
    assert limits == [2000, 4000, 8000, 16_000]


def test_refusals_under_the_limit_halve_what_is_used_of_it_until_batches_complete_again() -> None:
    """Others use the account too, and providers have forgotten to release tokens."""
    budget = Budget(1000)
    limits = []
    for _ in range(3):
        budget.refused(10, enqueued=0, said=1000)
        limits.append(budget.limit)
    for _ in range(4):
        budget.completed()
        limits.append(budget.limit)
    assert limits == [500, 250, 125, 250, 500, 1000, 1000]


@given(
    configured=st.none() | st.integers(1, 10**9),
    news=st.lists(
        st.none() | st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.integers(1, 10**9))
    ),
)
def test_whatever_happens_a_batch_can_still_be_tried(
    configured: int | None, news: list[tuple[int, int, int | None] | None]
) -> None:
    budget = Budget(configured)
    for refusal in news:
        if refusal is None:
            budget.completed()
        else:
            budget.refused(refusal[0], enqueued=refusal[1], said=refusal[2])
        assert budget.limit > 0
        assert budget.batch_max is None or budget.batch_max >= 1
        assert budget.fits(10**10, 0)


@pytest.mark.parametrize("enqueued", [1, 10, 10**6])
def test_after_the_same_refusal_the_same_batch_does_not_fit_again(enqueued: int) -> None:
    budget = Budget(None)
    budget.refused(100, enqueued=enqueued, said=None)
    assert not budget.fits(100, enqueued)

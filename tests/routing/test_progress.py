import json
from random import Random

import pytest

from proxy.routing.progress import BELIEVED_SIGMA, SIGMA_MIN, PaceErrors


def learned(*took_for_said: float) -> PaceErrors:
    paces = PaceErrors()
    for took in took_for_said:
        paces.learn(1.0, took)
    return paces


def test_before_there_is_experience_a_provider_is_believed_what_it_says_of_its_progress() -> None:
    assert PaceErrors().sigma == BELIEVED_SIGMA
    assert PaceErrors().weight_beside(1.0) > 0.9


def test_paces_that_come_true_are_trusted_and_never_wholly() -> None:
    paces = learned(*[1.0] * 10_000)
    assert paces.sigma == SIGMA_MIN
    assert 0.95 < paces.weight_beside(1.0) < 1.0


@pytest.mark.parametrize("factor", [0.05, 20.0])
def test_paces_that_are_far_off_hardly_count(factor: float) -> None:
    assert learned(*[factor] * 200).weight_beside(0.8) < 0.1


def test_sigma_is_that_of_the_errors() -> None:
    random = Random(1)
    assert learned(*(random.lognormvariate(0.0, 0.4) for _ in range(5000))).sigma == pytest.approx(0.4, abs=0.05)


def test_one_batch_that_hung_for_a_day_does_not_end_the_trust() -> None:
    before, after = learned(*[1.1] * 200), learned(*[1.1] * 200, 86_400.0)
    assert after.weight_beside(1.0) > before.weight_beside(1.0) - 0.1


def test_beside_experience_without_any_spread_a_pace_counts_nothing() -> None:
    assert learned(1.0).weight_beside(0.0) == 0.0


def test_what_was_learned_survives_as_json() -> None:
    paces = learned(1.5, 0.8, 3.0)
    assert PaceErrors.restored(json.loads(json.dumps(paces.snapshot()))).sigma == paces.sigma
    assert PaceErrors.restored(None).sigma == BELIEVED_SIGMA


@pytest.mark.parametrize("broken", [[], {}, {"batches": 5}, {"batches": "x", "mean_square": 1}])
def test_what_is_no_snapshot_is_refused(broken: object) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        PaceErrors.restored(broken)

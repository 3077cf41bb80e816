"""Completion times: shapes, seeds, regimes, and the text form."""

import math
from statistics import median

import pytest

from proxy.emulator.turnaround import Constant, LogNormal, Mixture, Stuck, Turnaround, Turnarounds, parse

DAY = 86_400.0


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("constant:60", Constant(60.0)),
        ("lognormal:480,0.8", LogNormal(480.0, 0.8)),
        ("mixture", Mixture()),
        ("mixture:3", Mixture(3.0)),
        ("stuck", Stuck()),
        ("stuck:0.5", Stuck(0.5)),
    ],
)
def test_each_distribution_has_a_text_form(text: str, chosen: Turnaround) -> None:
    assert parse(text) == chosen


@pytest.mark.parametrize("text", ["", "constant", "constant:a", "lognormal:1", "mixture:1,2", "sometimes"])
def test_a_wrong_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_draws_repeat_with_the_seed() -> None:
    def drawn(seed: int) -> list[float]:
        turnarounds = Turnarounds(Mixture(), seed)
        return [turnarounds.draw(hour * 3600.0).seconds for hour in range(500)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_lognormal_has_its_median() -> None:
    turnarounds = Turnarounds(LogNormal(480.0, 0.8), 1)
    assert 430 < median(turnarounds.draw(0.0).seconds for _ in range(4000)) < 530


def test_the_mixture_has_the_shape_that_it_promises() -> None:
    turnarounds = Turnarounds(Mixture(), 3)
    minutes = sorted(turnarounds.draw(at * 300.0).seconds / 60 for at in range(288 * 200))  # 200 days
    share_within_an_hour = sum(value <= 60 for value in minutes) / len(minutes)
    assert 9 < minutes[len(minutes) // 2] < 17
    assert 0.7 < share_within_an_hour < 0.9
    assert minutes[-1] > 600


def test_slowness_multiplies_and_stuck_never_ends() -> None:
    once, thrice = Turnarounds(Mixture(), 1), Turnarounds(Mixture(3.0), 1)
    assert thrice.draw(0.0).seconds == pytest.approx(3 * once.draw(0.0).seconds)
    stuck = Turnarounds(Stuck(0.25), 1).draw(DAY)
    assert (stuck.seconds, stuck.done_share) == (math.inf, 0.25)

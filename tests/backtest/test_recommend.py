from dataclasses import replace
from decimal import Decimal

import pytest

from proxy.backtest.recommend import KNOBS, Knob, Setting, Trial, is_better, recommend
from proxy.backtest.report import Figures
from proxy.config.settings import Config
from proxy.routing.policy import PolicyFile
from tests.backtest.test_page import ROW

START = Setting(PolicyFile(), Config())


def row(saved: float, missed: float) -> Figures:
    return replace(ROW, list_usd=Decimal(100), saved_usd=Decimal(str(saved)), missed_share=missed)


@pytest.mark.parametrize(
    ("one", "other", "better"),
    [
        (row(41, 0.0), row(40, 0.0), True),
        (row(40.05, 0.0), row(40, 0.0), False),  # not worth a change
        (row(50, 0.002), row(40, 0.0), False),
        (row(30, 0.001), row(40, 0.002), True),
        (row(30, 0.002), row(40, 0.003), True),  # neither meets: fewer misses first
        (row(41, 0.001), row(40, 0.0), True),  # both meet: misses count no more
    ],
)
def test_more_savings_win_among_settings_that_meet_the_deadlines(
    one: Figures,
    other: Figures,
    better: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    assert is_better(one, other, met_share=0.999) is better


def play(setting: Setting) -> Figures:
    """A world in which longer company saves, a longer margin costs, and a floor under 20 minutes prevents misses."""
    cut, escalate = setting.config.batching.cut, setting.config.batching.escalate
    floor = setting.policy.default.deadline_min_seconds or 0.0
    saved = 40 + 100 * cut.age_share - escalate.margin_seconds / 60 - floor / 3600
    return row(saved, 0.0005 if floor else 0.005)


def test_knobs_are_turned_one_after_the_other_and_what_is_better_is_kept() -> None:
    trials = list(recommend(START, KNOBS, play, met_share=0.999))
    best = [trial for trial in trials if trial.best][-1]
    assert best.setting.changes == (("default.deadline_min", "20m"), ("batching.cut.age_share", "0.03"))
    assert best.setting.policy.default.deadline_min_seconds == 1200.0
    assert best.setting.config.batching.cut.age_share == 0.03


def test_a_knob_that_stands_there_already_is_not_played_again() -> None:
    played: list[Trial] = list(recommend(START, [knob for knob in KNOBS if knob.value == "null"], play, met_share=0.9))
    assert len(played) == 1


def test_a_knob_that_is_turned_twice_is_named_once() -> None:
    floors = [knob for knob in KNOBS if knob.name == "default.deadline_min"]

    def longer(setting: Setting) -> Figures:
        return row(10 + (setting.policy.default.deadline_min_seconds or 0.0) / 60, 0.0)

    best = [trial for trial in recommend(START, floors, longer, met_share=0.9) if trial.best][-1]
    assert best.setting.changes == (("default.deadline_min", "2h"),)


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: f"{knob.name}={knob.value}")
def test_every_knob_makes_a_setting_that_is_valid(knob: Knob) -> None:
    turned = knob.turn(START)
    assert turned.policy != START.policy or turned.config != START.config or knob.value == "null"

"""Looking for settings that save more: one knob after the other is turned, and what is better is kept.

"Better" is more saved among settings that meet the wanted share of deadlines; while none does, it is fewer misses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from proxy.backtest.report import Figures
from proxy.config.settings import Config
from proxy.routing.policy import PolicyFile

GAIN_MIN = 0.001
"""A setting has to save this share of the list price more to be worth a change."""
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Setting:
    """A policy under a configuration; `changes` are the knobs that were turned and their values, as one writes them."""

    policy: PolicyFile
    config: Config
    changes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Knob:
    """One value to try for the knob `name`, which is where it is found: in the policy file or in config.yaml."""

    name: str
    value: str
    turn: Callable[[Setting], Setting]


@dataclass(frozen=True, slots=True)
class Trial:
    """A setting that was played, and whether it was the best so far."""

    setting: Setting
    figures: Figures
    best: bool


def recommend(
    start: Setting, knobs: Sequence[Knob], play: Callable[[Setting], Figures], *, met_share: float
) -> Iterator[Trial]:
    """Play the start and every knob on top of the best so far. The last trial with `best` is the recommendation."""
    best, figures = start, play(start)
    yield Trial(start, figures, best=True)
    for knob in knobs:
        turned = knob.turn(best)
        if (turned.policy, turned.config) == (best.policy, best.config):
            continue
        others = tuple(change for change in best.changes if change[0] != knob.name)
        setting = replace(turned, changes=(*others, (knob.name, knob.value)))
        found = play(setting)
        wins = is_better(found, figures, met_share=met_share)
        yield Trial(setting, found, best=wins)
        if wins:
            best, figures = setting, found


def is_better(one: Figures, other: Figures, *, met_share: float) -> bool:
    """Whether to prefer the one."""
    one_meets, other_meets = (1 - row.missed_share >= met_share for row in (one, other))
    if one_meets != other_meets:
        return one_meets
    if not one_meets:
        return one.missed_share < other.missed_share
    return _saved_share(one) > _saved_share(other) + GAIN_MIN


def _saved_share(row: Figures) -> float:
    return float(row.saved_usd / row.list_usd) if row.list_usd else 0.0


def _deadline_min(seconds: float | None) -> Callable[[Setting], Setting]:
    def turn(setting: Setting) -> Setting:
        default = replace(setting.policy.default, deadline_min_seconds=seconds)
        return replace(setting, policy=replace(setting.policy, default=default))

    return turn


def _billed_twice(share: float) -> Callable[[Setting], Setting]:
    def turn(setting: Setting) -> Setting:
        planner = replace(setting.config.planner, billed_twice_share=share)
        return replace(setting, config=replace(setting.config, planner=planner))

    return turn


def _age_share(share: float) -> Callable[[Setting], Setting]:
    def turn(setting: Setting) -> Setting:
        cut = replace(setting.config.batching.cut, age_share=share)
        return replace(setting, config=replace(setting.config, batching=replace(setting.config.batching, cut=cut)))

    return turn


def _margin(seconds: float) -> Callable[[Setting], Setting]:
    def turn(setting: Setting) -> Setting:
        escalate = replace(setting.config.batching.escalate, margin_seconds=seconds)
        batching = replace(setting.config.batching, escalate=escalate)
        return replace(setting, config=replace(setting.config, batching=batching))

    return turn


KNOBS = (
    Knob("default.deadline_min", "20m", _deadline_min(1200.0)),
    Knob("default.deadline_min", "2h", _deadline_min(7200.0)),
    Knob("default.deadline_min", "null", _deadline_min(None)),
    Knob("planner.billed_twice_share", "0.1", _billed_twice(0.1)),
    Knob("planner.billed_twice_share", "1.0", _billed_twice(1.0)),
    Knob("batching.cut.age_share", "0.003", _age_share(0.003)),
    Knob("batching.cut.age_share", "0.03", _age_share(0.03)),
    Knob("batching.escalate.margin", "3m", _margin(180.0)),
)
"""What is tried, in this order."""

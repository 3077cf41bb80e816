from dataclasses import replace
from pathlib import Path

import pytest

from proxy.backtest.run import Scenario, coarse, play_policy, set_stage
from proxy.backtest.weather import World
from proxy.config.load import load_policy
from proxy.config.settings import Config
from proxy.domain.errors import ConfigFault

HEADER = "offset_s,model,prompt_tokens,completion_tokens,deadline_s\n"
ROWS = "".join(f"{number * 60},gpt-4.1,1000,100,{3600 * (1 + number % 4)}\n" for number in range(60))
URGENT = "rules: []\ndefault: {urgent: true}\n"


def scenario(tmp_path: Path, text: str = HEADER + ROWS) -> Scenario:
    (tmp_path / "trace.csv").write_text(text)
    return Scenario(tmp_path / "trace.csv", World.NORMAL, seed=1, rpm=60, bulk_per_day=0, flex_refusals=None)


def test_every_policy_is_played_over_the_same_trace(tmp_path: Path) -> None:
    (tmp_path / "urgent.yaml").write_text(URGENT)
    seen: list[float] = []
    stage = set_stage(scenario(tmp_path), Config())
    cautious, _ = play_policy(stage, load_policy(Config().policy_file), Config(), seen.append, name="cautious")
    urgent, _ = play_policy(stage, load_policy(tmp_path / "urgent.yaml"), Config(), seen.append, name="urgent")
    assert (cautious.policy, urgent.policy) == ("cautious", "urgent")
    assert cautious.requests == urgent.requests == 60
    assert cautious.list_usd == urgent.list_usd
    assert cautious.saved_usd > 0 == urgent.saved_usd
    assert max(seen) == 1.0


def test_only_the_first_days_are_played_where_that_is_wanted(tmp_path: Path) -> None:
    half_an_hour = replace(scenario(tmp_path), days=1800 / 86_400)
    assert set_stage(half_an_hour, Config()).shape.requests == 30
    row, _ = play_policy(
        set_stage(half_an_hour, Config()), load_policy(Config().policy_file), Config(), print, name="x"
    )
    assert row.requests == 30


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER, "has no requests"),
        (HEADER + "0,made-up-model,1,1,60\n", "'made-up-model' has no price"),
        (HEADER + "0,gpt-4.1,one,1,60\n", r"trace\.csv:2: prompt_tokens: 'one' is no number"),
    ],
)
def test_what_cannot_be_played_is_said_before_anything_is(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigFault, match=told):
        set_stage(scenario(tmp_path, text), Config())


def test_the_engine_of_a_backtest_is_slower_but_keeps_its_margin() -> None:
    batching = coarse(Config()).batching
    assert batching.tick_seconds == 15.0
    assert batching.look_seconds <= batching.escalate.margin_seconds
    assert batching.cut == Config().batching.cut

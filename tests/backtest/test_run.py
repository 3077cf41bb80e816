from pathlib import Path

import pytest

from proxy.backtest.run import Scenario, backtest, coarse
from proxy.backtest.weather import World
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
    seen: list[tuple[str, float]] = []
    policies = [Config().policy_file, tmp_path / "urgent.yaml"]
    found = list(backtest(scenario(tmp_path), policies, Config(), lambda file, share: seen.append((file.stem, share))))
    (cautious, _), (urgent, _) = found
    assert (cautious.policy, urgent.policy) == ("default", "urgent")
    assert cautious.requests == urgent.requests == 60
    assert cautious.list_usd == urgent.list_usd
    assert cautious.saved_usd > 0 == urgent.saved_usd
    assert {name for name, _ in seen} == {"default", "urgent"}
    assert max(share for _, share in seen) == 1.0


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
        list(backtest(scenario(tmp_path, text), [Config().policy_file], Config(), lambda *_: None))


def test_a_policy_with_a_mistake_stops_all(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("rules: [{nome: x}]\n")
    with pytest.raises(ConfigFault, match=r"bad\.yaml:1"):
        list(backtest(scenario(tmp_path), [tmp_path / "bad.yaml"], Config(), lambda *_: None))


def test_the_engine_of_a_backtest_is_slower_but_keeps_its_margin() -> None:
    batching = coarse(Config()).batching
    assert batching.tick_seconds == 15.0
    assert batching.look_seconds <= batching.escalate.margin_seconds
    assert batching.cut == Config().batching.cut

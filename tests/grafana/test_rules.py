"""The rules, by Prometheus's own tool: their form, and stories of when somebody is called and when not."""

from pathlib import Path

import pytest
import yaml

from tests.prometheus import promtool
from tests.test_readme import REPOSITORY

GRAFANA = REPOSITORY / "grafana"
RULES = GRAFANA / "rules.yml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule]


def test_the_rules_are_clean() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def test_the_rules_pass_their_tests() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(GRAFANA / "rules.test.yml"))


def test_a_rule_that_is_wrong_fails_them(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text().replace("> 14.4 * 0.001", "> 144 * 0.001"))
    (tmp_path / "rules.test.yml").write_text((GRAFANA / "rules.test.yml").read_text())
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", str(tmp_path / "rules.test.yml"))


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.compose.yml"])
def test_the_scrape_configurations_are_right(name: str) -> None:
    assert "SUCCESS" in promtool("check", "config", str(GRAFANA / name))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_is_played_and_says_what_to_do(rule: dict[str, object]) -> None:
    played = {
        test["alertname"]
        for story in yaml.safe_load((GRAFANA / "rules.test.yml").read_text())["tests"]
        for test in story.get("alert_rule_test", [])
        if test["exp_alerts"]
    }
    assert rule["alert"] in played
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert set(rule["annotations"]) == {"summary", "description"}  # type: ignore[call-overload]  # YAML has no types

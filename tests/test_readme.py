"""The README is part of the product: its commands, its policy and its names are what is there."""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import main
from proxy.config.load import load_policy

REPOSITORY = Path(__file__).parent.parent
TEXT = (REPOSITORY / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_first_two_sh_blocks_are_one_command_each_demo_and_tests() -> None:
    first, second = _blocks("sh")[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert first.strip().endswith("standby demo")
    assert ".venv/bin/pytest" in second


def test_its_policy_is_a_policy(tmp_path: Path) -> None:
    (block,) = _blocks("yaml")
    (tmp_path / "policy.yaml").write_text(block)
    assert [rule.name for rule in load_policy(tmp_path / "policy.yaml").rules] == ["nightly", "chat"]


def test_its_python_compiles() -> None:
    for block in _blocks("python"):
        compile(block, "README.md", "exec")


def test_the_files_that_it_points_at_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target


def test_the_metrics_that_it_names_exist() -> None:
    telemetry = REPOSITORY / "proxy" / "telemetry"
    series = (telemetry / "series.py").read_text() + (telemetry / "gaugeseries.py").read_text()
    for name in re.findall(r"`(standby_[a-z_]+)`", TEXT):
        if name != "standby_batch":
            assert name.removesuffix("_total") in series, name


def test_the_options_that_it_names_exist() -> None:
    page = "".join(CliRunner().invoke(main, [command, "--help"]).output for command in main.commands)
    for option in set(re.findall(r"(?<![-\w])--[a-z][a-z-]+", TEXT)) - {"--quiet", "--check", "--replicas", "--build"}:
        assert option in page, option


def test_what_explain_is_shown_to_say_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (shown,) = (block for block in _blocks("console") if "standby explain" in block)
    command, *lines, rest = shown.splitlines()
    said = CliRunner().invoke(main, command.partition("standby ")[2].split()).output.splitlines()
    assert rest == "..."
    assert said[: len(lines)] == lines


def test_the_scrape_configuration_points_at_the_default_port() -> None:
    config = yaml.safe_load((REPOSITORY / "grafana" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]

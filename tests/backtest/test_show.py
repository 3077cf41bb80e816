import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main

TRACE = "offset_s,model,prompt_tokens,completion_tokens,deadline_s\n" + "".join(
    f"{number * 60},gpt-4.1,1000,100,7200\n" for number in range(30)
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    return file


def test_the_command_prints_a_table_and_writes_what_was_asked_for(tmp_path: Path, trace: Path) -> None:
    files = ["--json", str(tmp_path / "out.json"), "--html", str(tmp_path / "out.html")]
    arguments = ["backtest", str(trace), "--rpm", "100", "--seed", "7", *files]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "default" in done.output
    (row,) = json.loads((tmp_path / "out.json").read_text())["policies"]
    assert (row["policy"], row["rpm"], row["seed"], row["world"], row["requests"]) == ("default", 100, 7, "normal", 30)
    assert "<svg" in (tmp_path / "out.html").read_text()


def test_several_policies_are_compared_side_by_side(tmp_path: Path, trace: Path) -> None:
    files = [tmp_path / f"{name}.yaml" for name in ("eager", "patient")]
    files[0].write_text("default: {urgent: true}\n")
    files[1].write_text("default: {deadline: 4h}\n")
    for given in (["--policy", str(files[0]), str(files[1])], ["--policy", str(files[0]), "--policy", str(files[1])]):
        done = CliRunner().invoke(main, ["backtest", str(trace), *given, "--json", str(tmp_path / "out.json")])
        assert done.exit_code == 0, done.output
        rows = json.loads((tmp_path / "out.json").read_text())["policies"]
        assert [row["policy"] for row in rows] == ["eager", "patient"]
        assert [row["saved_usd"] > 0 for row in rows] == [False, True]
        assert "deadlines met" in done.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.csv"], "standby: the trace none.csv cannot be read"),
        (["TRACE", "--policy", "none.yaml"], "none.yaml"),
        (["TRACE", "--world", "sunny"], "Invalid value for '--world'"),
        (["TRACE", "--policy", "BAD"], "bad.yaml:1"),
        (["TRACE", "--recommend", "--policy", "BAD", "--policy", "BAD"], "bad.yaml:1"),
        (["TRACE", "--days", "0"], "Invalid value for '--days'"),
        (["TRACE", "--rpm", "0"], "Invalid value for '--rpm'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(trace: Path, arguments: list[str], told: str) -> None:
    bad = trace.with_name("bad.yaml")
    bad.write_text("rules: [{nome: x}]\n")
    files = {"TRACE": str(trace), "BAD": str(bad)}
    given = [files.get(argument, argument) for argument in arguments]
    done = CliRunner().invoke(main, ["backtest", *given])
    assert done.exit_code == 2
    assert told in done.output


def test_recommend_tries_the_knobs_and_says_what_saves_most(tmp_path: Path, trace: Path) -> None:
    arguments = ["backtest", str(trace), "--recommend", "--json", str(tmp_path / "out.json"), "--bulk-per-day", "0"]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "Saves most at 99.90% of the deadlines or more:" in done.output
    assert "default.deadline_min: 20m" in done.output
    rows = json.loads((tmp_path / "out.json").read_text())["policies"]
    assert len(rows) > 5
    assert rows[0]["policy"] == "as it is"


def test_recommend_is_for_one_policy(tmp_path: Path, trace: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("default: {deadline: 4h}\n")
    done = CliRunner().invoke(main, ["backtest", str(trace), "--recommend", *["--policy", str(policy)] * 2])
    assert done.exit_code == 2
    assert "give one --policy" in done.output

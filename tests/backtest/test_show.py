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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.csv"], "standby: the trace none.csv cannot be read"),
        (["TRACE", "--policy", "none.yaml"], "none.yaml"),
        (["TRACE", "--world", "sunny"], "Invalid value for '--world'"),
        (["TRACE", "--rpm", "0"], "Invalid value for '--rpm'"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(trace: Path, arguments: list[str], told: str) -> None:
    given = [str(trace) if argument == "TRACE" else argument for argument in arguments]
    done = CliRunner().invoke(main, ["backtest", *given])
    assert done.exit_code == 2
    assert told in done.output

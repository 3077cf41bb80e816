"""`standby check`: what it prints, for people and for machines, and the code that it exits with."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main

RIGHT = """
rules:
  - name: night
    match: {hours: 20:00-06:00}
    then: {deadline: 8h}
  - name: late
    match: {hours: 22:00-23:00}
tests:
  - name: at night
    request: {at: 23:00}
    expect: {rule: night, deferred: true}
"""
WRONG = RIGHT.replace("at: 23:00", "at: 12:00")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checked(*arguments: str, **texts: str) -> tuple[int, list[str]]:
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)
    done = CliRunner().invoke(main, ["check", *arguments])
    return done.exit_code, done.output.splitlines()


def test_piped_it_says_a_line_for_each_thing_at_its_place() -> None:
    assert checked("right.yaml", right=RIGHT) == (
        0,
        [
            "right.yaml: 2 rules, 1 test, all pass",
            "right.yaml:3: rule night: 1 hit",
            "right.yaml:6: rule late: 0 hits; it can never match: night takes all of it",
            "right.yaml:2: rule default: 0 hits",
            "right.yaml:9: the test 'at night' passes: night, batch, deadline_allows",
        ],
    )


def test_a_failing_test_is_exit_code_1_and_a_file_that_cannot_be_used_2() -> None:
    code, lines = checked("wrong.yaml", "right.yaml", wrong=WRONG, right=RIGHT)
    assert code == 1
    assert lines[0] == "wrong.yaml: 1 of 1 tests fail"
    assert (
        "wrong.yaml:9: the test 'at night' fails: rule is default and not night; deferred is false and not true "
        "(default: no_deadline)" in lines
    )
    code, lines = checked("broken.yaml", "wrong.yaml", broken="rules: [{nam: x}]")
    assert code == 2
    assert lines[0].startswith("broken.yaml:1: 'nam' is unknown here: did you mean 'name'?")
    assert "wrong.yaml: 1 of 1 tests fail" in lines
    assert checked("nowhere.yaml") == (2, ["nowhere.yaml cannot be read: No such file or directory"])


def test_without_files_it_checks_the_configured_policy_in_the_configured_zone() -> None:
    assert checked()[1][0].endswith("default.yaml: 0 rules, 7 tests, all pass")
    instant = RIGHT.replace("at: 23:00", "at: 2026-11-23T12:00:00Z")
    assert checked(own=instant, config="policies: own.yaml\ntimezone: Asia/Tokyo\n")[0] == 0
    assert checked("--config", "config.yaml", config="policies: own.yaml\n")[0] == 1
    code, lines = checked("--config", "wrong.yaml", wrong="polices: own.yaml\n")
    assert (code, lines[0].startswith("standby: wrong.yaml:1: 'polices' is unknown here")) == (2, True)


def test_policies_that_come_with_standby_go_by_their_names() -> None:
    assert checked("standby:cost-first", "standby:overnight-jobs")[0] == 0
    code, lines = checked("standby:cost-last")
    assert code == 2
    assert "'standby:cost-last' does not come with Standby: there are background-agents, cost-first" in lines[0]


def test_it_says_the_same_in_json() -> None:
    code, lines = checked("wrong.yaml", "broken.yaml", "--json", wrong=WRONG, broken="[")
    wrong, broken = json.loads("\n".join(lines))
    assert code == 2
    assert (broken["usable"], broken["passed"], broken["rules"]) == (False, False, [])
    assert broken["fault"].startswith("broken.yaml:")
    assert (wrong["usable"], wrong["passed"], wrong["fault"]) == (True, False, None)
    assert wrong["rules"][1] == {
        "name": "late",
        "place": "wrong.yaml:6",
        "hits": 0,
        "can_match": False,
        "taken_by": ["night"],
    }
    assert wrong["tests"] == [
        {
            "name": "at night",
            "place": "wrong.yaml:9",
            "passed": False,
            "refusal": None,
            "decision": {"rule": "default", "tier": "standard", "reason": "no_deadline"},
            "differences": [
                {"name": "rule", "expected": "night", "found": "default"},
                {"name": "deferred", "expected": "true", "found": "false"},
            ],
        }
    ]


def test_a_request_that_cannot_be_sent_is_told_as_its_client_would_hear_it() -> None:
    code, lines = checked("own.yaml", own=RIGHT.replace("at: 23:00", "deadline: soon"))
    assert code == 1
    assert "the test 'at night' fails: its request is refused: X-Deadline: 'soon' is no deadline" in lines[-1]


def test_on_a_terminal_it_draws_tables() -> None:
    Path("wrong.yaml").write_text(WRONG)
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "proxy", "check", "wrong.yaml"]
    done = subprocess.run(command, stdout=child, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"}, check=False)
    os.close(child)
    shown = os.read(parent, 65_536).decode()
    os.close(parent)
    assert done.returncode == 1
    for words in (
        "1 of 1 tests fail",
        "┃",
        "can never match: night takes all of it",
        "fails",
        "rule is default and not",
    ):
        assert words in shown

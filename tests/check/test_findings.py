"""What is found in a policy file: its tests, what comes to each rule, and rules in vain."""

from pathlib import Path

from proxy.check.findings import Findings, look_at
from proxy.config.trial import shipped_conditions

BASE = """
rules:
  - name: night
    match: {hours: 20:00-06:00}
    then: {deadline: 8h}
tests:
  - name: at night
    request: {at: 23:00}
    expect: {rule: night}
"""
OWN = """extends: base.yaml
rules:
  - name: streams
    match: {stream: true}
  - name: calls
    match: {stream: false}
  - name: nothing
    match: {model: "[z-a]"}
tests:
  - name: a stream
    request: {stream: true}
    expect: {rule: streams}
  - name: another
    request: {stream: true, tools: true}
    expect: {rule: calls}
  - name: one that cannot be sent
    request: {deadline: soon}
    expect: {rule: calls}
"""


def found_in(folder: Path, **texts: str) -> Findings:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return look_at(folder / "own.yaml", shipped_conditions())


def test_a_file_that_cannot_be_used_says_why_and_nothing_else(tmp_path: Path) -> None:
    found = found_in(tmp_path, own="rules: [{nam: x}]")
    assert found.fault is not None
    assert "own.yaml:1: 'nam' is unknown here" in found.fault
    assert (found.rules, found.tests, found.failed) == ((), (), [])


def test_the_files_own_tests_are_counted_by_the_rule_that_they_come_to(tmp_path: Path) -> None:
    found = found_in(tmp_path, own=OWN, base=BASE)
    hits = {rule.name: rule.hits for rule in found.rules}
    assert hits == {"streams": 2, "calls": 0, "nothing": 0, "night": 0, "default": 0}


def test_failing_tests_are_found_at_their_places_those_of_extended_files_too(tmp_path: Path) -> None:
    found = found_in(tmp_path, own=OWN, base=BASE.replace("23:00", "12:00"))
    assert [(test.place.file.rpartition("/")[2], test.place.line) for test in found.failed] == [
        ("own.yaml", 13),
        ("own.yaml", 16),
        ("base.yaml", 7),
    ]
    assert len(found.tests) == 3
    assert len(found.base_tests) == 1


def test_rules_that_can_never_match_say_why(tmp_path: Path) -> None:
    found = found_in(tmp_path, own=OWN, base=BASE)
    never = {rule.name: rule.never for rule in found.rules if rule.never}
    assert never == {
        "nothing": "it contradicts itself",
        "night": "streams, calls take all of it",
        "default": "streams, calls take all of it",
    }
    single = found_in(tmp_path, own="rules: [{name: all}]")
    assert [rule.never for rule in single.rules] == [None, "all takes all of it"]


def test_rules_have_the_places_of_their_own_files(tmp_path: Path) -> None:
    found = found_in(tmp_path, own=OWN, base=BASE)
    assert [str(rule.place).rpartition("/")[2] for rule in found.rules] == [
        "own.yaml:3",
        "own.yaml:5",
        "own.yaml:7",
        "base.yaml:3",
        "own.yaml:1",
    ]

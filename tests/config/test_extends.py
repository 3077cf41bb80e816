"""What an extending file takes from the extended one, and what it does not."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from proxy.config.policies import read_policy
from proxy.domain.errors import ConfigFault
from proxy.routing.policy import PolicyFile

BERLIN, TOKYO = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")


def whole(folder: Path, own: str, base: str) -> PolicyFile:
    (folder / "base.yaml").write_text(base)
    (folder / "own.yaml").write_text("extends: base.yaml\n" + own)
    return read_policy(folder / "own.yaml").policy


def names(file: PolicyFile) -> list[str]:
    return [rule.name for rule in file.rules]


def test_the_rules_of_the_extending_file_come_first(tmp_path: Path) -> None:
    assert names(whole(tmp_path, "rules: [{name: a}, {name: b}]", "rules: [{name: c}]")) == ["a", "b", "c"]
    assert names(whole(tmp_path, "rules: {name: a}", "rules: {name: b}")) == ["a", "b"]
    assert names(whole(tmp_path, "rules:", "rules: [{name: c}]")) == ["c"]
    assert names(whole(tmp_path, "", "rules: [{name: c}]")) == ["c"]
    assert names(whole(tmp_path, "rules: [{name: a}]", "")) == ["a"]


def test_of_the_default_what_is_left_out_is_the_extended_files(tmp_path: Path) -> None:
    base = "default: {deadline: 4h, deadline_max: 24h, tiers: [batch]}"
    default = whole(tmp_path, "default: {deadline: 2h, tiers: [flex, batch]}", base).default
    assert (default.deadline_seconds, default.deadline_max_seconds, sorted(default.tiers)) == (
        7200.0,
        86_400.0,
        ["batch", "flex"],
    )
    assert whole(tmp_path, "", base).default.deadline_seconds == 14_400.0
    assert whole(tmp_path, "default: {deadline: 2h}", "").default.deadline_seconds == 7200.0


def test_a_default_can_be_taken_back_by_saying_null(tmp_path: Path) -> None:
    default = whole(tmp_path, "default: {deadline: null}", "default: {deadline: 4h, deadline_max: 24h}").default
    assert (default.deadline_seconds, default.deadline_max_seconds) == (None, 86_400.0)


def test_a_time_zone_is_that_of_the_file_that_names_it_and_of_what_it_extends(tmp_path: Path) -> None:
    rule = "rules: [{name: NAME, match: {hours: '20:00-06:00'}}]"
    own, base = rule.replace("NAME", "own"), rule.replace("NAME", "base")
    taken = whole(tmp_path, f"timezone: Europe/Berlin\n{own}", base)
    assert (taken.timezone, [rule.match.timezone for rule in taken.rules]) == (BERLIN, [None, None])
    inherited = whole(tmp_path, own, f"timezone: Asia/Tokyo\n{base}")
    assert (inherited.timezone, [rule.match.timezone for rule in inherited.rules]) == (TOKYO, [None, TOKYO])
    both = whole(tmp_path, f"timezone: Europe/Berlin\n{own}", f"timezone: Asia/Tokyo\n{base}")
    assert (both.timezone, [rule.match.timezone for rule in both.rules]) == (BERLIN, [None, TOKYO])


@pytest.mark.parametrize(
    ("match", "zone"),
    [
        ("{hours: '20:00-06:00', timezone: UTC}", "UTC"),
        ("{weekdays: mon}", "Asia/Tokyo"),
        ("{weekdays: []}", "None"),
        ("{hours: null, weekdays: null}", "None"),
        ("{hours: '20:00-06:00', timezone: null}", "Asia/Tokyo"),
        ("{model: x}", "None"),
        ("", "None"),
    ],
)
def test_only_rules_that_ask_for_a_time_take_their_files_zone(tmp_path: Path, match: str, zone: str) -> None:
    base = f"timezone: Asia/Tokyo\nrules:\n- name: a\n  match: {match}\n"
    assert str(whole(tmp_path, "", base).rules[0].match.timezone) == zone


def test_the_tests_of_the_extended_file_are_not_taken_in(tmp_path: Path) -> None:
    base = "rules: [{name: a}]\ntests: [{name: t, expect: {rule: a}}]"
    own = "tests: [{name: mine, expect: {rule: a}}]"
    assert [test.name for test in whole(tmp_path, own, base).tests] == ["mine"]
    assert whole(tmp_path, "", base).tests == ()


def test_two_rules_of_one_name_are_told_at_the_extending_one_with_the_place_of_the_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault) as caught:
        whole(tmp_path, "rules:\n- name: a\n- name: b\n", "rules:\n- name: c\n- name: b\n")
    assert str(caught.value) == (
        f"{tmp_path}/own.yaml:4: name: 'b' is taken already at {tmp_path}/base.yaml:3; give the rule another one"
    )


def test_what_contradicts_itself_only_together_is_told_at_a_line_of_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=r"own\.yaml:3: deadline_min: 90000.0 is over deadline_max 86400.0"):
        whole(tmp_path, "default:\n  deadline_min: 25h\n", "default:\n  deadline_max: 24h\n")

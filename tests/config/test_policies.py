"""Reading policy files that extend others: every mistake has the place that a person can mend it at."""

from pathlib import Path

import pytest

from proxy.config.policies import read_policy
from proxy.config.shipped import policy_folder
from proxy.domain.errors import ConfigFault


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "own.yaml"


def fault(file: Path) -> str:
    with pytest.raises(ConfigFault) as caught:
        read_policy(file)
    return str(caught.value).replace(f"{file.parent}/", "")


def test_files_are_looked_for_from_the_folder_of_the_one_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    written(tmp_path / "shared", middle="extends: base.yaml\nrules: [{name: b}]\n", base="rules: [{name: c}]\n")
    source = read_policy(written(tmp_path, own="# mine\nextends: shared/middle.yaml\nrules: [{name: a}]\n"))
    assert [rule.name for rule in source.policy.rules] == ["a", "b", "c"]
    assert [one.file.name for one in source.lineage()] == ["own.yaml", "middle.yaml", "base.yaml"]


def test_a_policy_that_comes_with_standby_can_be_extended_by_its_name(tmp_path: Path) -> None:
    source = read_policy(written(tmp_path, own="extends: standby:default\n"))
    assert [one.file for one in source.lineage()] == [tmp_path / "own.yaml", policy_folder() / "default.yaml"]
    assert source.policy.default.deadline_max_seconds == 86_400.0


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"own": "rules: []\nextends: gone.yaml\n"}, "own.yaml:2: extends: gone.yaml cannot be read: No such file"),
        ({"own": "extends: standby:defualt\n"}, "own.yaml:1: extends: 'standby:defualt' does not come with Standby: "),
        ({"own": "\nextends: own.yaml\n"}, "own.yaml:2: extends: own.yaml -> own.yaml is a circle; take one of"),
        (
            {"own": "extends: b.yaml\n", "b": "extends: c.yaml", "c": "\n\nextends: ./b.yaml"},
            "c.yaml:3: extends: own.yaml -> b.yaml -> c.yaml -> b.yaml is a circle",
        ),
        (
            {"own": "extends: b.yaml", "b": "rules:\n- nam: x\n"},
            "b.yaml:2: 'nam' is unknown here: did you mean 'name'?",
        ),
        ({"own": "extends: b.yaml", "b": "rules: [\n"}, "b.yaml:"),
        ({"own": "extends: b.yaml\ndefualt: {}", "b": ""}, "own.yaml:2: 'defualt' is unknown here"),
        ({"own": "extends: b.yaml\nrules: 5", "b": ""}, "own.yaml:2: names with values are expected here"),
        ({"own": "extends: [a.yaml, b.yaml]"}, "own.yaml:1: 'extends' takes a single value"),
        ({"own": "extends: b.yaml\ntests: [{name: t}]", "b": ""}, "own.yaml:2: 'expect' is missing here"),
        ({"own": "tests: [{name: t, expect: {}}]"}, "own.yaml:1: it expects nothing, so it could not fail"),
        (
            {"own": "extends: b.yaml\ntests:\n- name: t\n  expect: {rule: x}", "b": "rules: {name: y}"},
            "own.yaml:4: tests.expect.rule: 'x' is no rule of this policy; there are default, y",
        ),
    ],
)
def test_a_mistake_is_told_at_its_place_in_whichever_file(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    assert fault(written(tmp_path, **texts)).startswith(said)


def test_a_file_that_is_no_text_is_told_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    assert fault(written(tmp_path, own="extends: b.yaml")) == "own.yaml:1: extends: b.yaml is not UTF-8 text"


def test_every_file_is_noted_before_it_is_read_even_where_it_has_a_mistake(tmp_path: Path) -> None:
    noted: list[Path] = []
    with pytest.raises(ConfigFault):
        read_policy(written(tmp_path, own="extends: b.yaml", b="extends: gone.yaml"), noted.append)
    assert [file.name for file in noted] == ["own.yaml", "b.yaml", "gone.yaml"]


def test_the_place_of_a_test_is_where_it_stands(tmp_path: Path) -> None:
    test = "{name: t, expect: {rule: default}}"
    single = read_policy(written(tmp_path, own=f"\ntests: {test}\n"))
    assert single.place_of_test(0).line == 2
    listed = read_policy(
        written(tmp_path, own=f"extends: b.yaml\ntests:\n- {test}\n- {test.replace('t,', 'u,')}\n", b="")
    )
    assert [listed.place_of_test(number).line for number in (0, 1)] == [3, 4]

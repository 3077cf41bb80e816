"""The folder of policies is part of the product: each can be trusted, the schema is the code's, the page is true."""

import json
import re
import zipfile
from dataclasses import fields
from datetime import UTC
from pathlib import Path
from subprocess import run
from sys import executable
from zoneinfo import ZoneInfo

import jsonschema
import pytest
from click.testing import CliRunner

from proxy.check.findings import look_at
from proxy.cli import main
from proxy.config.decode import written_name
from proxy.config.load import load_policy
from proxy.config.policies import read_policy
from proxy.config.shipped import shipped_names
from proxy.config.tree import parse
from proxy.config.trial import Conditions, shipped_conditions
from proxy.domain.errors import ConfigFault
from proxy.routing.policy import Match, PolicyFile, Rule, Then
from proxy.routing.policytest import Asked, Expected, PolicyTest
from proxy.routing.pricing import PriceBook
from proxy.routing.terms import Budget
from tests.config.test_schema import plain

FOLDER = Path(__file__).parent.parent / "policies"
POLICIES = sorted(FOLDER.glob("*.yaml"))
PAGE = (FOLDER / "README.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SCHEMA = json.loads((FOLDER / "schema.json").read_text())


def is_valid(text: str) -> bool:
    return jsonschema.Draft7Validator(SCHEMA).is_valid(plain(parse(text, "policy.yaml")))


def test_the_schema_is_the_one_that_the_code_makes() -> None:
    """`standby check --schema > policies/schema.json` after a change of the language."""
    assert CliRunner().invoke(main, ["check", "--schema"]).output == (FOLDER / "schema.json").read_text()


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_a_ready_policy_passes_its_tests_which_come_to_every_rule_and_none_is_in_vain(file: Path) -> None:
    found = look_at(file, shipped_conditions())
    assert found.fault is None
    assert len(found.tests) >= 6
    assert [test.outcome for test in found.failed] == []
    assert [rule.name for rule in found.rules if not rule.hits] == []
    assert [rule.name for rule in found.rules if rule.dead] == []


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_a_ready_policy_does_not_depend_on_anybodys_prices_or_time_zone(file: Path) -> None:
    for zone in (UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")):
        assert look_at(file, Conditions(PriceBook.from_cost_map({}, {}, "none"), zone)).failed == []


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_a_ready_policy_is_valid_by_the_schema_that_it_names_and_broken_ones_are_not(file: Path) -> None:
    text = file.read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert is_valid(text)
    assert not is_valid(text.replace("deadline_max:", "deadline_maximum:"))
    assert not is_valid(text.replace("expect:", "expects:"))
    assert not is_valid(re.sub(r"deadline_max: \d+h", "deadline_max: soon", text))


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_the_tests_of_a_ready_policy_notice_when_its_terms_are_taken_away(file: Path, tmp_path: Path) -> None:
    source = read_policy(file)
    text = file.read_text()
    without_tests, tests = text[: text.index("\ntests:")], text[text.index("\ntests:") :]
    assert load_policy(file).file == source.policy
    rules = "".join(f"- {{name: {rule.name}, then: {{urgent: true}}}}\n" for rule in source.policy.rules)
    (tmp_path / "other.yaml").write_text(f"rules:\n{rules}default: {{urgent: true}}\n{tests}")
    assert without_tests
    with pytest.raises(ConfigFault, match="fails"):
        load_policy(tmp_path / "other.yaml")


def test_the_page_names_every_ready_policy() -> None:
    assert sorted(re.findall(r"`standby:([\w-]+)`\]", PAGE)) == shipped_names() == [file.stem for file in POLICIES]


@pytest.mark.parametrize(
    ("title", "classes"),
    [("`match`", (Match,)), ("`then`, and `default`", (Then, Budget)), ("`tests`", (PolicyTest, Asked, Expected))],
)
def test_the_page_tells_every_field_in_the_section_that_is_about_it(title: str, classes: tuple[type, ...]) -> None:
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    assert {written_name(field.name) for one in classes for field in fields(one)} <= words(section)


def test_the_page_tells_what_a_file_and_a_rule_are_made_of() -> None:
    assert {field.name for one in (PolicyFile, Rule) for field in fields(one)} <= words(PAGE)


def words(page: str) -> set[str]:
    """What stands there as code, and the names in its blocks."""
    return set(re.findall(r"`(\w+)`", page)) | set(re.findall(r"^[ -]*(\w+):", page, re.MULTILINE))


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_policies_on_the_page_are_right_and_their_tests_pass(number: int, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(BLOCKS[number])
    assert load_policy(tmp_path / "policy.yaml").rules
    assert is_valid(BLOCKS[number])


def test_the_first_policy_on_the_page_is_a_whole_one() -> None:
    assert len(BLOCKS) == 3
    assert BLOCKS[0].startswith("# yaml-language-server: $schema=schema.json\n")


def test_a_wheel_has_the_policies_their_schema_and_the_page(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = run([executable, "-c", build, str(tmp_path)], cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.strip().splitlines()[-1]) as wheel:
        packed = {Path(name).name for name in wheel.namelist() if name.startswith("proxy/_policies/")}
    assert packed == {file.name for file in FOLDER.iterdir()}

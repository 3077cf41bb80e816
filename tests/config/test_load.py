from decimal import Decimal
from pathlib import Path

import pytest

from proxy.config.load import load_config, load_policy, said_by
from proxy.config.settings import OPENAI, Config
from proxy.config.trial import Conditions
from proxy.domain.errors import ConfigFault, Place
from proxy.routing.pricing import ModelPrice, PriceBook, TierPrice


def written(folder: Path, text: str | bytes, name: str = "config.yaml") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_without_a_file_the_defaults_are_in_force() -> None:
    config = load_config(None)
    assert config == Config()
    assert config.upstreams[0].base_url == OPENAI


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == Config()


def test_a_file_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "batching:\n  cut: {age: 500ms}\n  escalate: {margin: 20s}\n"))
    assert config.batching.cut.age_seconds == 0.5
    assert config.batching.escalate.margin_seconds == 20.0
    assert config.batching.poll == Config().batching.poll
    assert config.server == Config().server


def test_files_that_a_configuration_names_are_looked_for_from_its_own_folder(tmp_path: Path) -> None:
    text = "policies: rules/mine.yaml\ncost_map: ../prices.json\nstore: {key_file: seal.key, url: 'sqlite:a.db'}\n"
    config = load_config(written(tmp_path, text))
    assert config.policies == config.policy_file == tmp_path / "rules/mine.yaml"
    assert config.cost_map == tmp_path / "../prices.json"
    assert config.store.key_file == tmp_path / "seal.key"
    assert config.store.path == Path("a.db")


def test_an_absolute_path_stays_what_it_is(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "policies: /etc/standby/p.yaml\n")).policies == Path("/etc/standby/p.yaml")


def test_a_file_that_is_not_there_or_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=rf"^{tmp_path}/none.yaml cannot be read: No such file or directory$"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigFault, match=rf"^{tmp_path} cannot be read: Is a directory$"):
        load_policy(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="is not UTF-8 text"):
        load_config(written(tmp_path, b"server: {host: \xff}"))


def test_a_mistake_names_the_file_and_the_line(tmp_path: Path) -> None:
    file = written(tmp_path, "server:\n  port: 8080\n  prot: 1\n")
    with pytest.raises(ConfigFault) as caught:
        load_config(file)
    assert caught.value.place == Place(str(file), 3)


def test_a_policy_is_loaded_whole(tmp_path: Path) -> None:
    policy = load_policy(written(tmp_path, "rules:\n- name: a\n  then: {deadline: 1h}\n- name: b\n"))
    assert [rule.name for rule in policy.rules] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("rules:\n- match: {model: x}\n", 2, "'name' is missing here"),
        ("rules:\n- name: a\n  match: {modell: x}\n", 3, "'modell' is unknown here: did you mean 'model'?"),
        ("rules:\n- name: a\n  match:\n    hours: 22-6\n", 4, "hours: '22-6' is no span of time; write 22:00-06:00"),
        ("rules:\n- name: a\n  match: {weekdays: [mon, day]}\n", 3, "'day' is not possible here"),
        ("rules:\n- name: a\n  then:\n    urgent: true\n    deadline: 1h\n", 4, "urgent: a rule cannot be urgent and"),
        ("rules:\n- name: a\n  then:\n    deadline: 0\n", 4, "deadline: 0.0 is not a time to wait"),
        ("default:\n  deadline_max: 1h\n  deadline_min: 2h\n", 3, "deadline_min: 7200.0 is over deadline_max 3600.0"),
        ("default:\n  deadline_min: 2h\n  deadline: 1h\n", 3, "deadline: 3600s is under deadline_min"),
        ("default: {tiers: [batch, cheap]}\n", 1, "'cheap' is not possible here: possible: batch, flex, priority"),
        ("default:\n  tiers: []\n", 2, "tiers: none is left"),
        ("rules:\n- name: a\n- name: b\n- name: a\n", 4, "rules.name: 'a' is taken already"),
        ("rules:\n- name: default\n", 2, "rules.name: 'default' is taken already"),
        ("rules:\n- name: Nightly Reports\n", 2, "name: 'Nightly Reports' is no rule name; use"),
        ("rule:\n- name: a\n", 1, "'rule' is unknown here: did you mean 'rules'?"),
    ],
)
def test_a_mistake_in_a_policy_names_its_line_and_what_would_be_right(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    file = written(tmp_path, text, "policy.yaml")
    with pytest.raises(ConfigFault) as caught:
        load_policy(file)
    assert caught.value.place == Place(str(file), line)
    assert words in caught.value.message


NIGHTLY = "rules:\n- name: nightly\n  match: {hours: '20:00-06:00'}\n  then: {deadline: 8h}\n"
PASSES = "tests:\n- name: at night it waits\n  request: {at: 23:00}\n  expect: {rule: nightly, deferred: true}\n"
FAILS = PASSES.replace("23:00", "12:00")


def test_a_policy_whose_tests_fail_is_refused_where_the_first_of_them_stands(tmp_path: Path) -> None:
    assert load_policy(written(tmp_path, NIGHTLY + PASSES, "right.yaml")).rules
    wrong = written(tmp_path, NIGHTLY + FAILS + FAILS.partition("\n")[2].replace("waits", "waits, too"), "wrong.yaml")
    with pytest.raises(ConfigFault) as caught:
        load_policy(wrong)
    assert str(caught.value) == (
        f"{wrong}:6: the test 'at night it waits' fails: rule is default and not nightly; deferred is false and not "
        "true (default: no_deadline) (1 more of its tests fail)"
    )


def test_the_tests_of_an_extended_file_are_run_on_it_alone(tmp_path: Path) -> None:
    written(tmp_path, NIGHTLY + PASSES, "base.yaml")
    own = "extends: base.yaml\nrules: [{name: all, then: {urgent: true}}]\n"
    assert load_policy(written(tmp_path, own, "own.yaml")).rules
    base = written(tmp_path, NIGHTLY + FAILS, "base.yaml")
    with pytest.raises(ConfigFault, match=rf"^{base}:6: the test 'at night it waits' fails"):
        load_policy(tmp_path / "own.yaml")


def test_tests_are_run_under_the_configured_prices(tmp_path: Path) -> None:
    tests = "tests:\n- name: t\n  request: {model: m, deadline: 4h}\n  expect: {tier: batch}\n"
    file = written(tmp_path, tests, "policy.yaml")
    assert load_policy(file).file.tests
    dear = ModelPrice(standard=TierPrice(Decimal(1), Decimal(1)))
    with pytest.raises(ConfigFault, match="not_sold_as_batch"):
        load_policy(file, Conditions(PriceBook.from_cost_map({}, {"m": dear}, "a test")))


def test_an_environment_variable_that_is_empty_says_nothing() -> None:
    assert said_by({"A": ""}, "A") is None
    assert said_by({}, "A") is None
    assert said_by({"A": "x"}, "A") == "x"

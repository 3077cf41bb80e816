"""The JSON Schema: what loads is valid by it, what is mistyped is not, and it says what the docstrings say."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import written_name
from proxy.config.schema import field_texts, schema_of
from proxy.config.settings import Config
from proxy.config.sizes import SIZE, parse_size
from proxy.config.tree import Mapping, Node, Scalar, parse
from proxy.routing.policy import Match, PolicyFile, Then
from proxy.wire.durations import DURATION, parse_duration

REPOSITORY = Path(__file__).parent.parent.parent
POLICY = schema_of(PolicyFile, "A policy")


def plain(node: Node) -> object:
    """A tree as JSON, as an editor reads it: YAML 1.2 knows no times and no _ in numbers."""
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.entries}
    if isinstance(node, Scalar):
        return node.text if isinstance(node.value, int) and "_" in node.text else node.value
    return [plain(item) for item in node.items]


def mistakes(text: str, schema: dict[str, Any] = POLICY) -> list[str]:
    validator = jsonschema.Draft7Validator(schema)
    return [error.json_path for error in validator.iter_errors(plain(parse(text, "file.yaml")))]


def definition(wanted: type) -> dict[str, Any]:
    found: dict[str, Any] = POLICY["definitions"][f"{wanted.__module__.removeprefix('proxy.')}.{wanted.__name__}"]
    return found


def classes_in(wanted: Any) -> Iterator[type]:
    if isinstance(wanted, type) and is_dataclass(wanted):
        yield wanted
        for hint in get_type_hints(wanted).values():
            yield from classes_in(hint)
    for argument in get_args(wanted):
        yield from classes_in(argument)


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(POLICY)
    assert POLICY["description"].startswith("A policy: ")


@pytest.mark.parametrize("wanted", sorted(set(classes_in(PolicyFile)), key=str), ids=lambda wanted: wanted.__name__)
def test_every_field_of_a_policy_says_what_it_means_in_the_files_own_words(wanted: type) -> None:
    schema = POLICY if wanted is PolicyFile else definition(wanted)
    assert schema["properties"].keys() == {written_name(field.name) for field in fields(wanted)}
    assert field_texts(wanted).keys() == {field.name for field in fields(wanted)}
    for name, told in schema["properties"].items():
        assert len(told["description"]) > 10, name
        assert "_seconds" not in told["description"]
        assert "`" not in told["description"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rules:",
        "rules: {name: a}",
        "rules: [{name: a, match: {model: gpt*, tools: true}, then: }]",
        "rules: [{name: a, match: {weekdays: [mon, tue], hours: 22:00-24:00, timezone: Europe/Berlin}}]",
        "rules: [{name: a, match: {header: {X-App: 7}, input_tokens_min: 2_000, output_tokens_max: 10}}]",
        "default: {deadline: 4h, deadline_min: 90, deadline_max: 1h30m, tiers: batch, delivery: null}",
        "default: {budget: {usd_per_day: 50}, retention: 3d, mode: observe, on_miss: wait, confidence: 0.9}",
        "default: {budget: {usd_per_day: 0.50, over: refuse}, mode: null}",
        "extends: base.yaml\ntimezone: UTC\ntests: [{name: t, request: {at: mon 23:00}, expect: {deadline: 1H}}]",
        "tests: {name: t, request: {at: 2026-11-23T23:00:00Z, deadline: 90}, expect: {tiers: [batch]}}",
        "tests: [{name: t, request: {at: sun, metadata: {a: true}}, expect: {budget: {usd_per_day: 1}}}]",
    ],
)
def test_what_a_policy_may_say_is_valid(text: str) -> None:
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("rule: []", "$"),
        ("rules: [{nam: a}]", "$.rules"),
        ("rules: [{match: {model: x}}]", "$.rules"),
        ("rules: [{name: Nightly Reports}]", "$.rules"),
        ("rules: [{name: a, match: {modell: x}}]", "$.rules"),
        ("rules: [{name: a, match: {hours: 22-6}}]", "$.rules"),
        ("rules: [{name: a, match: {weekdays: [someday]}}]", "$.rules"),
        ("rules: [{name: a, match: {stream: maybe}}]", "$.rules"),
        ("rules: [{name: a, match: {input_tokens_min: many}}]", "$.rules"),
        ("default: {deadline: soon}", "$.default.deadline"),
        ("default: {deadline: -5}", "$.default.deadline"),
        ("default: {deadline: [1h]}", "$.default.deadline"),
        ("default: {tiers: [cheap]}", "$.default.tiers"),
        ("default: {budget: {usd_per_day: much}}", "$.default.budget"),
        ("default: {budget: {over: refuse}}", "$.default.budget"),
        ("default: {mode: maybe}", "$.default.mode"),
        ("default: {confidence: high}", "$.default.confidence"),
        ("default: {urgent: yes please}", "$.default.urgent"),
        ("tests: [{name: t}]", "$.tests"),
        ("tests: [{name: t, request: {at: tomorrow}, expect: {rule: a}}]", "$.tests"),
        ("tests: [{name: t, expect: {tier: fast}}]", "$.tests"),
        ("- rules", "$"),
    ],
)
def test_what_is_mistyped_is_not(text: str, path: str) -> None:
    assert mistakes(text) == [path]


def test_the_whole_configuration_can_be_described_too() -> None:
    schema = schema_of(Config, "The configuration")
    jsonschema.Draft7Validator.check_schema(schema)
    assert mistakes((REPOSITORY / "config.yaml").read_text(), schema) == []
    assert mistakes("batching: {look: soon}", schema) == ["$.batching.look"]
    assert mistakes("server: {body_max: 64 apples}", schema) == ["$.server.body_max"]


def test_what_a_field_has_without_being_named_is_told_where_it_is_short() -> None:
    then, match = definition(Then)["properties"], definition(Match)["properties"]
    assert (then["tiers"]["default"], then["on_miss"]["default"]) == (["batch", "flex", "standard"], "escalate")
    assert [name for name, told in match.items() if "default" in told] == []
    assert written_name("deadline_seconds") in then
    assert {Match, Then} <= set(classes_in(PolicyFile))


DURATIONS = st.from_regex(rf"\A(?:{DURATION})\Z") | st.text(alphabet="0123456789.smhdwSMHDW ", max_size=8)
SIZES = st.from_regex(rf"\A(?:{SIZE})\Z") | st.text(alphabet="0123456789.kKmMiIbBgG", max_size=6)


@given(text=DURATIONS)
def test_the_pattern_of_durations_is_what_is_read_as_one(text: str) -> None:
    assert (re.fullmatch(DURATION, text) is not None) is (parse_duration(text) is not None and text == text.strip())


@given(text=SIZES)
def test_the_pattern_of_sizes_is_what_is_read_as_one(text: str) -> None:
    assert (re.fullmatch(SIZE, text) is not None) is (parse_size(text) is not None)

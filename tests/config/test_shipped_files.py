"""`config.yaml` and `policies/default.yaml` as they are shipped: they say what is true, and all of it."""

import re
from collections import defaultdict
from collections.abc import Mapping as AbstractMapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from proxy.config.decode import decode, written_name
from proxy.config.load import load_config, load_policy
from proxy.config.settings import Config, check
from proxy.config.shipped import default_policy
from proxy.config.tree import Mapping, Node, Sequence, parse
from proxy.domain.decision import Delivery
from proxy.routing.policy import Facts, PolicyFile, Then
from proxy.routing.terms import Terms

REPOSITORY = Path(__file__).parent.parent.parent
CONFIG = REPOSITORY / "config.yaml"
POLICY = REPOSITORY / "policies" / "default.yaml"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def with_examples(file: Path) -> str:
    """The file with its examples taken in: the # lines that are not for reading."""
    return re.sub(r"^#(?! \S)", "", file.read_text(), flags=re.MULTILINE)


def names_by_class(node: Node, wanted: Any, found: dict[type, set[str]]) -> dict[type, set[str]]:
    """Which names a file gives to each class of settings, all its occurrences together."""
    if isinstance(wanted, type) and is_dataclass(wanted) and isinstance(node, Mapping):
        hints = {written_name(name): hint for name, hint in get_type_hints(wanted).items()}
        for key, value in node.entries:
            found[wanted].add(key.text)
            names_by_class(value, hints[key.text], found)
        return found
    nodes: tuple[Node, ...] = (node,)
    if isinstance(node, Sequence):
        nodes = node.items
    elif isinstance(node, Mapping) and get_origin(wanted) is AbstractMapping:
        nodes = tuple(value for _, value in node.entries)
    for inner in nodes:
        for argument in get_args(wanted):
            names_by_class(inner, argument, found)
    return found


def settings_classes(wanted: Any) -> set[type]:
    """A class of settings and all that it is made of."""
    if isinstance(wanted, type) and is_dataclass(wanted):
        inner = (settings_classes(hint) for hint in get_type_hints(wanted).values())
        return {wanted}.union(*inner)
    return set[type]().union(*(settings_classes(argument) for argument in get_args(wanted)))


def facts(**changes: Any) -> Facts:
    plain: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "endpoint": "/v1/chat/completions",
        "tenant": "t",
        "key": "",
        "headers": {},
        "metadata": {},
        "stream": False,
        "has_tools": False,
        "input_tokens": 100,
        "output_tokens": None,
        "local_time": NOON,
    }
    return Facts(**(plain | changes))


def test_config_yaml_is_the_built_in_defaults_to_the_letter() -> None:
    config = load_config(CONFIG)
    assert config == Config()
    check(config, {})


def test_config_yaml_shows_every_setting_that_there_is() -> None:
    shown = names_by_class(parse(with_examples(CONFIG), "config.yaml"), Config, defaultdict(set))
    assert shown == {
        settings: {written_name(field.name) for field in fields(settings)} for settings in settings_classes(Config)
    }


def test_the_examples_of_config_yaml_can_be_used_as_they_are() -> None:
    config = decode(parse(with_examples(CONFIG), "config.yaml"), Config)
    assert [upstream.name for upstream in config.upstreams] == ["openai", "own-machine"]
    assert [key.tenant for key in config.keys] == ["analytics"]
    assert config.prices.keys() == {"llama-3.3-70b"}


@pytest.mark.parametrize("settings", sorted(settings_classes(Config) | settings_classes(PolicyFile), key=str))
def test_no_two_settings_of_a_class_are_written_alike(settings: type) -> None:
    names = [written_name(field.name) for field in fields(settings)]
    assert len(names) == len(set(names))


def test_the_shipped_policy_defers_nobody_by_surprise() -> None:
    assert default_policy() == POLICY
    terms = load_policy(POLICY).terms(facts())
    assert terms == Terms(deadline_max_seconds=86_400.0)


def test_the_shipped_policy_shows_every_term() -> None:
    shown = names_by_class(parse(POLICY.read_text(), "default.yaml"), PolicyFile, defaultdict(set))
    assert shown[Then] == {written_name(field.name) for field in fields(Then)}


def test_the_examples_of_the_shipped_policy_do_what_they_say(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(with_examples(POLICY))
    policy = load_policy(file)
    assert policy.terms(facts()).policy == "default"
    browser = policy.terms(facts(headers={"user-agent": "Mozilla/5.0 (X11)"}, tenant="analytics"))
    assert (browser.policy, browser.urgent) == ("interactive", True)
    at_night = NOON.replace(hour=23)
    report = policy.terms(facts(tenant="analytics", local_time=at_night))
    assert (report.policy, report.default_deadline_seconds, report.deadline_max_seconds) == (
        "nightly-reports",
        8 * 3600.0,
        12 * 3600.0,
    )
    assert policy.terms(facts(tenant="analytics")).policy == "default"
    large = facts(model="text-embedding-3-small", endpoint="/v1/embeddings", input_tokens=2000)
    assert (policy.terms(large).policy, policy.terms(large).delivery) == ("embeddings", Delivery.HOLD)

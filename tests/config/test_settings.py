import hashlib
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from proxy.config.decode import decode
from proxy.config.settings import (
    BatchCapabilities,
    Config,
    StoreSettings,
    UpstreamSettings,
    check,
    read_operator_key,
    shown_url,
    with_overrides,
)
from proxy.config.tree import parse
from proxy.domain.errors import ConfigFault

KEYED = f"keys: [{{name: a, tenant: t, sha256: '{hashlib.sha256(b'k').hexdigest()}'}}]\n"


def read(text: str) -> Config:
    return decode(parse(text, "f.yaml"), Config)


def refusal(text: str, environ: Mapping[str, str] | None = None) -> str:
    """What is wrong with a file, alone or in an environment."""
    with pytest.raises(ConfigFault) as caught:
        check(read(text), environ or {})
    return str(caught.value)


def test_the_defaults_stand_in_front_of_openai_on_this_machine_only_with_the_clients_own_keys() -> None:
    config = Config()
    check(config, {})
    assert [upstream.base_url for upstream in config.upstreams] == ["https://api.openai.com/v1"]
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    assert config.keys == ()
    assert config.upstreams[0].api_key_env is None
    assert config.timezone is UTC


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("upstreams:\n", "f.yaml:1: upstreams: at least one is needed"),
        (
            "upstreams:\n- name: a\n- name: b\n- base_url: http://x/v1\n  name: a\n",
            "f.yaml:5: upstreams.name: number 1 of upstreams has the same; keep one of them",
        ),
        ("upstreams:\n- name: ''\n", "f.yaml:2: name: must not be empty"),
        ("upstreams:\n- connect: 0\n", "f.yaml:2: connect: must be more than 0 seconds, such as 60s"),
        ("upstreams:\n- call: 0s\n", "f.yaml:2: call: must be more than 0 seconds, such as 60s"),
        (
            "upstreams:\n- name: a\n  batches:\n    endpoints: [chat/completions]\n",
            "f.yaml:4: endpoints: 'chat/completions' is no path; write it as /v1/chat/completions",
        ),
        (
            "upstreams:\n- batches: {lines_max: 0}\n",
            "f.yaml:2: lines_max: 0 is no limit to work under; give at least 1",
        ),
        ("upstreams:\n- batches: {body_max: 0}\n", "f.yaml:2: body_max: 0 is no limit to work under; give at least 1"),
        (
            "upstreams:\n- batches: {window: a day}\n",
            "f.yaml:2: window: 'a day' is no completion window; write it as the provider does: 24h",
        ),
        (
            "virtual_batches:\n  lines_max: 0\n",
            "f.yaml:2: lines_max: 0 is no limit to work under; give at least 1",
        ),
        ("virtual_batches:\n  look: 0s\n", "f.yaml:2: look: must be more than 0 seconds, such as 1s"),
        ("virtual_batches:\n  retention: 0s\n", "f.yaml:2: retention: must be more than 0 seconds, such as 7d"),
        (
            "batching:\n  escalate:\n    service: 1s\n    margin: 5s\n",
            "f.yaml:4: batching.escalate.margin: 5s is less than batching.look, 10s, so a deadline could pass between "
            "two looks; give a longer margin or a shorter look",
        ),
    ],
)
def test_a_mistake_names_its_line_and_what_would_be_right(text: str, told: str) -> None:
    assert refusal(text) == told


def test_waiting_times_may_be_fractions_of_a_second() -> None:
    text = "batching: {look: 100ms, tick: 10ms, cut: {age: 200ms}, poll: {min: 50ms, max: 1s, closing: 50ms}, "
    config = read(
        text
        + "escalate: {margin: 300ms}}\nplanner: {batches: {prior_median: 0.5}}\nserver: {hold: {heartbeat: 500ms}}\n"
    )
    check(config, {})
    assert config.batching.escalate.margin_seconds == 0.3


@pytest.mark.parametrize(
    "url",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "http://",
        "https:///v1",
        "http://h:port/v1",
        "http://h:99999/v1",
        "http://[x",
    ],
)
def test_a_base_url_that_cannot_be_called_is_refused(url: str) -> None:
    told = refusal(f"upstreams:\n- name: a\n  base_url: '{url}'\n")
    assert told.startswith("f.yaml:3: base_url: ")
    assert told.endswith("write it as for an SDK, such as https://api.openai.com/v1")


@pytest.mark.parametrize("url", ["http://h/v1?key=secret", "http://h/v1#secret"])
def test_a_base_url_ends_with_its_path_and_what_follows_is_not_repeated(url: str) -> None:
    told = refusal(f"upstreams: [{{base_url: '{url}'}}]")
    assert told == "f.yaml:1: base_url: must end with its path; take out what follows the ? or #"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9100/v1", "https://h/v1/", "http://[::1]:80/v1", "HTTPS://H"])
def test_a_base_url_for_an_sdk_is_taken_as_it_is(url: str) -> None:
    assert read(f"upstreams: [{{base_url: '{url}'}}]").upstreams[0].base_url == url


@pytest.mark.parametrize(
    "text",
    [
        "upstreams: [{base_url: 'https://user:sk-secret@host/v1'}]",
        "upstreams: [{api_key_env: sk-secret-123}]",
        "upstreams: [{headers: {Authorization: Bearer sk-secret}}]",
        "upstreams: [{headers: {api-key: sk-secret}}]",
        "upstreams: [{headers: {X-API-Key: sk-secret}}]",
        KEYED + "upstreams: [{api_key_env: 'sk-secret'}]",
        "keys: [{name: a, tenant: t, sha256: sk-secret}]",
    ],
)
def test_a_secret_in_the_file_is_refused_and_never_repeated(text: str) -> None:
    assert "secret" not in refusal(text)


@pytest.mark.parametrize("header", ["'X Y': a", 'X-Y: "a\\nb"', "'': a", "X-Ü: a"])
def test_a_header_that_cannot_be_sent_is_refused(header: str) -> None:
    told = refusal(f"upstreams:\n- name: a\n  headers:\n    {header}\n")
    assert told.startswith("f.yaml:")
    assert "this cannot be sent as a header" in told


def test_a_key_is_configured_once() -> None:
    hashed = hashlib.sha256(b"k").hexdigest()
    same = f"keys:\n- {{name: a, tenant: t, sha256: {hashed}}}\n- {{name: b, tenant: u, sha256: {hashed}}}\n"
    assert refusal(same) == "f.yaml:3: keys.sha256: number 1 of keys has the same; keep one of them"
    named = same.replace("name: b", "name: a").replace(hashed, "0" * 64, 1)
    assert refusal(named) == "f.yaml:3: keys.name: number 1 of keys has the same; keep one of them"


def test_a_key_cannot_give_no_time_at_all() -> None:
    text = f"keys:\n- name: a\n  tenant: t\n  sha256: '{'0' * 64}'\n  deadline: 0\n"
    assert refusal(text) == "f.yaml:5: keys.deadline: 0s is not a time to wait; give more, or leave it out"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://", "is no Redis URL; write redis://HOST:PORT/DB"),
        ("redis://h:99999/0", "is no Redis URL"),
        ("redis://h/standby", "'redis://h/standby' is no Redis URL"),
        ("redis://u:hunter2@h/0?x=1", "'redis://u:***@h/0?x=1' is no Redis URL"),
        ("mongodb://u:hunter2@h:27017", "'mongodb://u:***@h:27017' is no store"),
        ("postgres://h/db", "is no store; write sqlite:PATH, such as sqlite:standby.db"),
        ("standby.db", "is no store"),
        ("sqlite:", "is no store"),
        ("sqlite::memory:", "would lose what was accepted"),
        ("sqlite://standby.db", "would be an absolute path"),
    ],
)
def test_a_store_that_is_none_is_refused(url: str, words: str) -> None:
    told = refusal(f"store:\n  url: '{url}'\n")
    assert told.startswith("f.yaml:2: url: ")
    assert words in told
    assert "hunter2" not in told
    with pytest.raises(ConfigFault, match=r"write (sqlite:PATH|redis://HOST:PORT/DB)"):
        with_overrides(Config(), store=url)


def test_a_redis_store_is_for_many_and_its_secret_is_where_one_looks_for_it() -> None:
    store = StoreSettings("rediss://user:word@redis.internal:6380/2")
    assert store.is_redis
    assert store.secret_file == Path("standby.key")
    assert StoreSettings("sqlite:/var/lib/standby.db").secret_file == Path("/var/lib/standby.key")
    assert shown_url(store.url) == "rediss://user:***@redis.internal:6380/2"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("namespace: ''", "namespace: must be a word without braces"),
        ("namespace: 'a{b}'", "without braces"),
        ("ledger_days: 0", "must be at least 1"),
        ("replicas: {lease: 2s, share: 1s}", "share: must be more than 0 seconds, and at most a third of lease"),
    ],
)
def test_settings_of_a_shared_store_that_cannot_work_are_refused(line: str, words: str) -> None:
    assert words in refusal(f"store:\n  {line}\n")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:standby.db", Path("standby.db")),
        ("sqlite:/var/lib/standby.db", Path("/var/lib/standby.db")),
        ("sqlite:///var/lib/standby.db", Path("/var/lib/standby.db")),
        ("sqlite:~/standby.db", Path.home() / "standby.db"),
    ],
)
def test_an_sqlite_store_is_a_file(url: str, path: Path) -> None:
    assert StoreSettings(url).path == path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "proxy.example"])
def test_without_keys_the_network_is_only_let_in_when_told_so(host: str) -> None:
    told = refusal(f"server: {{host: '{host}'}}")
    assert f"listening on {host} without proxy keys" in told
    assert "--open-to-network" in told
    check(read(f"server: {{host: '{host}', open_to_network: true}}"), {})
    check(with_overrides(Config(), host=host, open_to_network=True), {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_machine_may_always_use_the_proxy(host: str) -> None:
    check(with_overrides(Config(), host=host), {})


def test_with_keys_the_network_is_let_in() -> None:
    check(read(KEYED + "server: {host: 0.0.0.0}\nupstreams: [{api_key_env: OPENAI_API_KEY}]"), {"OPENAI_API_KEY": "k"})


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}])
def test_a_variable_that_should_hold_a_key_and_does_not_is_named(environ: dict[str, str]) -> None:
    told = refusal(KEYED + "upstreams: [{api_key_env: OPENAI_API_KEY}]", environ)
    assert told == "upstream 'openai': the environment variable OPENAI_API_KEY (api_key_env) is not set"


def test_proxy_keys_need_a_key_that_buys_at_every_upstream() -> None:
    upstreams = "upstreams: [{api_key_env: K}, {name: other}]"
    assert "upstream 'other' needs api_key_env" in refusal(KEYED + upstreams, {"K": "x"})


WEBHOOKS = "webhooks: {hosts: [hooks.example.com]}\n"
WEBHOOK_SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def test_webhooks_need_a_right_secret_which_is_never_repeated() -> None:
    check(read(WEBHOOKS), {"STANDBY_WEBHOOK_SECRET": WEBHOOK_SECRET})
    assert "STANDBY_WEBHOOK_SECRET is not set" in refusal(WEBHOOKS, {})
    wrong = refusal(WEBHOOKS, {"STANDBY_WEBHOOK_SECRET": "hunter2-hunter2"})
    assert "whsec_ and at least 24" in wrong
    assert "hunter2" not in wrong


def test_where_every_tenant_has_a_webhook_secret_of_its_own_no_other_is_needed() -> None:
    file = WEBHOOKS + KEYED.replace("sha256:", "webhook_secret_env: MINE, sha256:") + "upstreams: [{api_key_env: K}]"
    check(read(file), {"K": "x", "MINE": WEBHOOK_SECRET})
    assert "MINE is not set" in refusal(file, {"K": "x"})


OPERATORS = "operator-of-this-proxy"


def test_an_operators_key_is_read_from_the_variable_that_is_named() -> None:
    config = read("server: {operator_key_env: MINE}")
    operator = read_operator_key(config, {"MINE": OPERATORS})
    assert operator.is_shown({"authorization": f"Bearer {OPERATORS}"})
    assert not read_operator_key(config, {"STANDBY_OPERATOR_KEY": OPERATORS}).is_shown({"api-key": OPERATORS})
    assert not read_operator_key(config, {"MINE": ""}).is_shown({"api-key": ""})


def test_an_operators_key_that_is_unsafe_is_refused_and_not_repeated() -> None:
    told = refusal("", {"STANDBY_OPERATOR_KEY": "hunter2"})
    assert told.startswith("STANDBY_OPERATOR_KEY (server.operator_key_env) must have at least 16 characters")
    assert "hunter2" not in told
    file = KEYED.replace(hashlib.sha256(b"k").hexdigest(), hashlib.sha256(OPERATORS.encode()).hexdigest())
    as_proxy_key = refusal(file + "upstreams: [{api_key_env: K}]", {"K": "x", "STANDBY_OPERATOR_KEY": OPERATORS})
    as_upstreams = refusal("upstreams: [{api_key_env: K}]", {"K": OPERATORS, "STANDBY_OPERATOR_KEY": OPERATORS})
    for told in (as_proxy_key, as_upstreams):
        assert "holds a key that buys; the operator needs another one" in told
        assert OPERATORS not in told


def test_an_operators_key_itself_does_not_belong_into_the_file() -> None:
    told = refusal("server: {operator_key_env: sk-operator-of-this-proxy}")
    assert told == "f.yaml:1: operator_key_env: must be the name of a variable, such as STANDBY_OPERATOR_KEY"


def test_the_command_line_overrides_the_file() -> None:
    config = read("server: {host: 10.0.0.1, port: 1, drain: 7s}\nupstreams: [{name: a, models: x}, {name: b}]")
    changed = with_overrides(config, host="::1", port=2, store="sqlite:x.db", upstream="http://h/v1")
    assert (changed.server.host, changed.server.port, changed.server.drain_seconds) == ("::1", 2, 7.0)
    assert changed.store.url == "sqlite:x.db"
    first, second = changed.upstreams
    assert (first.name, first.base_url, first.models) == ("a", "http://h/v1", ("x",))
    assert second == config.upstreams[1]


def test_nothing_said_on_the_command_line_changes_nothing() -> None:
    config = read("server: {open_to_network: true, port: 5}")
    assert with_overrides(config) == config
    assert with_overrides(config, open_to_network=False).server.open_to_network is False
    assert with_overrides(config, port=0).server.port == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [({"upstream": "localhost:9100"}, "is no base URL"), ({"port": 70_000}, "is no TCP port")],
)
def test_a_command_line_that_cannot_be_meant_is_refused(override: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigFault, match=words):
        with_overrides(Config(), **override)


def test_a_completion_window_is_kept_as_the_provider_spells_it() -> None:
    assert BatchCapabilities().window_seconds == 86_400.0
    capabilities = read("upstreams: [{batches: {window: 7d}}]").upstreams[0].batches
    assert (capabilities.window, capabilities.window_seconds) == ("7d", 604_800.0)


def test_settings_made_in_code_are_checked_as_well() -> None:
    with pytest.raises(ValueError, match=r"^base_url: "):
        UpstreamSettings(base_url="")

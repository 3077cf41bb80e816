"""The page at `/` is everybody's and holds nothing; its data is the operator's alone."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from proxy.server.operator import OVERVIEW, PAGE, content_policy
from tests.world import World, play

OPERATORS = "operator-of-this-proxy"
ENVIRON = {"STANDBY_OPERATOR_KEY": OPERATORS}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_operator_key"),
        ({"Authorization": "Bearer sk-alice"}, "invalid_operator_key"),
        ({"Authorization": f"Bearer {OPERATORS[:-1]}"}, "invalid_operator_key"),
        ({"Cookie": f"key={OPERATORS}"}, "missing_operator_key"),
    ],
)
def test_nobody_else_sees_the_data(tmp_path: Path, headers: dict[str, str], code: str) -> None:
    async def story(world: World) -> None:
        for method in ("GET", "POST", "DELETE"):
            answer = await world.send(method, OVERVIEW, headers=headers)
            assert (answer.status, answer.json["error"]["code"]) == (401, code)
            assert OPERATORS not in answer.body.decode()

    play(tmp_path, story, environ=ENVIRON)


def test_where_no_key_is_set_nobody_is_the_operator(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for headers in ({}, {"Authorization": "Bearer "}, {"api-key": "anything"}):
            answer = await world.send("GET", OVERVIEW, headers=headers)
            assert (answer.status, answer.json["error"]["code"]) == (401, "no_operator")
            assert "set STANDBY_OPERATOR_KEY to a long random word" in answer.json["error"]["message"]

    play(tmp_path, story)


def test_the_operator_sees_everything_but_no_body_and_no_key(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await world.ask("a secret prompt", key="sk-alice")).status == 200
        await world.ask("another secret prompt", key="sk-bob", deadline="4h", headers={"Prefer": "respond-async"})
        answer = await world.send("GET", OVERVIEW, headers={"Authorization": f"Bearer {OPERATORS}"})
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.json["replica"]["decisions"]) == 2
        said = answer.body.decode()
        for secret in ("secret", "sk-alice", "sk-bob", OPERATORS):
            assert secret not in said

    play(tmp_path, story, environ=ENVIRON)


def test_the_data_can_only_be_read(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        headers = {"x-api-key": OPERATORS}
        assert (await world.send("HEAD", OVERVIEW, headers=headers)).status == 200
        for method in ("POST", "PUT", "DELETE"):
            answer = await world.send(method, OVERVIEW, headers=headers)
            assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")

    play(tmp_path, story, environ=ENVIRON)


def test_a_browser_gets_the_page_without_a_key_and_it_may_load_nothing_else(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.send("GET", "/", headers=BROWSER)
        assert (answer.status, answer.body) == (200, PAGE)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert policy == content_policy(PAGE)
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    play(tmp_path, story)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_curl_and_machines_get_a_few_words(tmp_path: Path, accept: str | None) -> None:
    async def story(world: World) -> None:
        answer = await world.send("GET", "/", headers={"Accept": accept} if accept else {})
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        front = json.loads(answer.body)
        assert front["service"] == "standby"
        for route in ("health", "readiness", "metrics"):
            assert (await world.send("GET", front[route])).status == 200

    play(tmp_path, story)


def test_only_the_root_itself_is_the_page(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for method, path in (("GET", "/index.html"), ("GET", "//"), ("POST", "/"), ("GET", "/operator")):
            answer = await world.send(method, path, headers=BROWSER)
            assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_url")

    play(tmp_path, story)


def test_the_policy_names_the_pages_own_script_and_style_by_their_hashes() -> None:
    page = b"<style>a{}</style><script>b()</script>"
    script = base64.b64encode(hashlib.sha256(b"b()").digest()).decode()
    style = base64.b64encode(hashlib.sha256(b"a{}").digest()).decode()
    policy = content_policy(page)
    assert f"script-src 'sha256-{script}';" in policy
    assert f"style-src 'sha256-{style}';" in policy


def test_the_page_loads_nothing_from_anywhere_and_sets_text_as_text() -> None:
    page = PAGE.decode()
    addresses = set(re.findall(r"https?://[^\s\"')]+", page))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}, "names of languages, no links"
    assert page.count("<script") == page.count("<style") == 1
    for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", ' style="', " onclick="):
        assert danger not in page
    assert "sessionStorage" in page
    assert "localStorage" not in page

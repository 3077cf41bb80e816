"""The shape of every answer: keys, ids, headers, errors, unknown paths."""

import io
from typing import Any

import pytest

from proxy.emulator.settings import Settings


def test_a_call_without_a_key_is_refused_in_openais_shape(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.call("POST", "/v1/chat/completions", {}, headers={"Authorization": ""})
        assert got.status == 401
        assert set(got.json["error"]) == {"message", "type", "param", "code"}
        assert got.json["error"]["type"] == "invalid_request_error"

    play(story)


def test_with_a_list_of_keys_any_other_key_is_refused(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat(key="sk-known")).status == 200
        got = await site.chat(key="sk-other")
        assert (got.status, got.json["error"]["code"]) == (401, "invalid_api_key")

    play(story, keys=frozenset({"sk-known"}))


def test_every_answer_carries_its_own_request_id_even_refusals(play: Any) -> None:
    async def story(site: Any) -> None:
        ids = set()
        for path in ("/v1/models", "/v1/models", "/v1/nothing", "/v1/files/none", "/emulator/account"):
            got = await site.call("GET", path)
            assert got.headers["x-request-id"].startswith("req_")
            assert got.headers["openai-processing-ms"].isdigit()
            assert got.headers["openai-organization"] == "org-emulator"
            ids.add(got.headers["x-request-id"])
        assert len(ids) == 5

    play(story)


def test_unknown_paths_and_methods_are_refused_in_openais_shape(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.call("GET", "/v1/nothing")
        assert (got.status, got.json["error"]["code"]) == (404, "unknown_url")
        assert "GET /v1/nothing" in got.json["error"]["message"]
        got = await site.call("GET", "/v1/chat/completions")
        assert (got.status, got.json["error"]["code"]) == (405, "method_not_supported")

    play(story)


def test_a_body_that_is_no_json_object_is_refused(play: Any) -> None:
    async def story(site: Any) -> None:
        for body in (b"{", b"[]", b"", b'{"a": NaN}', b"\xff"):
            got = await site.call("POST", "/v1/chat/completions", data=body)
            assert got.status == 400
            assert "could not parse the JSON body" in got.json["error"]["message"]

    play(story)


def test_models_are_listed_and_looked_up(play: Any) -> None:
    async def story(site: Any) -> None:
        listed = [model["id"] for model in (await site.call("GET", "/v1/models")).json["data"]]
        assert "gpt-4o-mini" in listed
        assert (await site.call("GET", "/v1/models/gpt-4o-mini")).json["object"] == "model"
        got = await site.call("GET", "/v1/models/claude")
        assert (got.status, got.json["error"]["code"]) == (404, "model_not_found")

    play(story)


def test_configured_models_are_the_only_ones(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat(model="house-model")).status == 200
        got = await site.chat(model="gpt-4o-mini")
        assert (got.status, got.json["error"]["code"]) == (404, "model_not_found")

    play(story, models=("house-model",))


def test_the_account_counts_routes_and_statuses(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.chat()
        await site.chat()
        await site.chat(model="nobody")
        account = await site.emulator.account()
        assert account["routes"]["chat"] == {"200": 2, "404": 1}
        assert account["rate_limited"] == 0

    play(story)


def test_two_emulators_with_one_seed_tell_the_same_story(play: Any) -> None:
    told: list[object] = []

    async def story(site: Any) -> None:
        told.append((await site.chat("same")).json)
        told.append((await site.batch([{"custom_id": "a"}]))["id"])

    play(story, seed=7)
    play(story, seed=7)
    play(story, seed=8)
    assert told[0:2] == told[2:4]
    assert told[1] != told[5]


def test_a_json_body_over_the_limit_is_refused(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.call("POST", "/v1/chat/completions", data=io.BytesIO(b"x" * (64 * 1024 * 1024 + 1)))
        assert (got.status, got.json["error"]["code"]) == (413, "request_too_large")

    play(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_scale": 0},
        {"flex_refusal_probability": 1.5},
        {"cancelling_seconds": 601},
        {"rpm": 0},
        {"latency_seconds": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)

"""Strictness: what is refused, over HTTP, with which argument and code."""

from typing import Any

import pytest

USER = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "f"}}
CHAT_REFUSALS: list[tuple[dict[str, object], int, str | None]] = [
    ({"model": None}, 400, "model"),
    ({"model": 7}, 400, "model"),
    ({"model": "nobody"}, 404, None),
    ({"model": "text-embedding-3-small"}, 404, "model"),
    ({"model": "gpt-5-codex"}, 404, "model"),
    ({"messages": None}, 400, "messages"),
    ({"messages": "hi"}, 400, "messages"),
    ({"messages": []}, 400, "messages"),
    ({"messages": ["hi"]}, 400, "messages[0]"),
    ({"messages": [{"content": "hi"}]}, 400, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "hi"}]}, 400, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, 400, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, 400, "messages[0].content[0].type"),
    ({"messages": [USER, {"role": "tool", "tool_call_id": "x", "content": "y"}]}, 400, "messages[1]"),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": [FUNCTION]}, {"role": "tool", "content": "y"}]},
        400,
        "messages[2].tool_call_id",
    ),
    ({"temperature": 3}, 400, "temperature"),
    ({"temperature": "hot"}, 400, "temperature"),
    ({"n": 0}, 400, "n"),
    ({"n": True}, 400, "n"),
    ({"max_tokens": 1.5}, 400, "max_tokens"),
    ({"max_tokens": 10, "max_completion_tokens": 10}, 400, "max_tokens"),
    ({"max_tokens": 10, "model": "gpt-5-mini"}, 400, "max_tokens"),
    ({"max_tokens": 1_000_000}, 400, "max_tokens"),
    ({"messages": [{"role": "user", "content": "x" * 520_000}]}, 400, "messages"),
    ({"stream": "yes"}, 400, "stream"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    ({"service_tier": "cheapest"}, 400, "service_tier"),
    ({"service_tier": "scale"}, 400, "service_tier"),
    ({"logprobs": True}, 400, "logprobs"),
    ({"modalities": ["audio"]}, 400, "modalities"),
    ({"tool_choice": "auto"}, 400, "tool_choice"),
    ({"tools": [{"type": "function"}]}, 400, "tools[0].function.name"),
    ({"tools": [{"type": "magic"}]}, 400, "tools"),
    ({"response_format": {"type": "xml"}}, 400, "response_format.type"),
    ({"response_format": {"type": "json_object"}}, 400, "messages"),
    ({"response_format": {"type": "json_schema"}}, 400, "response_format.json_schema.name"),
    ({"metadata": {"a": 1}}, 400, "metadata.a"),
    ({"metadata": {"a": "x" * 513}}, 400, "metadata"),
    ({"metadata": {"k" * 65: "x"}}, 400, "metadata"),
    ({"metadata": {str(n): "x" for n in range(17)}}, 400, "metadata"),
    ({"deadline": "2h"}, 400, None),
    ({"priority": 0}, 400, None),
]


@pytest.mark.parametrize(("change", "status", "param"), CHAT_REFUSALS)
def test_a_wrong_chat_request_is_refused_unbilled(
    play: Any, change: dict[str, object], status: int, param: str | None
) -> None:
    async def story(site: Any) -> None:
        got = await site.chat(**change)
        assert (got.status, got.json["error"]["param"]) == (status, param)
        assert got.json["error"]["type"] == "invalid_request_error"
        assert (await site.emulator.account())["total"]["requests"] == 0

    play(story)


def test_unknown_arguments_are_named_in_the_words_of_each_endpoint(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.chat(deadline="2h", urgent=True)
        assert got.json["error"]["message"] == "Unrecognized request arguments supplied: deadline, urgent"
        got = await site.call("POST", "/v1/responses", {"model": "gpt-4o-mini", "input": "a", "messages": []})
        assert got.json["error"]["message"] == "Unknown parameter: 'messages'."
        assert got.json["error"]["code"] == "unknown_parameter"

    play(story)


def test_a_strict_schema_must_close_its_objects(play: Any) -> None:
    async def story(site: Any) -> None:
        described = {"name": "x", "strict": True, "schema": {"type": "object"}}
        got = await site.chat(response_format={"type": "json_schema", "json_schema": described})
        assert got.json["error"]["code"] == "invalid_json_schema"

    play(story)


def test_what_is_right_passes(play: Any) -> None:
    async def story(site: Any) -> None:
        parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
        more = {
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": parts}],
            "metadata": {"k" * 64: "v" * 512},
            "temperature": None,
            "stop": ["a"],
            "seed": 1,
            "tools": [FUNCTION],
            "tool_choice": "none",
            "user": "me",
            "store": False,
        }
        got = await site.chat(**more)
        assert got.status == 200
        assert got.json["usage"]["prompt_tokens"] > 85

    play(story)


OTHERS: list[tuple[str, dict[str, object], str | None]] = [
    ("/v1/responses", {"model": "gpt-4o-mini"}, "input"),
    ("/v1/responses", {"model": "gpt-4o-mini", "input": []}, "input"),
    ("/v1/responses", {"model": "gpt-4o-mini", "input": [{"role": "king", "content": "x"}]}, "input"),
    ("/v1/responses", {"model": "gpt-4o-mini", "input": "a", "max_output_tokens": 5}, "max_output_tokens"),
    ("/v1/responses", {"model": "gpt-4o-mini", "input": "a", "background": True}, "background"),
    ("/v1/responses", {"model": "gpt-4o-mini", "input": "a", "previous_response_id": "x"}, "previous_response_id"),
    ("/v1/responses", {"model": "gpt-4o-mini", "input": ["a"]}, "input[0]"),
    ("/v1/embeddings", {"model": "text-embedding-3-small"}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ""}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", ""]}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", 1]}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a"] * 2049}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x" * 40_000}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [[1] * 8000] * 40}, "input"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a", "dimensions": 9999}, "dimensions"),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a", "encoding_format": "hex"}, "encoding_format"),
    ("/v1/completions", {"model": "gpt-3.5-turbo-instruct"}, "prompt"),
    ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "a", "service_tier": "flex"}, None),
    ("/v1/moderations", {}, "input"),
    ("/v1/moderations", {"input": 7}, "input"),
]


@pytest.mark.parametrize(("endpoint", "body", "param"), OTHERS)
def test_wrong_requests_to_the_other_endpoints_are_refused(
    play: Any, endpoint: str, body: dict[str, object], param: str | None
) -> None:
    async def story(site: Any) -> None:
        got = await site.call("POST", endpoint, body)
        assert (got.status, got.json["error"]["param"]) == (400, param)

    play(story)

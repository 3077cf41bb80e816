"""Streams: the order of events, that they add up to the whole answer, and the closing."""

import asyncio
import json
import logging
from typing import Any

import pytest


def events_of(raw: bytes) -> list[Any]:
    """Split a stream of `data:` lines; the closing [DONE] stays text."""
    blocks = [block for block in raw.decode().split("\n\n") if block]
    payloads = [line[6:] for block in blocks for line in block.splitlines() if line.startswith("data: ")]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


def test_a_chat_stream_adds_up_to_the_answer(play: Any) -> None:
    async def story(site: Any) -> None:
        whole = (await site.chat("tell me", n=2)).json
        got = await site.chat("tell me", n=2, stream=True)
        assert got.headers["content-type"].startswith("text/event-stream")
        assert got.headers["x-ratelimit-limit-requests"]
        *chunks, done = events_of(got.raw)
        assert done == "[DONE]"
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert all("usage" not in chunk for chunk in chunks)
        for index in (0, 1):
            mine = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
            assert mine[0]["delta"]["role"] == "assistant"
            assert mine[-1] == {"index": index, "delta": {}, "logprobs": None, "finish_reason": "stop"}
            text = "".join(choice["delta"].get("content") or "" for choice in mine)
            assert text == whole["choices"][index]["message"]["content"]
            assert all(choice["finish_reason"] is None for choice in mine[:-1])

    play(story)


def test_the_usage_chunk_comes_last_and_only_when_asked_for(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.chat("tell me", stream=True, stream_options={"include_usage": True})
        *chunks, last, done = events_of(got.raw)
        assert done == "[DONE]"
        assert last["choices"] == []
        assert last["usage"]["prompt_tokens"] == 5
        assert all(chunk["usage"] is None for chunk in chunks)
        assert (await site.emulator.account())["total"]["completion_tokens"] == last["usage"]["completion_tokens"]

    play(story)


def test_a_tool_call_is_streamed_in_pieces(play: Any) -> None:
    async def story(site: Any) -> None:
        parameters = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
        tool = {"type": "function", "function": {"name": "search", "parameters": parameters}}
        got = await site.chat("a rather long question", tools=[tool], stream=True)
        *chunks, _ = events_of(got.raw)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
        assert calls[0]["function"] == {"name": "search", "arguments": ""}
        assert calls[0]["type"] == "function"
        assert len(calls) > 2
        arguments = "".join(call["function"]["arguments"] for call in calls)
        assert json.loads(arguments) == {"q": "a rather long question"}
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"

    play(story)


def test_a_stream_of_responses_is_numbered_and_ends_with_the_whole(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "gpt-4o-mini", "input": "tell me a story", "stream": True}
        got = await site.call("POST", "/v1/responses", body)
        told = events_of(got.raw)
        kinds = [event["type"] for event in told]
        assert kinds[:4] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
        assert kinds[-1] == "response.completed"
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        text = "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta")
        final = told[-1]["response"]
        assert text == final["output"][0]["content"][0]["text"]
        assert text.startswith("echo: tell me a story")
        assert final["usage"]["output_tokens"] > 0
        assert told[0]["response"]["usage"] is None
        assert b"[DONE]" not in got.raw
        assert got.raw.startswith(b"event: response.created\n")

    play(story)


def test_a_response_that_was_cut_ends_incomplete_and_a_call_streams_its_arguments(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "gpt-4o-mini", "input": "x" * 400, "stream": True, "max_output_tokens": 16}
        assert events_of((await site.call("POST", "/v1/responses", body)).raw)[-1]["type"] == "response.incomplete"
        tool = {"type": "function", "name": "go"}
        body = {"model": "gpt-4o-mini", "input": "x", "stream": True, "tools": [tool]}
        told = events_of((await site.call("POST", "/v1/responses", body)).raw)
        done = next(event for event in told if event["type"] == "response.function_call_arguments.done")
        assert (done["name"], done["arguments"]) == ("go", "{}")

    play(story)


def test_completions_are_streamed_too(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "gpt-3.5-turbo-instruct", "prompt": "hello", "stream": True}
        got = await site.call("POST", "/v1/completions", body | {"stream_options": {"include_usage": True}})
        *chunks, usage, done = events_of(got.raw)
        assert done == "[DONE]"
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks).startswith("echo: hello")
        assert chunks[-1]["choices"][0]["finish_reason"] is not None
        assert usage["usage"]["prompt_tokens"] == 2

    play(story)


def test_a_stream_takes_its_time_per_token(play: Any) -> None:
    async def story(site: Any) -> None:
        started = site.clock.at
        got = await site.chat("x" * 40, stream=True, stream_options={"include_usage": True}, max_tokens=6)
        carried = sum(
            -(-len(event["choices"][0]["delta"].get("content") or "") // 4)
            for event in events_of(got.raw)
            if event != "[DONE]" and event["choices"]
        )
        assert site.clock.at - started == 5.0 + carried

    play(story, latency_seconds=5.0, latency_per_token_seconds=1.0)


def test_a_client_that_leaves_a_stream_has_bought_it_and_does_no_harm(
    play: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(site: Any) -> None:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "z" * 400_000}], "stream": True}
        headers = {"Authorization": "Bearer sk-test"}
        response = await site.session.post(f"{site.url}/v1/chat/completions", json=body, headers=headers)
        await response.content.readany()
        response.close()
        for _ in range(200):
            if (await site.emulator.account())["routes"]:
                break
            await asyncio.sleep(0.01)
        account = await site.emulator.account()
        assert account["routes"] == {"chat": {"0": 1}}
        assert account["total"]["requests"] == 1

    with caplog.at_level(logging.WARNING):
        play(story)
    assert [record.message for record in caplog.records] == []

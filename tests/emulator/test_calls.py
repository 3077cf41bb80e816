"""The synchronous routes over HTTP: answers, tiers, latency."""

import json
from typing import Any

from proxy.emulator.tokens import count

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "days", "unit"],
        },
    },
}


def test_an_answer_echoes_the_last_user_message_and_is_the_same_each_time(play: Any) -> None:
    async def story(site: Any) -> None:
        messages = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "x"}]
        messages.append({"role": "user", "content": "what is 7?"})
        first = (await site.chat(messages=messages)).json
        second = (await site.chat(messages=messages)).json
        text = first["choices"][0]["message"]["content"]
        assert text.startswith("echo: what is 7?")
        assert second["choices"] == first["choices"]
        assert first["id"] != second["id"]
        assert first["object"] == "chat.completion"
        assert first["service_tier"] == "default"

    play(story)


def test_usage_counts_prompt_and_completion(play: Any) -> None:
    async def story(site: Any) -> None:
        answer = (await site.chat("x" * 400)).json
        usage = answer["usage"]
        assert usage["prompt_tokens"] == 100 + 3
        assert usage["completion_tokens"] == count(answer["choices"][0]["message"]["content"])
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]

    play(story)


def test_the_output_limit_cuts_and_says_length(play: Any) -> None:
    async def story(site: Any) -> None:
        for name in ("max_tokens", "max_completion_tokens"):
            answer = (await site.chat("x" * 400, **{name: 5})).json
            assert answer["choices"][0]["finish_reason"] == "length"
            assert answer["choices"][0]["message"]["content"] == "echo: " + "x" * 14
            assert answer["usage"]["completion_tokens"] == 5

    play(story)


def test_n_gives_so_many_choices(play: Any) -> None:
    async def story(site: Any) -> None:
        answer = (await site.chat("pick", n=3)).json
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1

    play(story)


def test_a_tool_is_called_with_arguments_of_its_schema(play: Any) -> None:
    async def story(site: Any) -> None:
        answer = (await site.chat("Oslo", tools=[WEATHER])).json
        choice = answer["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        call = choice["message"]["tool_calls"][0]
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"]) == {"city": "Oslo", "days": 1, "unit": "C"}

    play(story)


def test_no_tool_is_called_when_none_may_be_or_when_a_tool_spoke_last(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat("Oslo", tools=[WEATHER], tool_choice="none")).json["choices"][0]["message"]["content"]
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        messages = [
            {"role": "user", "content": "Oslo"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ]
        answer = (await site.chat(messages=messages, tools=[WEATHER])).json
        assert answer["choices"][0]["message"]["content"].startswith("echo: Oslo")

    play(story)


def test_a_named_tool_is_the_one_that_is_called(play: Any) -> None:
    async def story(site: Any) -> None:
        other = {"type": "function", "function": {"name": "other"}}
        choice = {"type": "function", "function": {"name": "other"}}
        answer = (await site.chat("Oslo", tools=[WEATHER, other], tool_choice=choice)).json
        assert answer["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "other", "arguments": "{}"}

    play(story)


def test_structured_output_conforms_to_its_schema(play: Any) -> None:
    async def story(site: Any) -> None:
        schema = {
            "type": "object",
            "properties": {"title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
            "required": ["title", "tags"],
            "additionalProperties": False,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "book", "schema": schema, "strict": True}}
        answer = (await site.chat("Moby Dick", response_format=wanted)).json
        assert json.loads(answer["choices"][0]["message"]["content"]) == {"title": "Moby Dick", "tags": []}
        answer = (await site.chat("as json", response_format={"type": "json_object"})).json
        assert json.loads(answer["choices"][0]["message"]["content"]) == {"echo": "as json"}

    play(story)


def test_responses_answer_with_output_items_and_usage(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "gpt-4o-mini", "instructions": "be kind", "input": "hello", "metadata": {"a": "b"}}
        answer = (await site.call("POST", "/v1/responses", body)).json
        assert answer["object"] == "response"
        assert answer["status"] == "completed"
        assert answer["output"][0]["content"][0]["text"].startswith("echo: hello")
        assert answer["metadata"] == {"a": "b"}
        assert answer["usage"]["input_tokens"] == (2 + 3) + (2 + 3)
        cut = (await site.call("POST", "/v1/responses", body | {"input": "y" * 400, "max_output_tokens": 16})).json
        assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        tool = {"type": "function", **WEATHER["function"]}  # type: ignore[dict-item]
        called = (await site.call("POST", "/v1/responses", body | {"tools": [tool]})).json
        assert called["output"][0]["type"] == "function_call"
        assert json.loads(called["output"][0]["arguments"])["city"] == "hello"

    play(story)


def test_embeddings_are_unit_vectors_that_depend_on_the_input_alone(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "text-embedding-3-small", "input": ["one", "two", "one"]}
        answer = (await site.call("POST", "/v1/embeddings", body)).json
        one, two, again = (entry["embedding"] for entry in answer["data"])
        assert len(one) == 1536
        assert abs(sum(value * value for value in one) - 1) < 1e-4
        assert one == again
        assert one != two
        assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
        short = (await site.call("POST", "/v1/embeddings", body | {"dimensions": 8, "input": "one"})).json
        assert len(short["data"][0]["embedding"]) == 8

    play(story)


def test_completions_have_openais_small_default_limit(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "gpt-3.5-turbo-instruct", "prompt": "z" * 100}
        answer = (await site.call("POST", "/v1/completions", body)).json
        assert answer["choices"][0]["text"] == "echo: " + "z" * 58
        assert answer["choices"][0]["finish_reason"] == "length"
        two = (await site.call("POST", "/v1/completions", body | {"prompt": ["a", "b"], "n": 2})).json
        assert [choice["index"] for choice in two["choices"]] == [0, 1, 2, 3]

    play(story)


def test_moderations_flag_what_is_named_and_cost_nothing(play: Any) -> None:
    async def story(site: Any) -> None:
        answer = (await site.call("POST", "/v1/moderations", {"input": ["kind words", "violence"]})).json
        assert [result["flagged"] for result in answer["results"]] == [False, True]
        parts = [{"type": "text", "text": "hate"}, {"type": "image_url", "image_url": {"url": "https://x/y"}}]
        answer = (await site.call("POST", "/v1/moderations", {"input": parts})).json
        assert [result["flagged"] for result in answer["results"]] == [True]
        tally = (await site.emulator.account())["tiers"]["standard"]
        assert (tally["requests"], tally["usd"], tally["unpriced_requests"]) == (2, "0", 0)

    play(story)


def test_flex_is_sold_only_where_the_price_list_has_it(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.chat(service_tier="flex")
        assert (got.status, got.json["error"]["param"]) == (400, "service_tier")
        assert (await site.chat(model="gpt-5-mini", service_tier="flex")).json["service_tier"] == "flex"
        assert (await site.chat(service_tier="fast")).json["service_tier"] == "priority"
        assert (await site.chat(model="gpt-5-mini", service_tier="priority")).status == 400
        assert (await site.chat(service_tier="auto")).json["service_tier"] == "default"
        embedding = {"model": "text-embedding-3-small", "input": "a", "service_tier": "flex"}
        assert (await site.call("POST", "/v1/embeddings", embedding)).status == 400

    play(story)


def test_a_call_at_priority_may_be_served_and_billed_at_standard(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat(service_tier="priority")).json["service_tier"] == "default"
        assert list((await site.emulator.account())["tiers"]) == ["standard"]

    play(story, priority_downgraded=True)


def test_a_flex_refusal_is_a_429_that_is_not_billed(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.chat(model="gpt-5-mini", service_tier="flex")
        assert (got.status, got.json["error"]["code"]) == (429, "resource_unavailable")
        account = await site.emulator.account()
        assert account["total"]["requests"] == 0
        assert account["rate_limited"] == 1

    play(story, flex_refusal_probability=1.0)


def test_latency_counts_tokens_and_is_scaled(play: Any) -> None:
    async def story(site: Any) -> None:
        started = site.clock.at
        answer = (await site.chat("x" * 40, max_tokens=10)).json
        assert answer["usage"]["completion_tokens"] == 10
        assert site.clock.at - started == 2.0  # (10 s + 10 tokens of 1 s) in a tenth of the time

    play(story, latency_seconds=10.0, latency_per_token_seconds=1.0, time_scale=10.0)

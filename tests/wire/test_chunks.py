import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.chunks import stream_of
from proxy.wire.pieces import NotAnAnswer
from proxy.wire.sse import DONE
from tests.wire.anything import JSON_VALUES, damaged, encoded, objects_with
from tests.wire.conftest import Serve

Json = dict[str, Any]
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
LONG = "The quick brown fox jumps over the lazy dog. " * 8 + "naïve \u65e5\u672c \U0001f600\n\n"
ARGUMENTS = json.dumps({"city": "Paris", "days": list(range(60))})
LOGPROB = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 4}}
TOO_DEEP = 100_000


def call(number: int, arguments: str = ARGUMENTS) -> Json:
    return {"id": f"call_{number}", "type": "function", "function": {"name": f"f{number}", "arguments": arguments}}


def choice(message: Json, index: int = 0, finish_reason: str = "stop", **more: object) -> Json:
    said = {"role": "assistant", "content": None, "refusal": None} | message
    return {"index": index, "message": said, "logprobs": None, "finish_reason": finish_reason} | more


def chat(*choices: Json, **more: object) -> Json:
    about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_800_000_000, "model": "m-2027"}
    return about | {"choices": list(choices), "usage": USAGE, "system_fingerprint": "fp", "service_tier": "flex"} | more


def frames(answer: Json, endpoint: str = CHAT, *, include_usage: bool = True) -> bytes:
    return b"".join(stream_of(endpoint, json.dumps(answer).encode(), include_usage=include_usage))


def events(answer: Json, endpoint: str = CHAT, *, include_usage: bool = True) -> list[Json]:
    *data, done, nothing = frames(answer, endpoint, include_usage=include_usage).split(b"\n\n")
    assert (done + b"\n\n", nothing) == (DONE, b"")
    return [json.loads(each.removeprefix(b"data: ")) for each in data]


def without_nulls(value: Any) -> Any:
    """The value without fields that are null, and without what a client adds when it puts an answer together."""
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    added = {"parsed", "parsed_arguments"} | ({"index"} if "type" in value else set())
    return {name: without_nulls(each) for name, each in value.items() if each is not None and name not in added}


ANSWERS = {
    "text": chat(choice({"content": LONG})),
    "one word": chat(choice({"content": "yes"})),
    "empty text": chat(choice({"content": ""})),
    "no text": chat(choice({})),
    "cut off": chat(choice({"content": LONG}, finish_reason="length")),
    "refusal": chat(choice({"refusal": LONG})),
    "tool call": chat(choice({"tool_calls": [call(1)]}, finish_reason="tool_calls")),
    "text and tool calls": chat(choice({"content": LONG, "tool_calls": [call(1), call(2, "{}"), call(3, "")]})),
    "custom tool call": chat(
        choice({"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": LONG}}]})
    ),
    "legacy function call": chat(choice({"function_call": {"name": "f", "arguments": ARGUMENTS}})),
    "several choices": chat(
        choice({"content": LONG}),
        choice({"content": "other"}, 1, "length"),
        choice({"tool_calls": [call(1)]}, 2, "tool_calls"),
    ),
    "log probabilities": chat(choice({"content": LONG}, logprobs={"content": [LOGPROB] * 3, "refusal": None})),
    "log probabilities of a refusal": chat(choice({"refusal": LONG}, logprobs={"content": None, "refusal": [LOGPROB]})),
    "log probabilities of nothing": chat(choice({"content": ""}, logprobs={"content": [], "refusal": None})),
    "annotations": chat(
        choice({"content": "see", "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]})
    ),
    "audio": chat(choice({"audio": {"id": "a", "data": "AAAA", "expires_at": 1, "transcript": LONG}})),
    "reasoning": chat(choice({"content": "4", "reasoning_content": LONG, "reasoning": {"steps": [1, 2]}})),
    "unknown fields": chat(choice({"content": "x", "new": {"a": [1]}}), extra={"b": 1}),
    "no calls": chat(choice({"content": "x", "tool_calls": []})),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stock_client_rebuilds_the_very_answer(sdk: Serve, name: str) -> None:
    answer = ANSWERS[name]
    client = sdk(frames(answer))
    with client.chat.completions.stream(model="m", messages=[], stream_options={"include_usage": True}) as stream:
        stream.until_done()
        rebuilt = stream.current_completion_snapshot.to_dict()
    assert without_nulls(rebuilt) == without_nulls(answer)


def test_a_stock_client_that_parses_the_whole_answer_gets_it(sdk: Serve) -> None:
    answer = ANSWERS["text and tool calls"]
    client = sdk(frames(answer))
    with client.chat.completions.stream(model="m", messages=[], stream_options={"include_usage": True}) as stream:
        final = stream.get_final_completion()
    assert without_nulls(final.to_dict()) == without_nulls(answer)


def test_a_stock_client_reads_the_chunks_one_by_one(sdk: Serve) -> None:
    client = sdk(frames(ANSWERS["text and tool calls"]))
    chunks = list(
        client.chat.completions.create(model="m", messages=[], stream=True, stream_options={"include_usage": True})
    )
    deltas = [each.choices[0].delta for each in chunks[:-1]]
    assert {each.object for each in chunks} == {"chat.completion.chunk"}
    assert {each.id for each in chunks} == {"chatcmpl-1"}
    assert "".join(delta.content or "" for delta in deltas) == LONG
    assert len([delta for delta in deltas if delta.content]) > 3
    calls = [made for delta in deltas for made in delta.tool_calls or ()]
    assert [made.id for made in calls if made.id] == ["call_1", "call_2", "call_3"]
    arguments = [
        "".join(made.function.arguments or "" for made in calls if made.function and made.index == n) for n in range(3)
    ]
    assert arguments == [ARGUMENTS, "{}", ""]
    assert [each.choices[0].finish_reason for each in chunks[:-1] if each.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15


def test_the_first_delta_has_the_role_and_the_last_only_the_finish_reason() -> None:
    first, *_, last, _usage = events(ANSWERS["text"])
    assert first["choices"] == [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "", "refusal": None},
            "logprobs": None,
            "finish_reason": None,
        }
    ]
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_usage_comes_only_where_it_was_asked_for(endpoint: str) -> None:
    answer = chat(choice({"content": "x"}), object="text_completion") | {"choices": [choice({}, text="x")]}
    assert all("usage" not in each for each in events(answer, endpoint, include_usage=False))
    *others, last = events(answer, endpoint)
    assert all(each["usage"] is None for each in others)
    assert (last["choices"], last["usage"]) == ([], USAGE)


def test_an_answer_without_usage_has_none_in_its_stream() -> None:
    answer = ANSWERS["one word"].copy()
    del answer["usage"]
    assert events(answer)[-1]["usage"] is None


def test_every_chunk_says_whose_it_is() -> None:
    for each in events(ANSWERS["unknown fields"]):
        assert (each["id"], each["service_tier"], each["extra"]) == ("chatcmpl-1", "flex", {"b": 1})


def test_a_message_without_role_and_a_choice_without_index_get_them() -> None:
    answer = {"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}
    first, *_ = events(answer)
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    assert [each["index"] for event in events(answer)[:-1] for each in choices_of(event)] == [0, 0, 0, 1, 1, 1]


def test_content_in_parts_comes_whole() -> None:
    parts = [{"type": "text", "text": LONG}]
    deltas = [each["delta"] for event in events(chat(choice({"content": parts}))) for each in choices_of(event)]
    assert deltas == [{"role": "assistant", "content": parts, "refusal": None}, {}]


def test_a_call_of_an_unknown_kind_comes_whole() -> None:
    strange = {"id": "c", "type": "new", "new": {"a": LONG}}
    untold = {"id": "d", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    deltas = [
        each["delta"] for event in events(chat(choice({"tool_calls": [strange, untold]}))) for each in choices_of(event)
    ]
    assert deltas[1:-1] == [{"tool_calls": [strange | {"index": 0}]}, {"tool_calls": [untold | {"index": 1}]}]


def test_log_probabilities_come_once_with_the_first_piece() -> None:
    answer = ANSWERS["log probabilities"]
    told = [each["logprobs"] for event in events(answer) for each in choices_of(event)]
    assert told[1] == {"content": [LOGPROB] * 3, "refusal": None}
    assert told.count(None) == len(told) - 1


def completion(*choices: Json) -> Json:
    about = {"id": "cmpl-1", "object": "text_completion", "created": 1_800_000_000, "model": "m"}
    return about | {"choices": list(choices), "usage": USAGE}


def test_a_stock_client_rebuilds_legacy_completions(sdk: Serve) -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": None, "text_offset": [0]}
    answer = completion(
        {"index": 0, "text": LONG, "logprobs": logprobs, "finish_reason": "length"},
        {"index": 1, "text": "", "logprobs": None, "finish_reason": "stop"},
    )
    client = sdk(frames(answer, COMPLETIONS))
    chunks = list(client.completions.create(model="m", prompt="", stream=True))
    parts = [each for chunk in chunks for each in chunk.choices]
    assert "".join(part.text for part in parts if part.index == 0) == LONG
    assert "".join(part.text for part in parts if part.index == 1) == ""
    assert [part.finish_reason for part in parts if part.finish_reason] == ["length", "stop"]
    assert [part.logprobs.to_dict() for part in parts if part.logprobs] == [logprobs]
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15


def test_a_completion_without_text_still_ends() -> None:
    end, _usage = events(completion({"index": 0, "text": None, "finish_reason": "stop"}), COMPLETIONS)
    assert end["choices"] == [{"index": 0, "text": "", "finish_reason": "stop"}]


@pytest.mark.parametrize(
    ("endpoint", "body", "said"),
    [
        (CHAT, b"", "no JSON object"),
        (CHAT, b"[]", "no JSON object"),
        (CHAT, b"garbage", "no JSON object"),
        (CHAT, b'{"id":"\xff"}', "no JSON object"),
        (CHAT, b'{"choices":' + b"[" * TOO_DEEP + b"]" * TOO_DEEP + b"}", "no JSON object"),
        (CHAT, b'{"error":{"message":"no"}}', "no choices"),
        (CHAT, b'{"choices":null}', "no choices"),
        (CHAT, b'{"choices":["x"]}', "no choices"),
        (CHAT, b'{"choices":[{"index":0}]}', "no message"),
        (CHAT, b'{"choices":[{"message":{"content":"x"}},{"message":"x"}]}', "no message"),
        (CHAT, b'{"choices":[{"message":{"tool_calls":["x"]}}]}', "no array of objects"),
        (CHAT, b'{"choices":[{"message":{"tool_calls":{"a":1}}}]}', "no array of objects"),
        (COMPLETIONS, b'{"choices":7}', "no choices"),
        (RESPONSES, b'{"status":"completed"}', "output is no array"),
        ("/v1/embeddings", b'{"data":[]}', "has no streams"),
    ],
)
def test_what_is_no_answer_is_known_before_the_first_frame(endpoint: str, body: bytes, said: str) -> None:
    with pytest.raises(NotAnAnswer, match=said):
        next(stream_of(endpoint, body, include_usage=True))


def choices_of(event: Json) -> list[Json]:
    choices: list[Json] = event["choices"]
    return choices


CALLS = st.lists(objects_with("id", "type", "function", "custom", "index"), max_size=2)
MESSAGES = st.builds(
    lambda message, calls: message | {"tool_calls": calls},
    objects_with("role", "content", "refusal", "function_call", "annotations"),
    CALLS | JSON_VALUES,
)
CHOICES = st.builds(
    lambda rest, message: rest | {"message": message},
    objects_with("index", "finish_reason", "logprobs", "text"),
    MESSAGES | JSON_VALUES,
)
ANYTHING = st.builds(
    lambda answer, choices: answer | {"choices": choices},
    objects_with("id", "object", "usage", "model", "status", "output"),
    st.lists(CHOICES, max_size=2) | JSON_VALUES,
)


@given(damaged(encoded(ANYTHING)), st.sampled_from([CHAT, COMPLETIONS, RESPONSES, "/v1/embeddings"]), st.booleans())
def test_any_body_is_a_stream_of_json_or_no_answer(body: bytes, endpoint: str, include_usage: bool) -> None:  # noqa: FBT001  hypothesis gives it
    with suppress(NotAnAnswer):
        *chunks, done = stream_of(endpoint, body, include_usage=include_usage)
        assert done == DONE
        for frame in chunks:
            assert frame.count(b"\n") == 2
            json.loads(frame.removeprefix(b"data: "))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_pieces_of_any_text_join_to_it(content: str, arguments: str) -> None:
    told = events(chat(choice({"content": content, "tool_calls": [call(1, arguments)]})))
    deltas = [each["delta"] for event in told for each in choices_of(event)]
    said, made = "", ""
    for delta in deltas:
        said += delta.get("content", "")
        made += "".join(each["function"]["arguments"] for each in delta.get("tool_calls", ()))
    assert (said, made) == (content, arguments)

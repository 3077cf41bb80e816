import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.responses import ResponseStreamManager
from openai.types.responses import Response

from proxy.wire.chunks_responses import response_events
from proxy.wire.pieces import NotAnAnswer
from tests.wire.anything import JSON_VALUES, objects_with
from tests.wire.conftest import Serve

Json = dict[str, Any]
LONG = "The quick brown fox jumps over the lazy dog. " * 8 + "naïve \u65e5\u672c \U0001f600\n\n"
ARGUMENTS = json.dumps({"city": "Paris", "days": list(range(60))})
LOGPROB = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
CITATION = {"type": "url_citation", "url": "https://example.com", "title": "t", "start_index": 0, "end_index": 3}


def text(words: str, **more: object) -> Json:
    return {"type": "output_text", "text": words, "annotations": [], "logprobs": []} | more


def message(*parts: Json) -> Json:
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": list(parts)}


def response(*output: Json, status: str = "completed", **more: object) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_800_000_000.0,
        "completed_at": 1_800_000_009.0,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {"team": "a"},
        "model": "m-2027",
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "service_tier": "flex",
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 15,
        },
    } | more


FUNCTION_CALL: Json = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": ARGUMENTS,
    "status": "completed",
}
CUSTOM_CALL: Json = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_2", "name": "sql", "input": LONG}
REASONING: Json = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": LONG}, {"type": "summary_text", "text": "short"}],
    "encrypted_content": "AAAA",
}
SEARCH: Json = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "q"},
}
RESPONSES = {
    "text": response(message(text(LONG))),
    "empty text": response(message(text(""))),
    "no parts": response(message()),
    "no output": response(),
    "several parts": response(message(text(LONG), {"type": "refusal", "refusal": LONG}, text("more"))),
    "annotations": response(message(text("see", annotations=[CITATION, CITATION]))),
    "log probabilities": response(message(text(LONG, logprobs=[LOGPROB, LOGPROB]))),
    "refusal": response(message({"type": "refusal", "refusal": "no"})),
    "function call": response(FUNCTION_CALL),
    "custom tool call": response(CUSTOM_CALL),
    "reasoning": response(REASONING, message(text("4"))),
    "search": response(SEARCH, message(text("found"))),
    "everything": response(REASONING, SEARCH, FUNCTION_CALL, CUSTOM_CALL, message(text(LONG))),
}
FAILURES = {
    "incomplete": response(
        message(text(LONG)), status="incomplete", incomplete_details={"reason": "max_output_tokens"}, completed_at=None
    ),
    "failed": response(status="failed", error={"code": "server_error", "message": "down"}, usage=None),
}


def frames(answer: Json) -> bytes:
    return b"".join(response_events(answer))


def events(answer: Json) -> list[Json]:
    return [json.loads(frame.partition(b"\ndata: ")[2]) for frame in response_events(answer)]


def types(answer: Json) -> list[object]:
    return [each["type"] for each in events(answer)]


@pytest.mark.parametrize("name", RESPONSES)
def test_a_stock_client_rebuilds_the_very_response(sdk: Serve, name: str) -> None:
    answer = RESPONSES[name]
    manager: ResponseStreamManager[None] = sdk(frames(answer)).responses.stream(model="m", input="")
    with manager as stream:
        rebuilt: Json = stream.get_final_response().to_dict()
    for item in rebuilt["output"]:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or ():
            part.pop("parsed", None)
    assert rebuilt == Response.model_validate(answer).to_dict()


@pytest.mark.parametrize("name", RESPONSES)
def test_a_stock_client_that_listens_to_the_pieces_hears_the_very_output(sdk: Serve, name: str) -> None:
    heard: dict[int, Json] = {}
    done: dict[int, object] = {}
    for each in sdk(frames(RESPONSES[name])).responses.create(model="m", input="", stream=True):
        if each.type == "response.output_item.added":
            heard[each.output_index] = each.item.to_dict()
        elif each.type == "response.output_item.done":
            done[each.output_index] = each.item.to_dict()
        else:
            listen(heard, each.to_dict())
    output = RESPONSES[name]["output"]
    assert list(done.values()) == output
    assert [item | {"status": "completed"} if "status" in item else item for item in heard.values()] == output


def listen(heard: dict[int, Json], each: Json) -> None:
    """Put a piece where it belongs, as a client does that never looks at what comes whole at the end."""
    item = heard.get(each.get("output_index", -1), {})
    match each["type"]:
        case "response.content_part.added":
            item["content"].append(each["part"])
        case "response.output_text.delta":
            part = item["content"][-1]
            part["text"] += each["delta"]
            part["logprobs"].extend(each["logprobs"])
        case "response.output_text.annotation.added":
            item["content"][-1]["annotations"].append(each["annotation"])
        case "response.refusal.delta":
            item["content"][-1]["refusal"] += each["delta"]
        case "response.reasoning_summary_part.added":
            item["summary"].append(each["part"])
        case "response.reasoning_summary_text.delta":
            item["summary"][-1]["text"] += each["delta"]
        case "response.function_call_arguments.delta":
            item["arguments"] += each["delta"]
        case "response.custom_tool_call_input.delta":
            item["input"] += each["delta"]
        case _:
            pass


@pytest.mark.parametrize("name", FAILURES)
def test_a_response_that_did_not_complete_ends_with_its_own_event(sdk: Serve, name: str) -> None:
    *_, last = sdk(frames(FAILURES[name])).responses.create(model="m", input="", stream=True)
    assert last.type == f"response.{name}"
    assert last.to_dict()["response"] == Response.model_validate(FAILURES[name]).to_dict()


def test_the_events_come_in_the_order_of_the_real_api() -> None:
    assert types(RESPONSES["annotations"]) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert types(response(FUNCTION_CALL | {"arguments": "{}"}))[2:-1] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert types(response(CUSTOM_CALL | {"input": "x"}))[2:-1] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    assert types(response(REASONING | {"summary": [{"type": "summary_text", "text": "x"}]}))[2:-1] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]
    assert types(response(message({"type": "refusal", "refusal": "no"})))[3:-2] == [
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
    ]


def test_every_event_has_its_number_and_its_name_outside_and_inside() -> None:
    for number, frame in enumerate(response_events(RESPONSES["everything"])):
        name, data, *rest = frame.split(b"\n")
        said = json.loads(data.removeprefix(b"data: "))
        assert name == f"event: {said['type']}".encode()
        assert said["sequence_number"] == number
        assert rest == [b"", b""]


def test_the_whole_text_is_repeated_at_its_end() -> None:
    done = {str(each["type"]): each for each in events(RESPONSES["everything"])}
    assert done["response.output_text.done"]["text"] == LONG
    assert done["response.function_call_arguments.done"]["arguments"] == ARGUMENTS
    assert done["response.function_call_arguments.done"]["name"] == "weather"
    assert done["response.custom_tool_call_input.done"]["input"] == LONG
    assert done["response.reasoning_summary_text.done"]["text"] == "short"
    refused = {str(each["type"]): each for each in events(RESPONSES["refusal"])}
    assert refused["response.refusal.done"]["refusal"] == "no"
    told = {str(each["type"]): each for each in events(RESPONSES["log probabilities"])}
    assert told["response.output_text.done"]["logprobs"] == [LOGPROB, LOGPROB]


def test_a_response_begins_empty_and_in_progress() -> None:
    failed = FAILURES["failed"]
    created, in_progress, *_ = events(failed)
    begun = failed | {"status": "in_progress", "error": None, "completed_at": None}
    assert created["response"] == in_progress["response"] == begun
    first, *_ = events({"status": "completed", "output": []})
    assert first["response"] == {"status": "in_progress", "output": []}


def test_items_begin_in_progress_and_parts_empty() -> None:
    added = [each for each in events(RESPONSES["everything"]) if str(each["type"]).endswith(".added")]
    items = [each["item"] for each in added if "item" in each]
    assert items == [
        REASONING | {"summary": []},
        SEARCH | {"status": "in_progress"},
        FUNCTION_CALL | {"status": "in_progress", "arguments": ""},
        CUSTOM_CALL | {"input": ""},
        message() | {"status": "in_progress"},
    ]
    assert [each["part"] for each in added if "part" in each][-1] == text("")


def test_a_part_of_an_unknown_type_comes_whole() -> None:
    strange = {"type": "output_audio", "data": "AAAA", "transcript": LONG}
    told = events(response(message(strange)))
    assert [each["type"] for each in told[3:-2]] == ["response.content_part.added", "response.content_part.done"]
    assert told[3]["part"] == told[4]["part"] == strange


def test_a_text_that_is_none_is_an_empty_one() -> None:
    told = {str(each["type"]): each for each in events(response(message(text("") | {"text": None})))}
    assert told["response.output_text.done"]["text"] == ""
    assert "response.output_text.delta" not in told


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({}, "no finished response"),
        ({"error": {"message": "no"}}, "no finished response"),
        (response(status="in_progress"), "no finished response"),
        (response(status="queued"), "no finished response"),
        (response(status="cancelled"), "no finished response"),
        (response() | {"output": None}, "output is no array of objects"),
        (response() | {"output": ["x"]}, "output is no array of objects"),
        (response(message() | {"content": "x"}), "content is no array of objects"),
        (response(message(text("a")), message() | {"content": ["x"]}), "content is no array of objects"),
        (response(REASONING | {"summary": ["x"]}), "summary is no array of objects"),
    ],
)
def test_what_is_no_response_is_known_before_the_first_frame(answer: Json, said: str) -> None:
    with pytest.raises(NotAnAnswer, match=said):
        next(response_events(answer))


PARTS = st.lists(
    st.builds(
        lambda part, kind: part | {"type": kind},
        objects_with("text", "refusal", "annotations", "logprobs"),
        st.sampled_from(["output_text", "refusal", "summary_text", "new"]),
    ),
    max_size=3,
)
ITEMS = st.builds(
    lambda item, kind, parts: item | {"type": kind, "content": parts, "summary": parts},
    objects_with("id", "status", "arguments", "input", "name"),
    st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "new"]),
    PARTS | JSON_VALUES,
)


@given(objects_with("id", "error", "usage"), st.lists(ITEMS, max_size=3) | JSON_VALUES)
def test_any_response_is_told_to_its_end_or_is_no_answer(about: Json, output: object) -> None:
    answer = about | {"status": "completed", "output": output}
    with suppress(NotAnAnswer):
        *_, last = events(answer)
        assert last["response"] == answer

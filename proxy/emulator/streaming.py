"""Finished answers as server-sent events, in the order and the shapes of the real streams."""

from collections.abc import Iterator
from dataclasses import dataclass

from proxy.emulator.catalog import CHAT, RESPONSES
from proxy.emulator.shape import JsonObject, as_list, as_object, as_text, dump
from proxy.emulator.tokens import count

PIECE_CHARACTERS = 12
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One event's bytes, and how many completion tokens it carries (for pacing)."""

    raw: bytes
    tokens: int = 0


def events(endpoint: str, body: JsonObject, *, include_usage: bool) -> list[Event]:
    """Return the whole stream of an answer. `include_usage` is for chat completions and completions."""
    if endpoint == RESPONSES:
        return list(_responses(body))
    made = (
        _chat(body, include_usage=include_usage)
        if endpoint == CHAT
        else _completions(body, include_usage=include_usage)
    )
    return [*made, Event(DONE)]


def wants_usage(body: JsonObject) -> bool:
    """Say whether a request asks for the usage chunk."""
    return as_object(body.get("stream_options")).get("include_usage") is True


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE_CHARACTERS):
        yield text[start : start + PIECE_CHARACTERS]


def _chunk(base: JsonObject, choices: list[JsonObject], tokens: int = 0, usage: object = None) -> Event:
    shown = base | {"choices": choices}
    if "usage" in base:
        shown["usage"] = usage
    return Event(b"data: " + dump(shown) + b"\n\n", tokens)


def _base(body: JsonObject, kind: str, names: tuple[str, ...], *, include_usage: bool) -> JsonObject:
    base: JsonObject = {name: body[name] for name in names} | {"object": kind}
    return base | {"usage": None} if include_usage else base


def _chat(body: JsonObject, *, include_usage: bool) -> Iterator[Event]:
    names = ("id", "created", "model", "service_tier", "system_fingerprint")
    base = _base(body, "chat.completion.chunk", names, include_usage=include_usage)
    for choice in map(as_object, as_list(body["choices"])):
        for delta, tokens in _deltas(as_object(choice["message"])):
            shown = {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": None}
            yield _chunk(base, [shown], tokens)
        last = {"index": choice["index"], "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield _chunk(base, [last])
    if include_usage:
        yield _chunk(base, [], usage=body["usage"])


def _deltas(message: JsonObject) -> Iterator[tuple[JsonObject, int]]:
    calls = [as_object(call) for call in as_list(message.get("tool_calls"))]
    yield {"role": "assistant", "content": None if calls else "", "refusal": None}, 0
    for piece in _pieces(as_text(message.get("content"))):
        yield {"content": piece}, count(piece)
    for index, call in enumerate(calls):
        function = as_object(call["function"])
        opening = {"name": function["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": opening}]}, 0
        for piece in _pieces(as_text(function["arguments"])):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, count(piece)


def _completions(body: JsonObject, *, include_usage: bool) -> Iterator[Event]:
    base = _base(body, "text_completion", ("id", "created", "model"), include_usage=include_usage)
    for choice in map(as_object, as_list(body["choices"])):
        for piece in _pieces(as_text(choice["text"])):
            shown = {"index": choice["index"], "text": piece, "logprobs": None, "finish_reason": None}
            yield _chunk(base, [shown], count(piece))
        last = {"index": choice["index"], "text": "", "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield _chunk(base, [last])
    if include_usage:
        yield _chunk(base, [], usage=body["usage"])


def _responses(body: JsonObject) -> Iterator[Event]:
    started = body | {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    told: list[tuple[str, JsonObject, int]] = [
        ("response.created", {"response": started}, 0),
        ("response.in_progress", {"response": started}, 0),
    ]
    for index, item in enumerate(map(as_object, as_list(body["output"]))):
        told += _item(item, index)
    told.append((f"response.{body['status']}", {"response": body}, 0))
    for number, (kind, fields, tokens) in enumerate(told):
        shown = {"type": kind, "sequence_number": number} | fields
        yield Event(f"event: {kind}\n".encode() + b"data: " + dump(shown) + b"\n\n", tokens)


def _item(item: JsonObject, index: int) -> Iterator[tuple[str, JsonObject, int]]:
    where: JsonObject = {"item_id": item["id"], "output_index": index}
    is_call = item["type"] == "function_call"
    blank: JsonObject = {"arguments": ""} if is_call else {"content": []}
    opening = item | {"status": "in_progress"} | blank
    yield "response.output_item.added", {"output_index": index, "item": opening}, 0
    yield from _call(item, where) if is_call else _message(item, where)
    yield "response.output_item.done", {"output_index": index, "item": item}, 0


def _call(item: JsonObject, where: JsonObject) -> Iterator[tuple[str, JsonObject, int]]:
    arguments = as_text(item["arguments"])
    for piece in _pieces(arguments):
        yield "response.function_call_arguments.delta", where | {"delta": piece}, count(piece)
    yield "response.function_call_arguments.done", where | {"name": item["name"], "arguments": arguments}, 0


def _message(item: JsonObject, where: JsonObject) -> Iterator[tuple[str, JsonObject, int]]:
    part = as_object(as_list(item["content"])[0])
    here = where | {"content_index": 0}
    yield "response.content_part.added", here | {"part": part | {"text": ""}}, 0
    for piece in _pieces(as_text(part["text"])):
        yield "response.output_text.delta", here | {"delta": piece, "logprobs": []}, count(piece)
    yield "response.output_text.done", here | {"text": part["text"], "logprobs": []}, 0
    yield "response.content_part.done", here | {"part": part}, 0

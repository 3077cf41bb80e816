"""A complete JSON answer as the stream of events that the real API would have sent: chat and legacy completions.

Rebuilding the events with any stock SDK gives the answer back: tool calls, refusals, log probabilities, finish reasons
and usage included. What a message has beyond the known fields travels whole in its first delta.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from proxy.wire.chunks_responses import response_events
from proxy.wire.pieces import NotAnAnswer, pieces
from proxy.wire.sse import DONE, event

Json = dict[str, object]


def stream_of(endpoint: str, body: bytes, *, include_usage: bool) -> Iterator[bytes]:
    """The frames for an answer, `[DONE]` included where the API sends it.

    Raises `NotAnAnswer` for anything else. The answer's shape is checked before the first frame.
    """
    try:
        answer = msgspec.json.decode(body, type=dict[str, object])
        match endpoint:
            case "/v1/chat/completions":
                yield from _frames(_chat(_said(answer)), answer, include_usage=include_usage)
            case "/v1/completions":
                yield from _frames(_completion(_choices(answer)), answer, include_usage=include_usage)
            case "/v1/responses":
                yield from response_events(answer)
            case _:
                raise NotAnAnswer(f"{endpoint} has no streams")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnAnswer(f"the answer is no JSON object that can be read: {error}") from error


def _frames(choices: Iterator[Json], answer: Json, *, include_usage: bool) -> Iterator[bytes]:
    """A frame for each piece of a choice; with `include_usage` a last one that carries it, and a null in every other.

    What the answer says about itself is in every frame.
    """
    envelope = {name: value for name, value in answer.items() if name not in {"choices", "usage"}}
    if envelope.get("object") == "chat.completion":
        envelope["object"] = "chat.completion.chunk"
    no_usage: Json = {"usage": None} if include_usage else {}
    for choice in choices:
        yield event(msgspec.json.encode(envelope | {"choices": [choice]} | no_usage))
    if include_usage:
        yield event(msgspec.json.encode(envelope | {"choices": [], "usage": answer.get("usage")}))
    yield DONE


def _choices(answer: Json) -> list[Json]:
    """The answer's choices, every one with an index."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise NotAnAnswer("the answer has no choices")
    return [{"index": position} | choice for position, choice in enumerate(choices)]


def _completion(choices: list[Json]) -> Iterator[Json]:
    """Log probabilities come whole, at the end: they speak of places in the whole text."""
    for choice in choices:
        text = choice.get("text")
        for piece in pieces(text if isinstance(text, str) else ""):
            yield choice | {"text": piece, "finish_reason": None, "logprobs": None}
        yield choice | {"text": ""}


@dataclass(frozen=True, slots=True)
class _Said:
    """One choice of a chat answer: its message with the tool calls in it, and the choice's own fields."""

    message: Json
    tool_calls: list[Json]
    rest: Json


def _said(answer: Json) -> list[_Said]:
    return [_one_said(choice) for choice in _choices(answer)]


def _one_said(choice: Json) -> _Said:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise NotAnAnswer("a choice has no message")
    calls = message.get("tool_calls")
    if calls is None:
        calls = []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise NotAnAnswer("a message's tool calls are no array of objects")
    return _Said(message, calls, {name: value for name, value in choice.items() if name != "message"})


def _chat(choices: list[_Said]) -> Iterator[Json]:
    for said in choices:
        place = {"index": said.rest["index"]}
        logprobs = said.rest.get("logprobs")
        yield place | {"delta": _first_delta(said.message), "logprobs": None, "finish_reason": None}
        for delta in _deltas(said):
            yield place | {"delta": delta, "logprobs": logprobs, "finish_reason": None}
            logprobs = None
        yield {"delta": {}, "finish_reason": None} | said.rest | {"logprobs": logprobs}


def _first_delta(message: Json) -> Json:
    """The role, empty texts to which the pieces are added, and whatever is neither text nor call."""
    later = {"tool_calls"} if message.get("tool_calls") else set()
    if isinstance(message.get("function_call"), dict):
        later.add("function_call")
    first = {name: value for name, value in message.items() if name not in later}
    empty = {name: "" for name in ("content", "refusal") if isinstance(message.get(name), str)}
    return {"role": "assistant"} | first | empty


def _deltas(said: _Said) -> Iterator[Json]:
    """The texts and calls piece by piece."""
    for name in ("content", "refusal"):
        text = said.message.get(name)
        for piece in pieces(text) if isinstance(text, str) else ():
            yield {name: piece}
    for index, call in enumerate(said.tool_calls):
        for delta in _call_deltas(call):
            yield {"tool_calls": [delta | {"index": index}]}
    legacy = said.message.get("function_call")
    if isinstance(legacy, dict):
        for delta in _in_pieces(legacy, "arguments"):
            yield {"function_call": delta}


def _call_deltas(call: Json) -> Iterator[Json]:
    """A call's id, type and name first, then its arguments piece by piece."""
    kind, field = ("custom", "input") if "custom" in call else ("function", "arguments")
    inner = call.get(kind)
    if not isinstance(inner, dict):
        yield call
        return
    about_call = call
    for delta in _in_pieces(inner, field):
        yield about_call | {kind: delta}
        about_call = {}


def _in_pieces(whole: Json, field: str) -> Iterator[Json]:
    """The object with an empty text first, then the text piece by piece; at once where there is no text."""
    text = whole.get(field)
    if not isinstance(text, str):
        yield whole
        return
    yield whole | {field: ""}
    for piece in pieces(text):
        yield {field: piece}

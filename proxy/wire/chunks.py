"""A complete JSON answer as the stream of events that the real API would have sent: chat and legacy completions.

Rebuilding the events with any stock SDK gives the answer back: tool calls, refusals, log probabilities, finish reasons
and usage included. What a message has beyond the known fields travels whole in one delta.
"""

from collections.abc import Iterator

import msgspec

from proxy.wire.chunks_responses import response_events
from proxy.wire.pieces import NotAnAnswer, pieces
from proxy.wire.sse import DONE, event

Json = dict[str, object]


def stream_of(endpoint: str, body: bytes, *, include_usage: bool) -> Iterator[bytes]:
    """The frames for an answer, `[DONE]` included where the API sends it. Raises `NotAnAnswer` for anything else."""
    try:
        answer = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise NotAnAnswer(f"the answer is not a JSON object: {error}") from error
    match endpoint:
        case "/v1/chat/completions":
            yield from _frames(_chat(answer), answer, include_usage=include_usage)
        case "/v1/completions":
            yield from _frames(_completion(answer), answer, include_usage=include_usage)
        case "/v1/responses":
            yield from response_events(answer)
        case _:
            raise NotAnAnswer(f"{endpoint} has no streams")


def _frames(chunks: Iterator[Json], answer: Json, *, include_usage: bool) -> Iterator[bytes]:
    """Frames for the chunks; with `include_usage` a last one that carries it, and a null on every other."""
    for chunk in chunks:
        if include_usage:
            chunk["usage"] = None
        yield event(msgspec.json.encode(chunk))
    if include_usage:
        yield event(msgspec.json.encode(_envelope(answer, []) | {"usage": answer.get("usage")}))
    yield DONE


def _envelope(answer: Json, choices: list[Json]) -> Json:
    """A chunk's frame: what the answer says about itself, on every chunk."""
    kind = answer.get("object")
    own = {name: value for name, value in answer.items() if name not in {"choices", "usage", "object"}}
    return own | {"object": "chat.completion.chunk" if kind == "chat.completion" else kind, "choices": choices}


def _choices(answer: Json) -> list[Json]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise NotAnAnswer("the answer has no choices")
    return choices


def _completion(answer: Json) -> Iterator[Json]:
    for choice in _choices(answer):
        blank = choice | {"finish_reason": None, "logprobs": None}
        text = choice.get("text")
        for piece in pieces(text if isinstance(text, str) else ""):
            yield _envelope(answer, [blank | {"text": piece}])
        yield _envelope(answer, [choice | {"text": ""}])


def _chat(answer: Json) -> Iterator[Json]:
    for position, choice in enumerate(_choices(answer)):
        message = choice.get("message")
        if not isinstance(message, dict):
            raise NotAnAnswer("a choice has no message")
        index = choice.get("index", position)
        for delta, logprobs in _deltas(message, choice.get("logprobs")):
            yield _envelope(answer, [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}])
        rest = {name: value for name, value in choice.items() if name not in {"message", "logprobs", "index"}}
        yield _envelope(answer, [{"index": index, "delta": {}, "logprobs": None} | rest])


def _deltas(message: Json, logprobs: object) -> Iterator[tuple[Json, object]]:
    """A message's deltas. Log probabilities come whole, with the first piece of what they speak of."""
    first: Json = {"role": message.get("role", "assistant"), "content": "" if message.get("content") else None}
    if "refusal" in message:
        first["refusal"] = None
    known = {"role", "content", "refusal", "tool_calls", "function_call"}
    first |= {name: value for name, value in message.items() if name not in known}
    yield first, None
    for name in ("content", "refusal"):
        text = message.get(name)
        for piece in pieces(text) if isinstance(text, str) else ():
            yield {name: piece}, logprobs
            logprobs = None
    if logprobs is not None:
        yield {}, logprobs
    yield from ((delta, None) for delta in _tool_deltas(message.get("tool_calls")))
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        yield {"function_call": legacy | {"arguments": ""}}, None
        for piece in pieces(str(legacy.get("arguments", ""))):
            yield {"function_call": {"arguments": piece}}, None


def _tool_deltas(calls: object) -> Iterator[Json]:
    """Each call's name with empty arguments first, then the arguments piece by piece."""
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        if not isinstance(call, dict):
            raise NotAnAnswer("a tool call is not an object")
        kind, field = ("custom", "input") if "custom" in call else ("function", "arguments")
        inner = call.get(kind)
        if not isinstance(inner, dict):
            yield {"tool_calls": [{"index": index, **call}]}
            continue
        yield {"tool_calls": [{"index": index, **call, kind: inner | {field: ""}}]}
        for piece in pieces(str(inner.get(field, ""))):
            yield {"tool_calls": [{"index": index, kind: {field: piece}}]}

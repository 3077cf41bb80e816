"""A complete `/v1/responses` answer as the events of its stream, in the order of the real API.

    created, in_progress, then for each output item: added, its parts piece by piece, done; last completed, incomplete
    or failed, with the whole response in it. `sequence_number` counts every event.

Text, refusals, summaries, function arguments and custom tool inputs come in pieces; items and parts of any other type
come whole in `added` and `done`. There is no `[DONE]`.
"""

from collections.abc import Iterator

import msgspec

from proxy.wire.pieces import NotAnAnswer, pieces
from proxy.wire.sse import event

_LAST = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}
_PARTS = {"message": "content", "reasoning": "summary"}
"""The types of items that are made of parts, and where those are."""
Json = dict[str, object]


def response_events(answer: Json) -> Iterator[bytes]:
    """The frames for a response. Raises `NotAnAnswer`, before the first, for anything else."""
    last = _LAST.get(str(answer.get("status")))
    if last is None:
        raise NotAnAnswer("the answer is no finished response")
    items = [(item, _parts(item)) for item in _objects(answer.get("output"), "output")]
    for number, happened in enumerate(_events(answer, items, last)):
        yield event(msgspec.json.encode(happened | {"sequence_number": number}), str(happened["type"]))


def _objects(value: object, what: str) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise NotAnAnswer(f"the answer's {what} is no array of objects")
    return value


def _parts(item: Json) -> list[Json]:
    field = _PARTS.get(str(item.get("type")))
    return [] if field is None else _objects(item.get(field, []), field)


def _events(answer: Json, items: list[tuple[Json, list[Json]]], last: str) -> Iterator[Json]:
    not_yet = {name: None for name in ("usage", "error", "incomplete_details", "completed_at") if name in answer}
    begun = answer | not_yet | {"status": "in_progress", "output": []}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, (item, parts) in enumerate(items):
        yield from _item(index, item, parts)
    yield {"type": last, "response": answer}


def _item(index: int, item: Json, parts: list[Json]) -> Iterator[Json]:
    place: Json = {"output_index": index}
    where = place | {"item_id": item.get("id")}
    empty: Json = {}
    inside: Iterator[Json] = iter(())
    match item.get("type"):
        case "message":
            empty, inside = {"content": []}, _contents(where, parts)
        case "reasoning":
            empty, inside = {"summary": []}, _summaries(where, parts)
        case "function_call":
            empty, inside = {"arguments": ""}, _arguments(where, item)
        case "custom_tool_call":
            empty, inside = {"input": ""}, _custom_input(where, item)
        case _:
            pass
    begun: Json = {"status": "in_progress"} if "status" in item else {}
    yield {"type": "response.output_item.added", **place, "item": item | begun | empty}
    yield from inside
    yield {"type": "response.output_item.done", **place, "item": item}


def _contents(where: Json, parts: list[Json]) -> Iterator[Json]:
    for index, part in enumerate(parts):
        at = where | {"content_index": index}
        blank: Json
        inside: Iterator[Json] = iter(())
        match part.get("type"):
            case "refusal":
                blank, inside = {"refusal": ""}, _refusal(at, part)
            case "output_text":
                lists: Json = {name: [] for name in ("annotations", "logprobs") if part.get(name)}
                blank, inside = {"text": "", **lists}, _text(at, part)
            case _:
                blank = {}
        yield {"type": "response.content_part.added", **at, "part": part | blank}
        yield from inside
        yield {"type": "response.content_part.done", **at, "part": part}


def _refusal(at: Json, part: Json) -> Iterator[Json]:
    refusal = _words(part, "refusal")
    for piece in pieces(refusal):
        yield {"type": "response.refusal.delta", **at, "delta": piece}
    yield {"type": "response.refusal.done", **at, "refusal": refusal}


def _text(at: Json, part: Json) -> Iterator[Json]:
    """Log probabilities come whole, with the first piece, and again at the end, as the real API repeats them."""
    text, logprobs = _words(part, "text"), part.get("logprobs") or []
    left = logprobs
    for piece in pieces(text):
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": left}
        left = []
    annotations = part.get("annotations")
    for index, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
        name = "response.output_text.annotation.added"
        yield {"type": name, **at, "annotation_index": index, "annotation": annotation}
    yield {"type": "response.output_text.done", **at, "text": text, "logprobs": logprobs}


def _summaries(where: Json, parts: list[Json]) -> Iterator[Json]:
    for index, part in enumerate(parts):
        at = where | {"summary_index": index}
        text = _words(part, "text")
        yield {"type": "response.reasoning_summary_part.added", **at, "part": part | {"text": ""}}
        for piece in pieces(text):
            yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **at, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **at, "part": part}


def _arguments(where: Json, item: Json) -> Iterator[Json]:
    arguments = _words(item, "arguments")
    for piece in pieces(arguments):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
    name = item.get("name")
    yield {"type": "response.function_call_arguments.done", **where, "name": name, "arguments": arguments}


def _custom_input(where: Json, item: Json) -> Iterator[Json]:
    text = _words(item, "input")
    for piece in pieces(text):
        yield {"type": "response.custom_tool_call_input.delta", **where, "delta": piece}
    yield {"type": "response.custom_tool_call_input.done", **where, "input": text}


def _words(holder: Json, field: str) -> str:
    text = holder.get(field)
    return text if isinstance(text, str) else ""

"""A complete `/v1/responses` answer as the events of its stream, in the order of the real API.

    created, in_progress, then for each output item: added, its parts piece by piece, done; last completed, incomplete
    or failed, with the whole response in it. `sequence_number` counts every event.

Text, refusals, function arguments and custom tool inputs come in pieces; items of any other type come whole in `added`
and `done`. There is no `[DONE]`.
"""

from collections.abc import Iterator

import msgspec

from proxy.wire.pieces import NotAnAnswer, pieces
from proxy.wire.sse import event

_LAST = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}
Json = dict[str, object]


def response_events(answer: Json) -> Iterator[bytes]:
    """The frames for a response. Raises `NotAnAnswer` for anything else."""
    items = answer.get("output")
    last = _LAST.get(str(answer.get("status")))
    if not isinstance(items, list) or last is None:
        raise NotAnAnswer("the answer is no finished response")
    for number, happened in enumerate(_events(answer, items, last)):
        yield event(msgspec.json.encode(happened | {"sequence_number": number}), str(happened["type"]))


def _events(answer: Json, items: list[object], last: str) -> Iterator[Json]:
    begun = answer | {"status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise NotAnAnswer("an output item is not an object")
        yield from _item(index, item)
    yield {"type": last, "response": answer}


def _item(index: int, item: Json) -> Iterator[Json]:
    place = {"output_index": index}
    where = place | {"item_id": item.get("id")}
    empty: Json
    parts: Iterator[Json]
    match item.get("type"):
        case "message":
            empty, parts = {"content": []}, _parts(where, item.get("content"))
        case "function_call":
            empty, parts = {"arguments": ""}, _arguments(where, item)
        case "custom_tool_call":
            empty, parts = {"input": ""}, _custom_input(where, item)
        case "reasoning":
            empty, parts = {"summary": []}, _summaries(where, item.get("summary"))
        case _:
            empty, parts = {}, iter(())
    begun = {"status": "in_progress"} if "status" in item else {}
    yield {"type": "response.output_item.added", **place, "item": item | begun | empty}
    yield from parts
    yield {"type": "response.output_item.done", **place, "item": item}


def _parts(where: Json, content: object) -> Iterator[Json]:
    for index, part in enumerate(content if isinstance(content, list) else ()):
        at = where | {"content_index": index}
        if not isinstance(part, dict):
            raise NotAnAnswer("a content part is not an object")
        field = "refusal" if part.get("type") == "refusal" else "text"
        name = "response.refusal" if field == "refusal" else "response.output_text"
        text = str(part.get(field, ""))
        blank = part | {field: ""} | ({"annotations": []} if "annotations" in part else {})
        yield {"type": "response.content_part.added", **at, "part": blank}
        extra: Json = {} if field == "refusal" else {"logprobs": []}
        for piece in pieces(text):
            yield {"type": f"{name}.delta", **at, "delta": piece, **extra}
        yield from _annotations(at, part.get("annotations"))
        yield {"type": f"{name}.done", **at, field: text, **extra}
        yield {"type": "response.content_part.done", **at, "part": part}


def _annotations(at: Json, annotations: object) -> Iterator[Json]:
    for index, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
        yield {
            "type": "response.output_text.annotation.added",
            **at,
            "annotation_index": index,
            "annotation": annotation,
        }


def _arguments(where: Json, item: Json) -> Iterator[Json]:
    arguments = str(item.get("arguments", ""))
    for piece in pieces(arguments):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
    yield {
        "type": "response.function_call_arguments.done",
        **where,
        "name": item.get("name"),
        "arguments": arguments,
    }


def _custom_input(where: Json, item: Json) -> Iterator[Json]:
    text = str(item.get("input", ""))
    for piece in pieces(text):
        yield {"type": "response.custom_tool_call_input.delta", **where, "delta": piece}
    yield {"type": "response.custom_tool_call_input.done", **where, "input": text}


def _summaries(where: Json, summary: object) -> Iterator[Json]:
    for index, part in enumerate(summary if isinstance(summary, list) else ()):
        if not isinstance(part, dict):
            raise NotAnAnswer("a summary part is not an object")
        at = where | {"summary_index": index}
        text = str(part.get("text", ""))
        yield {"type": "response.reasoning_summary_part.added", **at, "part": part | {"text": ""}}
        for piece in pieces(text):
            yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **at, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **at, "part": part}

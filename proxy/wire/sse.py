"""Server-sent events: frames, comments, and how an error is told inside a stream."""

import msgspec

DONE = b"data: [DONE]\n\n"
"""How OpenAI ends chat and completion streams. Response streams have no such end."""
SHOWN_BYTES = 1000
"""How much is shown of an error that is not in OpenAI's shape."""


def comment(text: str = "standby") -> bytes:
    """A line that every client skips: a sign of life."""
    return f": {text}\n\n".encode()


def event(content: bytes, name: str | None = None) -> bytes:
    """One event. `content` and `name` must be on one line."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + content + b"\n\n"


class _ErrorBody(msgspec.Struct):
    error: object = None


def error_event(body: bytes, endpoint: str) -> bytes:
    """An error inside a stream, so that a stock SDK raises it. `body` is an error answer, at best in OpenAI's shape.

    openai-python raises `APIError` for any event whose data has an `error` that is not empty. The `error` event of
    response streams has code, message and param beside it.
    """
    try:
        return _event_of(_error_of(body), endpoint)
    except RecursionError:
        return _event_of(_in_words(body), endpoint)


def _event_of(error: dict[str, object], endpoint: str) -> bytes:
    if endpoint != "/v1/responses":
        return event(msgspec.json.encode({"error": error})) + DONE
    flat = {name: error.get(name) for name in ("code", "message", "param")}
    return event(msgspec.json.encode({"type": "error", **flat, "error": error, "sequence_number": 0}), "error")


def _error_of(body: bytes) -> dict[str, object]:
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _in_words(body)
    if isinstance(error, dict) and error:
        return error
    return _in_words(error.encode() if isinstance(error, str) else body)


def _in_words(text: bytes) -> dict[str, object]:
    shown = text[:SHOWN_BYTES].decode("utf-8", "replace")
    return {"message": shown or "upstream gave no reason", "type": "server_error", "param": None, "code": None}

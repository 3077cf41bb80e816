"""Server-sent events: frames, comments, and how an error is told inside a stream."""

import msgspec

DONE = b"data: [DONE]\n\n"
"""How OpenAI ends chat and completion streams. Response streams have no such end."""


def comment(text: str = "standby") -> bytes:
    """A line that every client skips: a sign of life."""
    return f": {text}\n\n".encode()


def event(content: bytes, name: str | None = None) -> bytes:
    """One event. `content` must be on one line."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + content + b"\n\n"


class _ErrorBody(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()


def error_event(body: bytes, endpoint: str) -> bytes:
    """An error inside a stream, so that a stock SDK raises it.

    openai-python raises `APIError` for any event whose data has an `error`, on an event without a name, and for the
    response streams' own `error` event too.
    """
    error = _error_of(body)
    if endpoint == "/v1/responses":
        return event(msgspec.json.encode({"type": "error", "error": error, "sequence_number": 0}), "error")
    return event(msgspec.json.encode({"error": error})) + DONE


def _error_of(body: bytes) -> object:
    try:
        error = msgspec.json.decode(body, type=_ErrorBody).error
        if bytes(error):
            found: object = msgspec.json.decode(error)
            return found
    except msgspec.MsgspecError:
        pass
    text = body[:1000].decode("utf-8", "replace")
    return {"message": text or "upstream gave no reason", "type": "server_error", "param": None, "code": None}

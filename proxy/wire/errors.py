"""Errors in the shape that OpenAI's clients know: `{"error": {"message", "type", "param", "code"}}`."""

import msgspec

from proxy.domain.errors import ClientFault

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_SERVER_ERROR = 500


def error_body(*, status: int, message: str, code: str | None, param: str | None = None) -> bytes:
    """An error as JSON; its `type` follows from the status."""
    kind = "server_error" if status >= _SERVER_ERROR else _TYPES.get(status, "invalid_request_error")
    error = {"message": _encodable(message), "type": kind, "param": _encodable(param), "code": _encodable(code)}
    return msgspec.json.encode({"error": error})


def render(fault: ClientFault) -> tuple[int, bytes]:
    """Status and body for a client's fault."""
    return fault.status, error_body(status=fault.status, message=fault.message, code=fault.code, param=fault.param)


class _Error(msgspec.Struct):
    code: object = None
    type: object = None


class _Body(msgspec.Struct):
    error: _Error


def error_code(body: bytes) -> str | None:
    """The `code` of an error body, or its `type` where it has none; None for what is no such body."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
    except msgspec.MsgspecError:
        return None
    word = error.code or error.type
    return word if isinstance(word, str) else None


def _encodable(text: str | None) -> str | None:
    """Headers that are not UTF-8 arrive with lone surrogates, which JSON cannot hold."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()

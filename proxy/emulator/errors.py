"""How the emulator refuses: one exception, rendered in OpenAI's error shape."""

from collections.abc import Mapping

from proxy.emulator.shape import JsonObject

INVALID = "invalid_request_error"


class ApiError(Exception):
    """A refusal with its HTTP status. `param` names the argument at fault, `code` is what programs look at."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> JsonObject:
        """Return `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """Make a 400 of type `invalid_request_error`."""
    return ApiError(400, message, param=param, code=code)


def server_error(status: int) -> ApiError:
    """Make the error that an injected fault answers with; `status` decides type and code."""
    if status == 429:  # noqa: PLR2004 - the HTTP status itself
        return ApiError(status, "Rate limit reached (injected fault).", kind="requests", code="rate_limit_exceeded")
    if status < 500:  # noqa: PLR2004 - the HTTP status itself
        return ApiError(status, "The request was refused (injected fault).", code="injected_fault")
    return ApiError(status, "The server had an error while processing your request.", kind="server_error")

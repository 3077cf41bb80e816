"""Small answers of our own: errors and JSON, in the shapes that OpenAI's clients know."""

from collections.abc import Iterable

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from proxy.domain.errors import ClientFault
from proxy.wire.errors import error_body, render

JSON = ("Content-Type", "application/json")
BAD_GATEWAY = 502
UNAVAILABLE = 503


def reply(status: int, body: bytes, headers: Iterable[tuple[str, str]] = (JSON,)) -> web.Response:
    """An answer with exactly these headers (and a length)."""
    return web.Response(status=status, body=body, headers=CIMultiDict(headers))


def reply_json(content: object, headers: Iterable[tuple[str, str]] = ()) -> web.Response:
    """A 200 with JSON."""
    return reply(200, msgspec.json.encode(content), (JSON, *headers))


def refuse(fault: ClientFault) -> web.Response:
    """An error of the client's. Where time will mend it, that is not to be tried blindly in between."""
    status, body = render(fault)
    if fault.after_seconds is None:
        return reply(status, body)
    return reply(status, body, (JSON, ("Retry-After", f"{fault.after_seconds:.0f}"), ("x-should-retry", "false")))


def fail(status: int, message: str, code: str, headers: Iterable[tuple[str, str]] = ()) -> web.Response:
    """An error that is not the client's."""
    return reply(status, error_body(status=status, message=message, code=code), (JSON, *headers))

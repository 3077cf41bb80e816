"""Taking in what a client sends: told to go on where it asks first, and never more than the limit."""

from aiohttp import HttpVersion11, web

from proxy.domain.errors import ClientFault
from proxy.server.arrivals import Arrivals

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_LARGE = 413


def go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for leave to send its body. One that speaks HTTP/1.0 does not know what that is."""
    asks = request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11
    if asks and request.transport is not None:
        request.transport.write(CONTINUE)


def retry_count(request: web.BaseRequest) -> int:
    """How often a stock SDK has tried this call before."""
    said = request.headers.get("x-stainless-retry-count", "")
    return int(said) if said.isdecimal() else 0


async def read_body(arrivals: Arrivals, request: web.BaseRequest, bytes_max: int) -> bytes:
    """The whole body. Raises `ClientFault` 413 for a larger one."""
    if request.content_length is not None and request.content_length > bytes_max:
        raise _too_large(bytes_max)
    go_on(request)
    chunks: list[bytes] = []
    size = 0
    with arrivals.reading(request):
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > bytes_max:
                raise _too_large(bytes_max)
            chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit: int) -> ClientFault:
    return ClientFault(f"The body is larger than the limit of {limit} bytes.", status=TOO_LARGE, code="body_too_large")

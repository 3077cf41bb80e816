"""Between aiohttp and the routes: who asks, what was sent, and the ways in which a reply can go wrong on purpose."""

from collections.abc import AsyncIterator

from aiohttp import web

from proxy.emulator.errors import ApiError, bad_request
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.pace import Pace
from proxy.emulator.shape import JsonObject, dump, parse

ACCOUNT = web.RequestKey("account", str)
FAULT = web.RequestKey("fault", Fault)
PACE = web.RequestKey("pace", Pace)
BITS = 60
"""Into so many an answer is cut that trickles."""
UNREADABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
)


def reply(body: JsonObject, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=dump(body), status=status, headers=headers, content_type="application/json")


def refusal(error: ApiError) -> web.Response:
    """Answer with an error in OpenAI's shape."""
    return reply(error.body(), status=error.status, headers=error.headers)


async def read_object(request: web.Request) -> JsonObject:
    """Return the JSON object that the client sent, or refuse with a 400."""
    try:
        body = parse(await request.read())
    except ValueError as error:
        raise bad_request(UNREADABLE) from error
    if not isinstance(body, dict):
        raise bad_request(UNREADABLE)
    return body


def limit_of(request: web.Request, default: int, highest: int) -> int:
    """Return the query's `limit`, or refuse with a 400."""
    given = request.query.get("limit", str(default))
    limit = int(given) if given.isascii() and given.isdigit() else 0
    if not 1 <= limit <= highest:
        raise bad_request(f"Invalid 'limit': expected an integer from 1 to {highest}.", param="limit")
    return limit


def page(entries: list[JsonObject], *, has_more: bool) -> JsonObject:
    """Return OpenAI's list object."""
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return {"object": "list", "data": entries, "first_id": first, "last_id": last, "has_more": has_more}


def hang_up(request: web.Request) -> None:
    """Close the client's connection at once."""
    if request.transport is not None:
        request.transport.abort()


async def send(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes], total_bytes: int
) -> web.StreamResponse:
    """Send pieces as they come. An injected fault may hang up before them or in the middle of them."""
    fault = request.get(FAULT)
    if fault is not None and fault.kind is FaultKind.DROP_AFTER:
        hang_up(request)
        return response
    if fault is not None and fault.kind is FaultKind.TRICKLE:
        pieces = _bits(pieces, total_bytes, request[PACE], fault.seconds)
    room = total_bytes // 2 if fault is not None and fault.kind is FaultKind.TRUNCATE else total_bytes
    try:
        await response.prepare(request)
        async for piece in pieces:
            await response.write(piece[:room])
            room -= len(piece)
            if room < 0:
                hang_up(request)
                return response
        await response.write_eof()
    except ConnectionError:
        return response  # the client has left
    return response


async def send_badly(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """Send the head and half of the body of an answer, then hang up; or all of it, bit by bit."""
    body = whole.body if isinstance(whole.body, bytes) else b""
    headers = {name: value for name, value in whole.headers.items() if name.lower() != "content-length"}
    response = web.StreamResponse(status=whole.status, headers=headers)
    response.content_length = len(body)
    return await send(request, response, _one(body), len(body))


async def _bits(pieces: AsyncIterator[bytes], total_bytes: int, pace: Pace, seconds: float) -> AsyncIterator[bytes]:
    size = max(1, total_bytes // BITS)
    async for piece in pieces:
        for start in range(0, len(piece), size):
            await pace.sleep(seconds * size / total_bytes)
            yield piece[start : start + size]


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body

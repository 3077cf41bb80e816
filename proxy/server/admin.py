"""Health, readiness and metrics: for machines, without a key, with nothing in them that is a tenant's."""

import msgspec
from aiohttp import web

from proxy.domain.errors import StoreFault
from proxy.server.house import House
from proxy.server.replies import UNAVAILABLE, reply


async def serve(house: House, request: web.BaseRequest) -> web.Response | None:
    """The answer to one of these routes, None for every other."""
    if request.method not in {"GET", "HEAD"}:
        return None
    match request.path:
        case "/healthz":
            return reply(200, b'{"status":"ok"}')
        case "/readyz":
            return await _ready(house)
        case "/metrics":
            openmetrics = "application/openmetrics-text" in request.headers.get("Accept", "")
            alone = _asks_one_alone(house, request)
            page, content_type = await house.showcase.metrics(openmetrics=openmetrics, alone=alone)
            return reply(200, page, (("Content-Type", content_type),))
        case _:
            return None


def _asks_one_alone(house: House, request: web.BaseRequest) -> bool:
    """Whether the call has come to the address that this process alone listens on, beside one that it shares."""
    if house.own_port is None or request.transport is None:
        return False
    came_to = request.transport.get_extra_info("sockname")
    return bool(came_to) and came_to[1] == house.own_port


async def _ready(house: House) -> web.Response:
    """Ready while new deferred requests can be taken: the store answers, and the process is not about to stop."""
    if house.draining:
        return reply(UNAVAILABLE, b'{"status":"draining"}')
    try:
        await house.store.open_batches()
    except StoreFault as fault:
        return reply(UNAVAILABLE, msgspec.json.encode({"status": "store_unavailable", "reason": str(fault)}))
    return reply(200, b'{"status":"ready"}')

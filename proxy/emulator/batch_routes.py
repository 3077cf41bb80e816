"""The routes of batches: create, list, look, cancel."""

from aiohttp import web

from proxy.emulator.batches import Batches
from proxy.emulator.pace import Pace
from proxy.emulator.replies import ACCOUNT, limit_of, page, read_object, reply

LIST_LIMIT = 20
LIST_LIMIT_MAX = 100


class BatchRoutes:
    """Handlers; all state is that of `Batches`."""

    def __init__(self, pace: Pace, batches: Batches) -> None:
        self._pace = pace
        self._batches = batches

    async def create(self, request: web.Request) -> web.Response:
        """`POST /v1/batches`."""
        batch = await self._batches.create(request[ACCOUNT], await read_object(request))
        return reply(batch.shown(self._pace.now()))

    async def list(self, request: web.Request) -> web.Response:
        """`GET /v1/batches`: after, limit; newest first."""
        limit = limit_of(request, LIST_LIMIT, LIST_LIMIT_MAX)
        found, has_more = await self._batches.page(request[ACCOUNT], request.query.get("after"), limit)
        now = self._pace.now()
        return reply(page([batch.shown(now) for batch in found], has_more=has_more))

    async def get(self, request: web.Request) -> web.Response:
        """`GET /v1/batches/{id}`."""
        batch = await self._batches.get(request[ACCOUNT], request.match_info["batch"])
        return reply(batch.shown(self._pace.now()))

    async def cancel(self, request: web.Request) -> web.Response:
        """`POST /v1/batches/{id}/cancel`."""
        batch = await self._batches.cancel(request[ACCOUNT], request.match_info["batch"])
        return reply(batch.shown(self._pace.now()))

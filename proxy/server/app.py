"""The routes, and the door: who may come in, where a call goes, what becomes of an error."""

from urllib.parse import parse_qsl

from aiohttp import web

from proxy.domain.errors import ClientFault, StoreFault
from proxy.domain.events import RequestRejected
from proxy.server import admin, deferred, intake, models, operator, virtual_batches
from proxy.server.auth import Caller
from proxy.server.house import House
from proxy.server.replies import UNAVAILABLE, fail, refuse
from proxy.wire.urgency import split_prefix

NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
LOOP_DETECTED = 508
DEFERRED = "/v1/deferred"


class App:
    """The whole server as one callable for `aiohttp.web.Server`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except ClientFault as fault:
            self._house.announce(
                RequestRejected(fault.status, fault.code or "invalid_request", self._house.clock.now())
            )
            return refuse(fault)
        except StoreFault:
            message = "The store cannot take deferred requests at the moment. Urgent calls are served."
            return fail(UNAVAILABLE, message, "store_unavailable", (("Retry-After", "5"),))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        house = self._house
        own = await admin.serve(house, request) or await operator.serve(house, request)
        if own is not None:
            return own
        self._refuse_circle(request)
        prefix, path = split_prefix(request.raw_path)
        if not path.startswith("/v1/"):
            raise ClientFault(
                f"Unknown URL ({request.method} {request.path[:200]}): Standby serves /v1/..., also behind /within/2h, "
                "/by/06:00 and /urgent, and /, /healthz, /readyz, /metrics.",
                status=NOT_FOUND,
                code="unknown_url",
            )
        resource, _, query = path.partition("?")
        is_one = request.method == "GET" and resource.startswith(DEFERRED + "/")
        if is_one and house.doorman.is_operator(request.headers):
            return await deferred.show_operator(house, resource.removeprefix(DEFERRED + "/"))
        caller = house.doorman.identify(request.headers)
        if resource.rstrip("/") == DEFERRED or resource.startswith(DEFERRED + "/"):
            return await self._deferred(request, caller, resource.rstrip("/"), dict(parse_qsl(query)))
        listed = await models.serve(house, request.method, caller, resource.rstrip("/"))
        if listed is not None:
            return listed
        own_batch = await virtual_batches.serve(house, request, caller, resource.rstrip("/"), dict(parse_qsl(query)))
        if own_batch is not None:
            return own_batch
        return await intake.serve(house, request, caller, prefix, path)

    async def _deferred(
        self, request: web.BaseRequest, caller: Caller, resource: str, query: dict[str, str]
    ) -> web.StreamResponse:
        request_id = resource.removeprefix(DEFERRED).removeprefix("/")
        match request.method, bool(request_id):
            case "GET", False:
                return await deferred.in_time(deferred.list_all(self._house, caller, query))
            case "GET", True:
                return await deferred.in_time(deferred.show(self._house, caller, request_id, query))
            case "DELETE", True:
                return await deferred.in_time(deferred.delete(self._house, caller, request_id))
            case _:
                raise ClientFault(
                    f"{request.method} is not possible here.", status=METHOD_NOT_ALLOWED, code="method_not_allowed"
                )

    def _refuse_circle(self, request: web.BaseRequest) -> None:
        """A call that we sent ourselves: our own address is configured as the upstream."""
        if any(self._house.hop in via for via in request.headers.getall("Via", ())):
            raise ClientFault(
                "Standby is its own upstream: the upstream's base_url (or STANDBY_UPSTREAM) points back at this proxy. "
                "Set it to the provider's address.",
                status=LOOP_DETECTED,
                code="loop_detected",
            )

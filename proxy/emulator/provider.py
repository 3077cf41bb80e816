"""The emulator: an OpenAI-shaped provider that is stricter than the real one. Builds the parts, and the application.

    emulator = Emulator(Settings(time_scale=1440), clock, prices)
    await emulator.start()
    runner = web.AppRunner(emulator.app()); await runner.setup(); await web.TCPSite(runner, host, port).start()
    ...
    await runner.cleanup(); await emulator.close()

It shares no code with the rest of the house but the clock: an oracle must not share our bugs.
"""

import math
from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.domain.clock import Clock
from proxy.emulator.answers import Answers
from proxy.emulator.batch_routes import BatchRoutes
from proxy.emulator.batches import Batches
from proxy.emulator.bill import Bill
from proxy.emulator.calls import Calls, Models
from proxy.emulator.catalog import ENDPOINTS, Catalog, Prices
from proxy.emulator.control import Control
from proxy.emulator.errors import ApiError, server_error
from proxy.emulator.faults import Fault, FaultKind, Faults
from proxy.emulator.file_routes import FileRoutes
from proxy.emulator.files import Shelf
from proxy.emulator.ids import Ids, account_of
from proxy.emulator.limits import Limits
from proxy.emulator.pace import Pace
from proxy.emulator.purchases import Purchases
from proxy.emulator.replies import ACCOUNT, FAULT, PACE, hang_up, refusal, send_badly
from proxy.emulator.settings import Settings
from proxy.emulator.shape import JsonObject

BODY_BYTES_MAX = 64 * 1024 * 1024
"""Of JSON bodies; uploads have a limit of their own."""
CONTROL_PREFIX = "/emulator/"
DROPPED = 0
"""The status under which a dropped connection is counted."""
OPERATIONS = dict(zip(ENDPOINTS, ("chat", "responses", "embeddings", "completions", "moderations"), strict=True))

REQUEST_ID = web.RequestKey("request_id", str)
ARRIVED_AT = web.RequestKey("arrived_at", float)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Emulator:
    """One fake provider with all its accounts. `prices` is LiteLLM's cost map as a plain dict."""

    def __init__(self, settings: Settings, clock: Clock, prices: Prices) -> None:
        self._settings = settings
        self._clock = clock
        self._pace = Pace(clock, settings.time_scale)
        self._ids = Ids(settings.seed)
        self.faults = Faults(settings.faults, settings.seed)
        catalog = Catalog(prices, settings.models)
        answers = Answers(catalog, settings.seed, settings.reply_words_max)
        self._bill = Bill(catalog)
        purchases = Purchases(settings.purchases_max)
        self._shelf = Shelf(settings, self._pace, self._ids)
        batches = Batches(
            settings,
            self._pace,
            ids=self._ids,
            catalog=catalog,
            answers=answers,
            shelf=self._shelf,
            bill=self._bill,
            purchases=purchases,
            faults=self.faults,
        )
        self._calls = Calls(
            settings,
            self._pace,
            ids=self._ids,
            catalog=catalog,
            answers=answers,
            limits=Limits(settings),
            bill=self._bill,
            purchases=purchases,
        )
        self._models = Models(catalog)
        self._file_routes = FileRoutes(settings, self._pace, self._shelf)
        self._batch_routes = BatchRoutes(self._pace, batches)
        self._control = Control(
            bill=self._bill, purchases=purchases, shelf=self._shelf, batches=batches, faults=self.faults
        )

    async def start(self) -> None:
        """Make the directory for files. Nothing runs in the background: the clock is looked at when somebody asks."""
        await self._shelf.open()

    async def close(self) -> None:
        """Delete all files."""
        await self._shelf.close()

    async def account(self) -> JsonObject:
        """Return the provider's own account: bills (dollars as decimal strings), routes, files, batches by state."""
        return await self._control.account_shown()

    async def lines(self, text: str | None = None) -> JsonObject:
        """Return how often each body and each custom_id was bought; with `text`, only bodies that contain it."""
        return await self._control.lines_shown(text)

    def app(self) -> web.Application:
        """Build the application. Start the emulator first."""
        app = web.Application(middlewares=[self._answer], client_max_size=BODY_BYTES_MAX)
        app.on_response_prepare.append(self._sign)
        self._add_routes(app.router)
        return app

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        for path, name in OPERATIONS.items():
            router.add_post(path, self._calls.serve, name=name)
        files, batches, control = self._file_routes, self._batch_routes, self._control
        router.add_get("/v1/models", self._models.list, name="list_models", allow_head=False)
        router.add_get("/v1/models/{model}", self._models.get, name="get_model", allow_head=False)
        router.add_post("/v1/files", files.upload, name="upload_file")
        router.add_get("/v1/files", files.list, name="list_files", allow_head=False)
        router.add_get("/v1/files/{file}", files.get, name="get_file", allow_head=False)
        router.add_get("/v1/files/{file}/content", files.download, name="download", allow_head=False)
        router.add_delete("/v1/files/{file}", files.delete, name="delete_file")
        router.add_post("/v1/batches", batches.create, name="create_batch")
        router.add_get("/v1/batches", batches.list, name="list_batches", allow_head=False)
        router.add_get("/v1/batches/{batch}", batches.get, name="get_batch", allow_head=False)
        router.add_post("/v1/batches/{batch}/cancel", batches.cancel, name="cancel_batch")
        router.add_get("/emulator/account", control.account, allow_head=False)
        router.add_get("/emulator/lines", control.lines, allow_head=False)
        router.add_get("/emulator/faults", control.list_faults, allow_head=False)
        router.add_post("/emulator/faults", control.add_faults)
        router.add_delete("/emulator/faults", control.clear_faults)

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give every answer its shape: errors as OpenAI has them, faults as ordered, everything counted."""
        request[ARRIVED_AT] = self._clock.monotonic()
        request[REQUEST_ID] = self._ids.next("req_")
        operation = request.match_info.route.name
        try:
            if operation is None:
                return await handler(request)
            response = await self._faulty(request, handler, operation)
        except ApiError as error:
            response = refusal(error)
        except web.HTTPException as error:
            response = refusal(_as_api_error(request, error))
        except ConnectionError:
            response = web.Response()  # the client has left in the middle of its request
        if not request.path.startswith(CONTROL_PREFIX):
            hung_up = request.transport is None or request.transport.is_closing()
            self._bill.answers[operation or "unknown", DROPPED if hung_up else response.status] += 1
        return response

    async def _faulty(self, request: web.Request, handler: Handler, operation: str) -> web.StreamResponse:
        request[ACCOUNT] = self._authenticate(request)
        body = await request.read() if self.faults.wants_body(operation) else b""
        fault = self.faults.draw(operation, body)
        if fault is None:
            return await handler(request)
        match fault.kind:
            case FaultKind.STATUS:
                raise self._ordered_error(fault)
            case FaultKind.DROP_BEFORE:
                hang_up(request)
                return web.Response()
            case FaultKind.DELAY:
                await self._pace.sleep(fault.seconds)
                return await handler(request)
            case _:
                return await self._broken_off(request, handler, fault)

    def _ordered_error(self, fault: Fault) -> ApiError:
        error = server_error(fault.status)
        if fault.seconds > 0:
            error.headers["retry-after"] = str(math.ceil(fault.seconds / self._settings.time_scale))
        return error

    async def _broken_off(self, request: web.Request, handler: Handler, fault: Fault) -> web.StreamResponse:
        """Do what was asked, then hang up instead of answering, or within the answer, or let it trickle."""
        request[FAULT] = fault
        request[PACE] = self._pace
        response = await handler(request)
        if not isinstance(response, web.Response):
            return response  # a stream: `replies.send` has hung up already
        if fault.kind in {FaultKind.TRUNCATE, FaultKind.TRICKLE}:
            return await send_badly(request, response)
        hang_up(request)
        return response

    def _authenticate(self, request: web.Request) -> str:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            message = "You didn't provide an API key. Send it as a bearer token: Authorization: Bearer YOUR_KEY."
            raise ApiError(401, message)
        if self._settings.keys is not None and key not in self._settings.keys:
            raise ApiError(401, "Incorrect API key provided.", code="invalid_api_key")
        return account_of(key)

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        elapsed = self._clock.monotonic() - request[ARRIVED_AT]
        response.headers["x-request-id"] = request[REQUEST_ID]
        response.headers["openai-processing-ms"] = str(int(elapsed * 1000))
        response.headers["openai-version"] = "2020-10-01"
        response.headers["openai-organization"] = self._settings.organization


def _as_api_error(request: web.Request, error: web.HTTPException) -> ApiError:
    if error.status == web.HTTPMethodNotAllowed.status_code:
        message = f"Not allowed to {request.method} on {request.path}."
        return ApiError(405, message, code="method_not_supported")
    if error.status == web.HTTPRequestEntityTooLarge.status_code:
        return ApiError(413, "The request body is too large.", code="request_too_large")
    if error.status == web.HTTPNotFound.status_code:
        return ApiError(404, f"Invalid URL ({request.method} {request.path})", code="unknown_url")
    return ApiError(error.status, error.reason)

"""The emulator's own routes under `/emulator`, without a key: its account, what was bought, and the faults in force."""

from aiohttp import web

from proxy.emulator.batches import Batches
from proxy.emulator.bill import Bill
from proxy.emulator.errors import bad_request
from proxy.emulator.faults import Faults, fault_from
from proxy.emulator.files import Shelf
from proxy.emulator.purchases import Purchases
from proxy.emulator.replies import read_object, reply
from proxy.emulator.shape import JsonObject, as_list

TOO_MANY_REQUESTS = 429


class Control:
    """Handlers that look at everything and change nothing but the list of faults."""

    def __init__(self, *, bill: Bill, purchases: Purchases, shelf: Shelf, batches: Batches, faults: Faults) -> None:
        self._bill = bill
        self._purchases = purchases
        self._shelf = shelf
        self._batches = batches
        self._faults = faults

    async def account(self, _request: web.Request) -> web.Response:
        """`GET /emulator/account`: see `Emulator.account`."""
        return reply(await self.account_shown())

    async def account_shown(self) -> JsonObject:
        """Return the provider's own account as JSON."""
        await self._batches.catch_up()
        files: list[JsonObject] = [
            {"id": one.id, "filename": one.filename, "purpose": one.purpose, "account": one.account, "bytes": one.size}
            for one in await self._shelf.everything()
        ]
        refused = sum(times for (_, status), times in self._bill.answers.items() if status == TOO_MANY_REQUESTS)
        more = {"routes": self._bill.routes(), "rate_limited": refused, "files": files}
        return self._bill.shown() | more | {"batches": self._batches.states()}

    async def lines(self, request: web.Request) -> web.Response:
        """`GET /emulator/lines[?text=...]`: how often each body and each custom_id was bought."""
        return reply(await self.lines_shown(request.query.get("text")))

    async def lines_shown(self, text: str | None = None) -> JsonObject:
        """Return the purchases as JSON; with `text`, only the bodies whose user text contains it."""
        await self._batches.catch_up()
        return self._purchases.shown(text)

    async def list_faults(self, _request: web.Request) -> web.Response:
        """`GET /emulator/faults`: those that are not used up."""
        return reply({"faults": self._faults.listed()})

    async def add_faults(self, request: web.Request) -> web.Response:
        """`POST /emulator/faults` with `{"faults": [...]}` adds all of them, or none if one is wrong."""
        body = await read_object(request)
        await self._batches.catch_up()  # what is due already is not touched by faults that come now
        if set(body) != {"faults"} or not isinstance(body["faults"], list):
            raise bad_request('Send {"faults": [{"operation": ..., "kind": ...}, ...]}.')
        try:
            self._faults.add(*[fault_from(described) for described in as_list(body["faults"])])
        except ValueError as error:
            raise bad_request(str(error)) from error
        return await self.list_faults(request)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """`DELETE /emulator/faults`."""
        await self._batches.catch_up()
        self._faults.clear()
        return await self.list_faults(request)

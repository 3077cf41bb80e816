"""The synchronous routes: check, admit, refuse flex, answer, bill, send."""

from collections.abc import AsyncIterator

from aiohttp import web

from proxy.emulator.answers import Answer, Answers, Circumstances
from proxy.emulator.bill import Bill
from proxy.emulator.catalog import Catalog
from proxy.emulator.chance import seeded
from proxy.emulator.errors import ApiError, bad_request
from proxy.emulator.ids import Ids
from proxy.emulator.limits import Limits
from proxy.emulator.pace import Pace
from proxy.emulator.prompt_cache import PromptCache
from proxy.emulator.purchases import Purchases, bought
from proxy.emulator.replies import ACCOUNT, read_object, reply, send
from proxy.emulator.settings import Settings
from proxy.emulator.shape import JsonObject
from proxy.emulator.streaming import Event, events, wants_usage
from proxy.emulator.tokens import charged_ahead, prompt_text
from proxy.emulator.validation import check, model_of

TIERS = {"flex": "flex", "priority": "priority", "fast": "priority"}
"""What a request may ask for -> the tier that serves it, beyond standard."""
SHOWN = {"standard": "default", "flex": "flex", "priority": "priority"}


class Calls:
    """Answers one call at a time; all of them share limits, cache and bill."""

    def __init__(
        self,
        settings: Settings,
        pace: Pace,
        *,
        ids: Ids,
        catalog: Catalog,
        answers: Answers,
        limits: Limits,
        bill: Bill,
        purchases: Purchases,
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._ids = ids
        self._catalog = catalog
        self._answers = answers
        self._limits = limits
        self._bill = bill
        self._purchases = purchases
        self._cache = PromptCache(settings.prompt_cache_seconds / settings.time_scale)
        self._flex = seeded("flex", settings.seed)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a POST to one of the five endpoints; the path is the endpoint."""
        endpoint, account = request.path, request[ACCOUNT]
        body = await read_object(request)
        check(endpoint, body, self._catalog)
        model = model_of(endpoint, body)
        tier = self._tier(model, body)
        headers = self._limits.take(account, model, charged_ahead(endpoint, body), self._pace.now())
        if tier == "flex":
            self._refuse_flex_by_chance(headers)
        streamed = body.get("stream") is True
        answer = self._answer(endpoint, account, model, tier, body)
        await self._pace.sleep(self._latency_seconds(tier, 0 if streamed else answer.usage.completion))
        self._bill.add(account, model, tier, answer.usage)
        self._purchases.book([bought(endpoint, body)])
        if not streamed:
            return reply(answer.body, headers=headers)
        made = events(endpoint, answer.body, include_usage=wants_usage(body))
        head = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"} | headers
        response = web.StreamResponse(headers=head)
        return await send(request, response, self._paced(made, tier), sum(len(event.raw) for event in made))

    def _tier(self, model: str, body: JsonObject) -> str:
        asked = body.get("service_tier")
        if asked in (None, "auto", "default"):
            return "standard"
        tier = TIERS.get(str(asked))
        if tier is None or not self._catalog.sells(model, tier):
            message = f"Invalid service_tier argument: '{asked}' is not available for the model `{model}`."
            raise bad_request(message, param="service_tier", code="invalid_value")
        return "standard" if tier == "priority" and self._settings.priority_downgraded else tier

    def _refuse_flex_by_chance(self, headers: dict[str, str]) -> None:
        if self._flex.random() < self._settings.flex_refusal_probability:
            message = "Resource Unavailable: there is no flex capacity right now. You were not charged."
            raise ApiError(429, message, kind="resource_unavailable", code="resource_unavailable", headers=headers)

    def _answer(self, endpoint: str, account: str, model: str, tier: str, body: JsonObject) -> Answer:
        now = self._pace.now()
        cached = 0
        if self._catalog.caches_prompts(model):
            cached = self._cache.cached_tokens(account, model, prompt_text(endpoint, body), now)
        circumstances = Circumstances(self._ids.next(""), now, SHOWN[tier], cached)
        return self._answers.answer(endpoint, body, circumstances)

    def _latency_seconds(self, tier: str, tokens: int) -> float:
        seconds = self._settings.latency_seconds + self._settings.latency_per_token_seconds * tokens
        return seconds * (self._settings.flex_latency_factor if tier == "flex" else 1.0)

    async def _paced(self, made: list[Event], tier: str) -> AsyncIterator[bytes]:
        first = self._latency_seconds(tier, 0)
        for event in made:
            await self._pace.sleep(self._latency_seconds(tier, event.tokens) - first)
            yield event.raw


class Models:
    """`GET /v1/models` and `GET /v1/models/{id}`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list(self, _request: web.Request) -> web.Response:
        """List the models."""
        return reply({"object": "list", "data": [_model(name) for name in self._catalog.listed()]})

    async def get(self, request: web.Request) -> web.Response:
        """Return one model, or a 404."""
        name = request.match_info["model"]
        if not self._catalog.exists(name):
            message = f"The model '{name}' does not exist"
            raise ApiError(404, message, param="model", code="model_not_found")
        return reply(_model(name))


def _model(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "emulator"}

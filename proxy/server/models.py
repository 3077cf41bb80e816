"""`/v1/models` where calls go to more than one upstream: each lists the models that are routed to it.

With a single OpenAI-shaped upstream the call is passed through like any other.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import unquote

from aiohttp import web

from proxy.domain.errors import ClientFault, UpstreamFault
from proxy.domain.events import StepFailed
from proxy.server.accounts import Account
from proxy.server.auth import Caller
from proxy.server.house import House
from proxy.server.replies import BAD_GATEWAY, fail, reply_json
from proxy.upstream.litellm import LiteLLMUpstream

MODELS = "/v1/models"
NOT_FOUND = 404
GLOB_SIGNS = frozenset("*?[")
Model = Mapping[str, object]


async def serve(house: House, method: str, caller: Caller, resource: str) -> web.Response | None:
    """The answer to a call for models, None for every other call and for those that one upstream answers by itself."""
    if method != "GET":
        return None
    if resource == MODELS:
        return None if _is_one_upstreams(house) else await _list(house, caller)
    model = model_in(resource)
    if model is None or not isinstance(house.accounts.of(model).upstream, LiteLLMUpstream):
        return None
    return _named(house.accounts.of(model), model)


def is_about_models(resource: str) -> bool:
    """Whether a path is the list's or a single model's."""
    return resource == MODELS or resource.startswith(MODELS + "/")


def model_in(resource: str) -> str | None:
    """The model that `/v1/models/{model}` names: its slashes may be written as they are."""
    if not resource.startswith(MODELS + "/"):
        return None
    return unquote(resource.removeprefix(MODELS + "/")) or None


def _is_one_upstreams(house: House) -> bool:
    accounts = list(house.accounts)
    return len(accounts) == 1 and not isinstance(accounts[0].upstream, LiteLLMUpstream)


async def _list(house: House, caller: Caller) -> web.Response:
    accounts = list(house.accounts)
    listed = await asyncio.gather(*(_models_of(house, account, caller) for account in accounts))
    if all(models is None for models in listed):
        return fail(BAD_GATEWAY, "No upstream has said which models it has.", "upstream_unreachable")
    data = [model for models in listed for model in models or ()]
    return reply_json({"object": "list", "data": data})


async def _models_of(house: House, account: Account, caller: Caller) -> list[Model] | None:
    """What is routed to this account; None when it does not answer. The others are listed all the same."""
    upstream = account.upstream
    if isinstance(upstream, LiteLLMUpstream):
        return [_model(name, upstream.name) for name in account.models if not GLOB_SIGNS & set(name)]
    auth = account.auth or (caller.auth if account is _first_without_key(house) else None)
    if auth is None:
        return None
    try:
        models = await upstream.list_models(auth)
    except UpstreamFault as fault:
        now = house.clock.now()
        house.announce(StepFailed("list_models", upstream.name, None, fault.message, now, now))
        return None
    return [model for model in models if house.accounts.of(str(model.get("id"))) is account]


def _first_without_key(house: House) -> Account | None:
    """Where a client's own key belongs, as far as can be known: it is not shown around for a list."""
    asked = (account for account in house.accounts if not isinstance(account.upstream, LiteLLMUpstream))
    return next((account for account in asked if account.auth is None), None)


def _named(account: Account, name: str) -> web.Response:
    if name not in account.models:
        raise ClientFault(f"The model {name[:80]!r} is not known here.", status=NOT_FOUND, code="model_not_found")
    return reply_json(_model(name, account.upstream.name))


def _model(name: str, owner: str) -> Model:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}

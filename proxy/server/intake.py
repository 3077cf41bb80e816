"""Calls that may be deferred: read what they say about time, decide, and serve them at once or take them in.

A call with a JSON body to a route that sells tokens is read far enough to decide; everything else is relayed as it
streams. A deferred call is validated and durable before anything is answered.
"""

import asyncio

from aiohttp import web

from proxy.delivery.attach import Attached, accept_or_attach
from proxy.domain.decision import Delivery, Urgency
from proxy.domain.errors import ClientFault, StoreFault
from proxy.domain.events import RequestAttached, RequestDecided
from proxy.domain.ids import RequestId
from proxy.domain.request import Queue, Request
from proxy.server.auth import Caller
from proxy.server.deciding import Asked, announce_accepted, decide
from proxy.server.deferred import accepted
from proxy.server.exchange import Exchange
from proxy.server.hold import Held, hold
from proxy.server.house import House
from proxy.server.models import is_about_models, model_in
from proxy.server.receive import read_body, retry_count
from proxy.server.unpack import unpacked_request
from proxy.server.urgent import serve_at_once
from proxy.wire import webhooks
from proxy.wire.body import estimate_tokens, fingerprint, read_hints, without_own_metadata
from proxy.wire.lines import line_body, validate
from proxy.wire.patience import identify
from proxy.wire.urgency import Prefix, read_urgency

SELLING = frozenset(
    {
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/moderations",
        "/v1/images/generations",
    }
)
"""Routes whose calls buy tokens by a JSON body: the ones that can be decided upon."""
BUYING = SELLING | {
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/messages",
    "/v1/rerank",
    "/v1/responses/input_tokens",
}
"""Routes whose answer is all that a call gets, and all that it changes."""
TAKE_IN_SECONDS = 15.0
"""A client whose request the store has not taken by then is told so."""
FORBIDDEN = 403


async def serve(
    house: House, request: web.BaseRequest, caller: Caller, prefix: Prefix | None, path: str
) -> web.StreamResponse:
    """Serve one `/v1/...` call."""
    now, started = house.clock.now(), house.clock.monotonic()
    endpoint = path.partition("?")[0].rstrip("/")
    if not caller.whole_account:
        _refuse_whole_account(request, endpoint)
    is_selling = _is_selling(request, endpoint)
    body = await read_body(house.arrivals, request, house.settings.body_max_bytes) if is_selling else None
    hints = None if body is None else read_hints(_plain(house, request, body))
    model = (hints.model if hints else None) or ""
    account = house.accounts.of(model or model_in(endpoint))
    urgency = read_urgency(prefix=prefix, headers=request.headers, hints=hints, now=now, timezone=house.timezone)
    exchange = Exchange(
        request, house.ids.request(now), caller, account, path, endpoint, model, body, hints, now, started
    )
    _decide(house, exchange, urgency)
    house.announce(
        RequestDecided(
            request_id=exchange.request_id,
            tenant=caller.tenant,
            upstream=account.upstream.name,
            model=model,
            endpoint=endpoint,
            tier=exchange.decision.tier,
            reason=exchange.decision.reason,
            policy=exchange.decision.policy,
            deadline_at=exchange.decision.deadline_at,
            at=now,
            traceparent=request.headers.get("traceparent"),
        )
    )
    if not exchange.decision.is_deferred:
        return await serve_at_once(house, exchange)
    return await _defer(house, exchange, urgency)


def _refuse_whole_account(request: web.BaseRequest, endpoint: str) -> None:
    """Tenants with proxy keys share the provider's account: what it stores is not for each of them to see."""
    if (request.method == "POST" and endpoint in BUYING) or (request.method == "GET" and is_about_models(endpoint)):
        return
    raise ClientFault(
        f"{request.method} {endpoint[:80]} reaches what belongs to the whole provider account, which other keys of "
        "this proxy share. Its operator can allow that (keys: whole_account: true).",
        status=FORBIDDEN,
        code="whole_account",
    )


def _is_selling(request: web.BaseRequest, endpoint: str) -> bool:
    return request.method == "POST" and endpoint in SELLING


def _plain(house: House, request: web.BaseRequest, body: bytes) -> bytes:
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() == "identity":
        return body
    return unpacked_request(body, encoding, house.settings.body_max_bytes)


def _without_own_metadata(exchange: Exchange) -> bytes | None:
    """What goes upstream: the client's own bytes, unless they carry words that are meant for Standby."""
    hints, body = exchange.hints, exchange.body
    if hints is None or body is None or "Content-Encoding" in exchange.request.headers:
        return body
    if hints.metadata_deadline is None and hints.metadata_priority is None:
        return body
    return without_own_metadata(body)


def _decide(house: House, exchange: Exchange, urgency: Urgency) -> None:
    """Give the exchange its decision; one whose body was not read keeps the one that it came with."""
    hints, body, caller = exchange.hints, exchange.body, exchange.caller
    if hints is None or body is None:
        return
    exchange.decision = decide(
        house,
        Asked(
            tenant=caller.tenant,
            key=caller.key,
            key_deadline_seconds=caller.deadline_seconds,
            account=exchange.account,
            endpoint=exchange.endpoint,
            model=exchange.model,
            body=body,
            hints=hints,
            headers=exchange.request.headers,
            urgency=urgency,
            at=exchange.started_at,
        ),
    )
    exchange.body = _without_own_metadata(exchange)


async def _defer(house: House, exchange: Exchange, urgency: Urgency) -> web.StreamResponse:
    """Take a call in: validate, make durable, hold or answer 202."""
    new, attached = await _take_in(house, exchange)
    if attached.by is None:
        announce_accepted(house, new, exchange.decision)
        house.poke_engine()
    else:
        house.announce(RequestAttached(attached.request_id, attached.by, exchange.started_at))
        house.leavers.came_back(attached.request_id)
    return await _deliver(house, exchange, urgency, attached.request_id)


async def _take_in(house: House, exchange: Exchange) -> tuple[Request, Attached]:
    """Make it durable, or find the work that it belongs to. Raises `StoreFault`: then it may be in the store all the
    same, and is given up there unless its client comes back.
    """
    try:
        async with asyncio.timeout(TAKE_IN_SECONDS):
            new = await _request(house, exchange)
            attached = await accept_or_attach(
                house.store, new, retry_count=retry_count(exchange.request), is_held=house.holds.is_held
            )
            if attached.by is not None:
                await house.store.returned(attached.request_id)
    except (StoreFault, TimeoutError) as fault:
        house.leavers.note(exchange.request_id)
        raise StoreFault("the store did not take the request") from fault
    return new, attached


async def _request(house: House, exchange: Exchange) -> Request:
    body, hints, deadline_at = exchange.body, exchange.hints, exchange.decision.deadline_at
    if body is None or hints is None or deadline_at is None:
        raise AssertionError("only a call with a body and a deadline is deferred")
    plain = _plain(house, exchange.request, body)
    validate(exchange.endpoint, plain)
    upstream = exchange.account.upstream
    credential = await exchange.account.keeps(exchange.caller, house.vault)
    line = line_body(plain, refused=upstream.capabilities.refuses)
    return Request(
        id=exchange.request_id,
        tenant=exchange.caller.tenant,
        queue=Queue(upstream.name, credential, exchange.endpoint, exchange.model),
        body=line,
        fingerprint=fingerprint(plain),
        idempotency_key=exchange.request.headers.get("Idempotency-Key"),
        stream=hints.stream,
        include_usage=hints.include_usage,
        delivery=exchange.decision.delivery,
        policy=exchange.decision.policy,
        reason=exchange.decision.reason,
        estimated_tokens=estimate_tokens(line),
        accepted_at=exchange.started_at,
        deadline_at=deadline_at,
        tiers=exchange.decision.tiers,
        on_miss=exchange.decision.on_miss,
        confidence=exchange.decision.confidence,
        retention_seconds=exchange.decision.retention_seconds,
        grounds=exchange.decision.grounds,
        webhook=_webhook(house, exchange.request),
    )


def _webhook(house: House, request: web.BaseRequest) -> str | None:
    url = request.headers.get(webhooks.HEADER)
    if url is not None:
        house.webhooks.require_allowed(url)
    return url


async def _deliver(house: House, exchange: Exchange, urgency: Urgency, request_id: RequestId) -> web.StreamResponse:
    is_async = exchange.decision.delivery is Delivery.ASYNC
    if is_async and not urgency.wait_seconds:
        return await accepted(house, exchange.caller.tenant, request_id, best_effort=exchange.decision.best_effort)
    request, hints = exchange.request, exchange.hints
    stream = hints is not None and hints.stream
    version = (request.version.major, request.version.minor)
    held = Held(
        request=request,
        request_id=request_id,
        tier=exchange.decision.tier,
        reason=exchange.decision.reason,
        deadline_at=exchange.decision.deadline_at or exchange.started_at,
        best_effort=exchange.decision.best_effort,
        endpoint=exchange.endpoint,
        stream=stream,
        include_usage=hints is not None and hints.include_usage,
        patience=identify(request.headers, http_version=version, stream=stream, settings=house.settings.hold),
        until=exchange.started_at + (urgency.wait_seconds or 0.0) if is_async else None,
    )
    return await hold(house, held) or await accepted(
        house, exchange.caller.tenant, request_id, best_effort=exchange.decision.best_effort
    )

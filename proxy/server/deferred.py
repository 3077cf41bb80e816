"""`/v1/deferred`: deferred requests as resources, to poll, cancel and list. Each tenant sees its own."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import msgspec
from aiohttp import web

from proxy.domain.errors import ClientFault, StoreFault
from proxy.domain.ids import RequestId, TenantId
from proxy.domain.request import RequestState, RequestView
from proxy.server.auth import Caller
from proxy.server.house import House
from proxy.server.leavers import cancel
from proxy.server.replies import JSON, reply, reply_json
from proxy.wire.durations import parse_duration
from proxy.wire.resource import operators_resource, resource

NOT_FOUND = 404
CONFLICT = 409
ACCEPTED = 202
PAGE_DEFAULT = 20
PAGE_MAX = 100
POLL_SECONDS_MIN, POLL_SECONDS_MAX = 1.0, 60.0
POLLS_PER_WAIT = 20
"""How often a client is told to ask in the time that is left until its deadline, within those bounds."""
WAIT_SECONDS_MAX = 60.0
"""The longest that a poll waits: proxies between give up on a silent connection after a minute."""
ANSWER_SECONDS_MAX = WAIT_SECONDS_MAX + 15.0
"""With a store that stalls, a client is told so after this."""


async def in_time(answering: Awaitable[web.Response]) -> web.Response:
    """The answer of any of these, or a `StoreFault` when the store gives none."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await answering
    except TimeoutError as late:
        raise StoreFault("the store does not answer") from late


async def show(house: House, caller: Caller, request_id: str, query: dict[str, str]) -> web.Response:
    """`GET /v1/deferred/{id}?wait=`: where the request is, with its response once there is one.

    With `wait` it answers when the request has its final state, or after so long.
    """
    wait_seconds = _wait_seconds(query.get("wait"))
    view = await _owned(house, caller, request_id)
    if view.state is RequestState.OPEN and wait_seconds:
        view = await _until_final(house, caller, view, wait_seconds)
    answer = await house.store.result(view.id)
    if answer is not None:
        house.bookings.note_delivered(view.id)
    headers = [_poll_again(view, house.clock.now())] if view.state is RequestState.OPEN else []
    return reply_json(resource(view, answer), headers)


async def show_operator(house: House, request_id: str) -> web.Response:
    """`GET /v1/deferred/{id}` with the operator's key: any tenant's request and why it got its tier, not its answer."""
    view = await house.store.get(RequestId(request_id))
    if view is None:
        raise _unknown(request_id)
    return reply_json(operators_resource(view))


async def delete(house: House, caller: Caller, request_id: str) -> web.Response:
    """`DELETE /v1/deferred/{id}`: cancel. What was submitted already is still paid for."""
    view = await _owned(house, caller, request_id)
    if not await cancel(house.store, house.announce, view, house.clock.now()):
        raise ClientFault(
            f"The request {view.id} is {(await _owned(house, caller, request_id)).state} already.",
            status=CONFLICT,
            code="request_final",
        )
    view = await _owned(house, caller, request_id)
    return reply_json(resource(view, None))


async def list_all(house: House, caller: Caller, query: dict[str, str]) -> web.Response:
    """`GET /v1/deferred?limit=&after=&status=`: the caller's requests, newest first."""
    limit = _limit(query.get("limit"))
    after = query.get("after")
    views = await house.store.list_requests(
        caller.tenant,
        after=RequestId(after) if after else None,
        limit=limit + 1,
        state=_state(query.get("status")),
    )
    page = [resource(view, None) for view in views[:limit]]
    body = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(views) > limit,
    }
    return reply_json(body)


async def accepted(house: House, tenant: TenantId, request_id: RequestId, *, best_effort: bool) -> web.Response:
    """The 202 that a client asked for with `Prefer: respond-async`."""
    view = await house.store.get(request_id, tenant)
    if view is None:
        raise ClientFault(f"There is no deferred request {request_id}.", status=NOT_FOUND, code="not_found")
    headers = [
        JSON,
        ("Location", f"/v1/deferred/{request_id}"),
        ("Preference-Applied", "respond-async"),
        _poll_again(view, house.clock.now()),
        ("X-Standby-Request-Id", request_id),
    ]
    if best_effort:
        headers.append(("X-Standby-Best-Effort", "true"))
    return reply(ACCEPTED, msgspec.json.encode(resource(view, None)), headers)


async def _until_final(house: House, caller: Caller, view: RequestView, wait_seconds: float) -> RequestView:
    until = house.clock.now() + wait_seconds
    with house.holds.subscribe(view.id) as woken:
        while not house.draining:
            woken.clear()
            view = await _owned(house, caller, view.id)
            left_seconds = until - house.clock.now()
            if view.state is not RequestState.OPEN or left_seconds <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(left_seconds):
                    await woken.wait()
    return view


def _poll_again(view: RequestView, now: float) -> tuple[str, str]:
    share = (view.deadline_at - now) / POLLS_PER_WAIT
    return "Retry-After", f"{min(max(share, POLL_SECONDS_MIN), POLL_SECONDS_MAX):.0f}"


def _wait_seconds(said: str | None) -> float:
    if said is None:
        return 0.0
    seconds = parse_duration(said)
    if seconds is None:
        raise ClientFault("wait must be a time to wait, such as 30 or 30s.", code="invalid_wait", param="wait")
    return min(seconds, WAIT_SECONDS_MAX)


async def _owned(house: House, caller: Caller, request_id: str) -> RequestView:
    view = await house.store.get(RequestId(request_id), caller.tenant)
    if view is None:
        raise _unknown(request_id)
    return view


def _unknown(request_id: str) -> ClientFault:
    return ClientFault(f"There is no deferred request {request_id[:80]!r}.", status=NOT_FOUND, code="not_found")


def _limit(said: str | None) -> int:
    if said is None:
        return PAGE_DEFAULT
    if not said.isdecimal() or not 1 <= int(said) <= PAGE_MAX:
        raise ClientFault(f"limit must be 1 to {PAGE_MAX}.", code="invalid_limit", param="limit")
    return int(said)


def _state(said: str | None) -> RequestState | None:
    if said is None:
        return None
    try:
        return RequestState(said)
    except ValueError:
        known = ", ".join(state.value for state in RequestState)
        raise ClientFault(f"status must be one of {known}.", code="invalid_status", param="status") from None

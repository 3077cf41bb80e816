"""`/v1/deferred`: deferred requests as resources, to poll, cancel and list. Each tenant sees its own."""

from datetime import UTC, datetime

import msgspec
from aiohttp import web

from proxy.domain.answer import Answer
from proxy.domain.errors import ClientFault
from proxy.domain.ids import RequestId, TenantId
from proxy.domain.request import RequestState, RequestView
from proxy.server.auth import Caller
from proxy.server.house import House
from proxy.server.leavers import cancel
from proxy.server.replies import JSON, reply, reply_json

NOT_FOUND = 404
CONFLICT = 409
ACCEPTED = 202
PAGE_DEFAULT = 20
PAGE_MAX = 100
POLL_SECONDS = 5
"""What a client that polls is told to wait."""


async def show(house: House, caller: Caller, request_id: str) -> web.Response:
    """`GET /v1/deferred/{id}`: where the request is, with its response once there is one."""
    view = await _owned(house, caller, request_id)
    answer = await house.store.result(view.id)
    if answer is not None:
        house.bookings.note_delivered(view.id)
    headers = (JSON,) if view.state is not RequestState.OPEN else (JSON, ("Retry-After", str(POLL_SECONDS)))
    return reply(200, msgspec.json.encode(resource(view, answer)), headers)


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
        ("Retry-After", str(POLL_SECONDS)),
        ("X-Standby-Request-Id", request_id),
    ]
    if best_effort:
        headers.append(("X-Standby-Best-Effort", "true"))
    return reply(ACCEPTED, msgspec.json.encode(resource(view, None)), headers)


def resource(view: RequestView, answer: Answer | None) -> dict[str, object]:
    """A deferred request as JSON. `response` has the shape of a line in a batch's output file."""
    return {
        "id": view.id,
        "object": "deferred",
        "status": view.stage.value if view.state is RequestState.OPEN else view.state.value,
        "endpoint": view.queue.endpoint,
        "model": view.queue.model,
        "created_at": int(view.accepted_at),
        "deadline": _rfc3339(view.deadline_at),
        "finished_at": None if view.finished_at is None else int(view.finished_at),
        "reason": view.reason.value,
        "policy": view.policy,
        "tier": None if view.tier is None else view.tier.value,
        "batch_id": view.batch_id,
        "cost_usd": None if view.paid_usd is None else f"{view.paid_usd:f}",
        "saved_usd": None if view.saved_usd is None else f"{view.saved_usd:f}",
        "response": None if answer is None else _response(answer),
    }


def _response(answer: Answer) -> dict[str, object]:
    try:
        body: object = msgspec.Raw(answer.body) if msgspec.json.decode(answer.body) is not None else None
    except msgspec.MsgspecError:
        body = answer.body.decode("utf-8", "replace")
    return {"status_code": answer.status, "headers": dict(answer.headers), "body": body}


async def _owned(house: House, caller: Caller, request_id: str) -> RequestView:
    view = await house.store.get(RequestId(request_id), caller.tenant)
    if view is None:
        message = f"There is no deferred request {request_id[:80]!r}."
        raise ClientFault(message, status=NOT_FOUND, code="not_found")
    return view


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


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

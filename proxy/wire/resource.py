"""A deferred request as JSON: what `/v1/deferred/{id}` shows, and what webhooks are told."""

from datetime import UTC, datetime

import msgspec

from proxy.domain.answer import Answer
from proxy.domain.request import RequestState, RequestView
from proxy.wire.explanation import decided_before, explain


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


def operators_resource(view: RequestView) -> dict[str, object]:
    """The same for whoever runs the proxy: whose it is, and why it got its tier; never its answer."""
    explanation = explain(decided_before(view))
    return resource(view, None) | {"tenant": view.tenant, "explanation": explanation}


def _response(answer: Answer) -> dict[str, object]:
    try:
        body: object = msgspec.Raw(answer.body) if msgspec.json.decode(answer.body) is not None else None
    except msgspec.MsgspecError:
        body = answer.body.decode("utf-8", "replace")
    return {"status_code": answer.status, "headers": dict(answer.headers), "body": body}


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

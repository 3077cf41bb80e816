"""Requests as the delivery sees them."""

from dataclasses import replace
from typing import Any

from proxy.domain.decision import Delivery, Reason
from proxy.domain.ids import CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.request import Queue, RequestState, RequestView, Stage


def view(name: str, state: RequestState = RequestState.OPEN, **changes: Any) -> RequestView:
    made = RequestView(
        id=RequestId(name),
        tenant=TenantId("t"),
        queue=Queue(UpstreamName("openai"), CredentialId("c"), "/v1/chat/completions", "gpt-4o-mini"),
        fingerprint=b"f",
        idempotency_key=None,
        stream=False,
        include_usage=False,
        delivery=Delivery.HOLD,
        policy="default",
        reason=Reason.DEADLINE_ALLOWS,
        accepted_at=0.0,
        deadline_at=3600.0,
        state=state,
        stage=Stage.QUEUED,
        tries=0,
        batch_id=None,
        finished_at=None,
        delivered_at=None,
        status=None,
        tier=None,
        paid_usd=None,
        saved_usd=None,
    )
    return replace(made, **changes)

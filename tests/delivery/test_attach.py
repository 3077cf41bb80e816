import pytest

from proxy.delivery.attach import choose
from proxy.domain.decision import Delivery, Reason
from proxy.domain.ids import CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.request import Queue, RequestState, RequestView, Stage


def _view(name: str, state: RequestState = RequestState.OPEN) -> RequestView:
    return RequestView(
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


@pytest.mark.parametrize(
    ("earlier", "held", "chosen"),
    [
        ([], set(), None),
        ([_view("a")], set(), "a"),
        ([_view("a"), _view("b")], {"a"}, "b"),
        ([_view("a"), _view("b")], {"a", "b"}, "a"),
        ([_view("a", RequestState.DONE), _view("b")], set(), "a"),
        ([_view("a", RequestState.CANCELLED)], set(), None),
        ([_view("a", RequestState.CANCELLED), _view("b")], {"b"}, "b"),
    ],
)
def test_a_retry_goes_to_the_work_whose_client_is_gone(
    earlier: list[RequestView], held: set[str], chosen: str | None
) -> None:
    found = choose(earlier, lambda request_id: request_id in held)
    assert (found.id if found else None) == chosen

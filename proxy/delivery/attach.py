"""Is this call new work, or a client's second try at work that is there already?

- An `Idempotency-Key` always attaches; with another body it is a 422.
- A stock SDK sends none, but counts its retries: same tenant, endpoint and body, retry count above 0, and the first
  call's work still open or not yet delivered, is the same work.
- Two first-time identical calls are two requests: several samples may be wanted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.domain.errors import ClientFault
from proxy.domain.ids import RequestId
from proxy.domain.request import Request, RequestState, RequestView
from proxy.store.interface import Existing, Store

UNPROCESSABLE = 422


@dataclass(frozen=True, slots=True)
class Attached:
    """The request that a call belongs to. `by` is None for new work, else `retry` or `idempotency_key`."""

    request_id: RequestId
    by: str | None


async def accept_or_attach(
    store: Store, request: Request, *, retry_count: int, is_held: Callable[[RequestId], bool]
) -> Attached:
    """Make the request durable, unless it is a second try. Raises `ClientFault` for a key that was used otherwise."""
    if retry_count > 0 and request.idempotency_key is None:
        earlier = await store.find(request.tenant, request.queue.endpoint, request.fingerprint)
        again = choose(earlier, is_held)
        if again is not None:
            return Attached(again.id, "retry")
    accepted = await store.accept(request)
    if not isinstance(accepted, Existing):
        return Attached(request.id, None)
    if accepted.view.fingerprint != request.fingerprint or accepted.view.queue.endpoint != request.queue.endpoint:
        raise ClientFault(
            "This Idempotency-Key was used for a request with another body; use a new key for a new request.",
            status=UNPROCESSABLE,
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )
    return Attached(accepted.view.id, "idempotency_key")


def choose(earlier: Sequence[RequestView], is_held: Callable[[RequestId], bool]) -> RequestView | None:
    """Of several pieces of work with the same body, the one that a retry most likely belongs to.

    First one whose client is gone; else the oldest, whose connection may be half open. A cancelled one is nobody's.
    """
    candidates = [view for view in earlier if view.state is not RequestState.CANCELLED]
    left_alone = [view for view in candidates if not is_held(view.id)]
    return next(iter(left_alone or candidates), None)

"""Which headers pass, in both directions, and which Standby adds."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from proxy.domain.decision import Reason
from proxy.domain.ids import BatchId, RequestId
from proxy.domain.tier import Tier

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110 section 7.6.1 and what is treated like it: they speak of one connection, not of the message."""
STANDBY_REQUEST_HEADERS = frozenset({"x-deadline", "x-priority", "prefer", "grpc-timeout", "x-server-timeout"})
"""What clients say to Standby: never sent upstream. `Idempotency-Key` and `Priority` pass: upstream may know them."""
STANDBY_PREFIX = "x-standby-"
_DROPPED = HOP_BY_HOP | STANDBY_REQUEST_HEADERS | {"host", "expect"}


def forwarded_request_headers(raw: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A client's headers as upstream gets them, in order, duplicates kept. `Content-Length` passes."""
    listed = list(raw)
    dropped = _DROPPED | _named_by_connection(listed)
    return [
        (name, value)
        for name, value in listed
        if (lowered := name.lower()) not in dropped and not lowered.startswith(STANDBY_PREFIX)
    ]


def forwarded_response_headers(raw: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Upstream's headers as the client gets them, in order, duplicates kept. `Content-Length` passes.

    `X-Standby-...` from upstream does not: whoever reads such a header must find what this proxy says, and only that.
    """
    listed = list(raw)
    dropped = HOP_BY_HOP | _named_by_connection(listed)
    return [
        (name, value)
        for name, value in listed
        if (lowered := name.lower()) not in dropped and not lowered.startswith(STANDBY_PREFIX)
    ]


def outcome_headers(
    *,
    request_id: RequestId,
    tier: Tier,
    reason: Reason,
    batch_id: BatchId | None = None,
    cost_usd: Decimal | None = None,
    saved_usd: Decimal | None = None,
    deadline_at: float | None = None,
    best_effort: bool = False,
    observed_tier: Tier | None = None,
) -> list[tuple[str, str]]:
    """What happened to a call, as headers. What does not apply or is not known is not there."""
    headers = [
        ("X-Standby-Request-Id", str(request_id)),
        ("X-Standby-Tier", tier.value),
        ("X-Standby-Reason", reason.value),
    ]
    if batch_id is not None:
        headers.append(("X-Standby-Batch-Id", batch_id))
    if cost_usd is not None:
        headers.append(("X-Standby-Cost-Usd", _plain(cost_usd)))
    if saved_usd is not None:
        headers.append(("X-Standby-Saved-Usd", _plain(saved_usd)))
    if deadline_at is not None:
        headers.append(("X-Standby-Deadline", _rfc3339(deadline_at)))
    if best_effort:
        headers.append(("X-Standby-Best-Effort", "true"))
    if observed_tier is not None:
        headers.append(("X-Standby-Observed-Tier", observed_tier.value))
    return headers


def _named_by_connection(headers: list[tuple[str, str]]) -> set[str]:
    """Headers that `Connection` declares to be hop-by-hop."""
    named: set[str] = set()
    for name, value in headers:
        if len(name) == len("connection") and name.lower() == "connection":
            named.update(token.strip().lower() for token in value.split(","))
    return named


def _plain(amount: Decimal) -> str:
    """Without an exponent and without trailing zeros."""
    text = f"{amount:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

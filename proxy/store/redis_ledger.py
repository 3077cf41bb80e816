"""The ledger in Redis: rows as JSON arrays, their sums by the hour."""

import msgspec

from proxy.domain.decision import Reason
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage, from_picodollars, to_picodollars
from proxy.domain.tier import Tier


class _Row(msgspec.Struct, array_like=True, frozen=True):
    """A ledger row; amounts are picodollars."""

    id: str
    request_id: str
    attempt_id: str | None
    batch_id: str | None
    tenant: str
    upstream: str
    endpoint: str
    model: str
    policy: str
    tier: str
    kind: str
    status: int
    booked_at: float
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    paid: int | None
    list: int | None
    reason: str | None = None
    observed_tier: str | None = None
    observed: int | None = None
    deadline_at: float | None = None


_encode = msgspec.json.Encoder().encode
_decode_row = msgspec.json.Decoder(_Row).decode


def ledger_entry(row: LedgerRow, keep_seconds: int) -> dict[str, object]:
    """A ledger row for `book` in `lua/common.lua`."""
    usage, paid, listed = row.usage, to_picodollars(row.paid_usd), to_picodollars(row.list_usd)
    stored = _Row(
        id=row.id,
        request_id=row.request_id,
        attempt_id=row.attempt_id,
        batch_id=row.batch_id,
        tenant=row.tenant,
        upstream=row.upstream,
        endpoint=row.endpoint,
        model=row.model,
        policy=row.policy,
        tier=row.tier.value,
        kind=row.kind.value,
        status=row.status,
        booked_at=row.booked_at,
        input_tokens=None if usage is None else usage.input_tokens,
        cached_tokens=None if usage is None else usage.cached_tokens,
        output_tokens=None if usage is None else usage.output_tokens,
        paid=paid,
        list=listed,
        reason=None if row.reason is None else row.reason.value,
        observed_tier=None if row.observed_tier is None else row.observed_tier.value,
        observed=to_picodollars(row.observed_usd),
        deadline_at=row.deadline_at,
    )
    return {
        "id": row.id,
        "request": row.request_id,
        "at": repr(row.booked_at),
        "hour": str(hour_of(row.booked_at)),
        "group": _encode(group_of(row)).decode(),
        "json": _encode(stored).decode(),
        "keep": keep_seconds,
        "sums": {name: str(amount) for name, amount in sums_of(row).items() if amount},
    }


def hour_of(at: float) -> int:
    """The hour of an instant, counted from 1970."""
    return int(at // 3600)


Group = tuple[str, str, str, str, str]
"""Tenant, upstream, model, tier and kind: what totals are summed by."""


def group_of(row: LedgerRow) -> Group:
    """What a row is summed with."""
    return row.tenant, row.upstream, row.model, row.tier.value, row.kind.value


def sums_of(row: LedgerRow) -> dict[str, int]:
    """What a row adds to its totals; amounts are picodollars."""
    usage, paid, listed = row.usage, to_picodollars(row.paid_usd), to_picodollars(row.list_usd)
    observed = to_picodollars(row.observed_usd)
    knows_both = observed is not None and listed is not None
    return {
        "rows": 1,
        "input_tokens": 0 if usage is None else usage.input_tokens,
        "cached_tokens": 0 if usage is None else usage.cached_tokens,
        "output_tokens": 0 if usage is None else usage.output_tokens,
        "paid": paid or 0,
        "list": 0 if paid is None else listed or 0,
        "unknown_paid": int(paid is None),
        "unknown_list": int(listed is None),
        "unpriced": int(paid is None or listed is None),
        "observed_rows": int(row.observed_tier is not None),
        "observed": observed or 0 if knows_both else 0,
        "observed_list": listed or 0 if knows_both else 0,
        "met": int(row.met is True),
        "missed": int(row.met is False),
    }


def total_field(field: bytes) -> tuple[Group, str]:
    """The group and the name of a field of `:ledger:totals:`."""
    group, _, name = field.decode().rpartition(" ")
    return msgspec.json.decode(group, type=tuple[str, str, str, str, str]), name


def ledger_of(value: bytes) -> tuple[int, LedgerRow]:
    """A value of `:ledger:rows:`: the row and its place among the request's rows."""
    place, _, raw = value.partition(b" ")
    row = _decode_row(raw)
    usage = None
    if row.input_tokens is not None and row.output_tokens is not None:
        usage = Usage(row.input_tokens, row.output_tokens, row.cached_tokens or 0)
    return int(place), LedgerRow(
        id=row.id,
        request_id=RequestId(row.request_id),
        attempt_id=None if row.attempt_id is None else AttemptId(row.attempt_id),
        batch_id=None if row.batch_id is None else BatchId(row.batch_id),
        tenant=TenantId(row.tenant),
        upstream=UpstreamName(row.upstream),
        endpoint=row.endpoint,
        model=row.model,
        policy=row.policy,
        tier=Tier(row.tier),
        kind=Purchase(row.kind),
        status=row.status,
        booked_at=row.booked_at,
        usage=usage,
        paid_usd=from_picodollars(row.paid),
        list_usd=from_picodollars(row.list),
        reason=None if row.reason is None else Reason(row.reason),
        observed_tier=None if row.observed_tier is None else Tier(row.observed_tier),
        observed_usd=from_picodollars(row.observed),
        deadline_at=row.deadline_at,
    )

"""The arithmetic of a ledger row: what a purchase cost, and what the same tokens cost synchronously."""

from dataclasses import dataclass
from decimal import Decimal

from proxy.domain.decision import Reason
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.tier import Tier
from proxy.routing.pricing import PriceBook

_FIRST_ERROR_STATUS = 400


@dataclass(frozen=True, slots=True)
class Observed:
    """What a request that was bought at once would have been deferred to, had the policy not only observed.

    `odds` is how likely that tier was to be in time, `billed_twice_share` how often a batch that is late is billed too.
    """

    tier: Tier
    odds: float
    billed_twice_share: float


def ledger_row(
    book: PriceBook,
    *,
    id: str,  # noqa: A002  the row's own field name, as every caller writes it
    request_id: RequestId,
    attempt_id: AttemptId | None,
    batch_id: BatchId | None,
    tenant: TenantId,
    upstream: UpstreamName,
    endpoint: str,
    model: str,
    policy: str,
    tier: Tier,
    kind: Purchase,
    status: int,
    booked_at: float,
    usage: Usage | None,
    priced_model: str | None = None,
    paid_unknown: bool = False,
    reason: Reason | None = None,
    observed: Observed | None = None,
    deadline_at: float | None = None,
) -> LedgerRow:
    """The row of one purchase, priced by `book`.

    `model` is the one that was asked for; `priced_model` the one that the answer names, such as a dated snapshot, and
    the one that counts if the book knows it. `tier` is the tier that served. An error without usage costs nothing:
    providers do not bill failed calls. `paid_unknown` says that it may have been billed all the same (the connection
    broke, the client left in mid-stream): then what was paid is unknown. Prompt-cache hits that a synchronous call
    would have had are not known and not subtracted from the list price. `reason` is why the request got its tier;
    `observed` is what would have become of it. `deadline_at` is of the request that the row settles.
    """
    name = priced_model if priced_model is not None and book.knows(priced_model) else model
    free = usage is None and status >= _FIRST_ERROR_STATUS and not paid_unknown
    paid_usd = None if paid_unknown else _dollars(book, name, tier, usage, free=free)
    list_usd: Decimal | None = Decimal(0)
    if kind is Purchase.PRIMARY:
        list_usd = _dollars(book, name, Tier.STANDARD, usage, free=free)
    elif kind is Purchase.NATIVE:
        list_usd = paid_usd
    return LedgerRow(
        id=id,
        request_id=request_id,
        attempt_id=attempt_id,
        batch_id=batch_id,
        tenant=tenant,
        upstream=upstream,
        endpoint=endpoint,
        model=model,
        policy=policy,
        tier=tier,
        kind=kind,
        status=status,
        booked_at=booked_at,
        usage=usage,
        paid_usd=paid_usd,
        list_usd=list_usd,
        reason=reason,
        observed_tier=None if observed is None else observed.tier,
        observed_usd=None if observed is None else _observed_usd(book, name, usage, observed),
        deadline_at=deadline_at,
    )


def _dollars(book: PriceBook, model: str, tier: Tier, usage: Usage | None, *, free: bool) -> Decimal | None:
    """What these tokens cost; unknown when nobody counted them, unless it is known that nothing was billed."""
    if usage is None:
        return Decimal(0) if free else None
    return book.cost(model, tier, usage)


def _observed_usd(book: PriceBook, model: str, usage: Usage | None, observed: Observed) -> Decimal | None:
    """What a batch could be expected to cost: its price if it was in time, else the standard one, and by a share of
    the batches that are late the batch's as well. Other tiers: unknown.
    """
    if observed.tier is not Tier.BATCH:  # how often a call at flex finds capacity is not known beforehand
        return None
    there = _dollars(book, model, observed.tier, usage, free=False)
    standard = _dollars(book, model, Tier.STANDARD, usage, free=False)
    if there is None or standard is None:
        return None
    odds = Decimal(repr(observed.odds))
    twice = Decimal(repr(observed.billed_twice_share))
    return odds * there + (1 - odds) * (standard + twice * there)

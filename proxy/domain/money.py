"""Amounts of money and tokens. Dollars are `Decimal`, never float; an unknown amount is `None`, never 0."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from proxy.domain.decision import Reason
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.tier import Tier

PICODOLLARS_PER_DOLLAR = 10**12
"""The store's integer unit. The cheapest published token price is a multiple of 1e-10 dollars."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them. `cached_tokens` are part of `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


class Purchase(StrEnum):
    """What a ledger row paid for."""

    PRIMARY = "primary"
    """The answer that the client got."""
    DUPLICATE = "duplicate"
    """An answer that came when the request already had one: waste, booked visibly."""
    FAILED = "failed"
    """A purchase that brought no answer the client could use: refused, missing, or lost."""
    NATIVE = "native"
    """A batch that a client made by hand, as a whole: it would have cost the same without Standby."""
    EXPIRED = "expired"
    """Nothing: the time for a request ran out. A row of 0 dollars, so that the missed deadline is in the ledger."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One purchase: what was bought at which tier, what it cost, what it would have cost synchronously.

    `paid_usd` is None where the price or the usage is unknown. `list_usd` is the standard-tier price of the same
    tokens for a `PRIMARY` row, what was paid for a `NATIVE` one, 0 for the others (nothing was delivered for them),
    None where unknown. `id` is the attempt's id for deferred work, the request's own for an urgent call, and made of
    the provider's id for a batch by hand: booking twice is impossible. `reason` is why its request got the tier that it
    began at, None where nothing was decided. `observed_tier` is set where waiting was only observed: what the request
    would have been deferred to, and `observed_usd` what it could then be expected to have cost. `deadline_at` is on the
    row that settles a request with a deadline: its final answer, or the end of its time; None on every other row.
    """

    id: str
    request_id: RequestId
    attempt_id: AttemptId | None
    batch_id: BatchId | None
    tenant: TenantId
    upstream: UpstreamName
    endpoint: str
    model: str
    policy: str
    tier: Tier
    kind: Purchase
    status: int
    booked_at: float
    usage: Usage | None
    paid_usd: Decimal | None
    list_usd: Decimal | None
    reason: Reason | None = None
    observed_tier: Tier | None = None
    observed_usd: Decimal | None = None
    deadline_at: float | None = None

    @property
    def saved_usd(self) -> Decimal | None:
        """List price minus paid; negative for waste; None while either is unknown."""
        if self.paid_usd is None or self.list_usd is None:
            return None
        return self.list_usd - self.paid_usd

    @property
    def met(self) -> bool | None:
        """Whether the deadline that this row settles was met; None where it settles none."""
        if self.deadline_at is None:
            return None
        return self.kind is not Purchase.EXPIRED and self.booked_at <= self.deadline_at


def to_picodollars(amount: Decimal | None) -> int | None:
    """The store's integer for an amount, rounded half-even to 1e-12 dollars."""
    return None if amount is None else int((amount * PICODOLLARS_PER_DOLLAR).to_integral_value())


def from_picodollars(amount: int | None) -> Decimal | None:
    """The amount for the store's integer."""
    return None if amount is None else dollars(amount)


def dollars(picodollars: int) -> Decimal:
    """The amount of a sum, which is never unknown."""
    return Decimal(picodollars) / PICODOLLARS_PER_DOLLAR

"""Batches that clients make by hand pass through untouched; what they cost is booked when an answer shows their end.

The provider puts a batch's usage into its description, which a client reads to know that it has ended. One whose
description has none is booked with an unknown amount.
"""

from proxy.batching.submit import BATCH_KEY
from proxy.domain.errors import StoreFault
from proxy.domain.events import NativeBatchBooked, StepFailed
from proxy.domain.ids import RequestId
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.tier import Tier
from proxy.routing.savings import ledger_row
from proxy.server.exchange import Exchange
from proxy.server.house import House
from proxy.wire.native import EndedBatch, read_ended

BATCHES = "/v1/batches"
POLICY = "native"
OK = 200


def shows_batches(endpoint: str) -> bool:
    """Whether answers of this route describe batches."""
    return endpoint == BATCHES or endpoint.startswith(BATCHES + "/")


async def book_ended(house: House, exchange: Exchange, status: int, content: bytes) -> None:
    """Book the batches that this answer shows to have ended, each once. What the store refuses is for the next time."""
    if status != OK:
        return
    try:
        for batch in read_ended(content):
            if BATCH_KEY not in batch.metadata:
                await _book(house, exchange, batch)
    except StoreFault as fault:
        now = house.clock.now()
        house.announce(StepFailed("book_native", exchange.account.upstream.name, None, str(fault), now, now))


async def _book(house: House, exchange: Exchange, batch: EndedBatch) -> None:
    row = _row(house, exchange, batch)
    if await house.store.ledger_rows(row.request_id):
        return
    await house.store.book([row])
    house.announce(NativeBatchBooked(row, row.booked_at))


def _row(house: House, exchange: Exchange, batch: EndedBatch) -> LedgerRow:
    upstream = exchange.account.upstream.name
    word = f"native-{upstream}-{batch.id}"
    return ledger_row(
        house.prices,
        id=word,
        request_id=RequestId(word),
        attempt_id=None,
        batch_id=None,
        tenant=exchange.caller.tenant,
        upstream=upstream,
        endpoint=batch.endpoint,
        model=batch.model or "",
        policy=POLICY,
        tier=Tier.BATCH,
        kind=Purchase.NATIVE,
        status=OK,
        booked_at=house.clock.now(),
        usage=batch.usage,
        paid_unknown=batch.usage is None,
    )

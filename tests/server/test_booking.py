"""Urgent ledger rows are grouped behind the answers, and survive a store that says no for a while."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from proxy.domain.errors import StoreFault
from proxy.domain.events import AnyEvent, StepFailed
from proxy.domain.ids import RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.tier import Tier
from proxy.server.booking import Bookings
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.store.sqlite import SqliteStore
from tests.world import MONDAY_NOON


def _row(name: str) -> LedgerRow:
    return LedgerRow(
        id=name,
        request_id=RequestId(name),
        attempt_id=None,
        batch_id=None,
        tenant=TenantId("t"),
        upstream=UpstreamName("u"),
        endpoint="/v1/chat/completions",
        model="m",
        policy="default",
        tier=Tier.STANDARD,
        kind=Purchase.PRIMARY,
        status=200,
        booked_at=MONDAY_NOON,
        usage=Usage(10, 5),
        paid_usd=Decimal("0.01"),
        list_usd=Decimal("0.01"),
    )


class _Stubborn(SqliteStore):
    """A real store that refuses to book a few times."""

    refusals = 0

    async def book(self, rows: Sequence[LedgerRow]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreFault("the disk is full")
        await super().book(rows)


def test_rows_are_written_soon_and_all_of_them(tmp_path: Path) -> None:
    async def story() -> None:
        clock = LoopClock()
        store = SqliteStore(tmp_path / "a.db", clock)
        await store.start()
        bookings = Bookings(store, clock, lambda _: None)
        for number in range(100):
            bookings.add(_row(f"row-{number}"))
        assert bookings.unbooked == 100
        await bookings.flush()
        assert bookings.unbooked == 0
        (total,) = await store.ledger(since=0, until=MONDAY_NOON + 1)
        assert (total.rows, total.paid_usd) == (100, Decimal("1.00"))
        await store.close()

    run(story(), start_at=MONDAY_NOON)


def test_what_the_store_refuses_is_kept_announced_and_written_later(tmp_path: Path) -> None:
    async def story() -> None:
        clock = LoopClock()
        events: list[AnyEvent] = []
        store = _Stubborn(tmp_path / "a.db", clock)
        store.refusals = 2
        await store.start()
        bookings = Bookings(store, clock, events.append)
        bookings.add(_row("first"))
        await bookings.flush()
        bookings.add(_row("second"))
        await bookings.flush()
        assert bookings.unbooked == 2
        await bookings.flush()
        assert bookings.unbooked == 0
        assert [type(event) for event in events] == [StepFailed, StepFailed]
        (total,) = await store.ledger(since=0, until=MONDAY_NOON + 1)
        assert total.rows == 2
        await store.close()

    run(story(), start_at=MONDAY_NOON)

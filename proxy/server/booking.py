"""Urgent calls are booked behind their answers: rows gather here and go to the store in grouped writes.

A kill loses the rows that are still here, a fraction of a second's worth; `unbooked` says how many. Deferred rows are
never here: theirs are written with the move that they account for.
"""

import asyncio

from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.events import Announce, StepFailed
from proxy.domain.ids import RequestId
from proxy.domain.money import LedgerRow
from proxy.store.interface import Store

ROWS_MAX = 200_000
"""Rows kept while the store refuses them; beyond this the oldest go, and that is announced."""


class Bookings:
    """Gathers ledger rows and delivery notes; `run` writes them every `interval_seconds`."""

    def __init__(self, store: Store, clock: Clock, announce: Announce, interval_seconds: float = 0.2) -> None:
        self._store = store
        self._clock = clock
        self._announce = announce
        self._interval_seconds = interval_seconds
        self._rows: list[LedgerRow] = []
        self._delivered: list[RequestId] = []
        self._wanted = asyncio.Event()

    @property
    def unbooked(self) -> int:
        """Rows of answered urgent calls that are not durable yet."""
        return len(self._rows)

    def add(self, row: LedgerRow) -> None:
        """Book an urgent call, soon."""
        self._rows.append(row)
        self._wanted.set()

    def note_delivered(self, request_id: RequestId) -> None:
        """A client has taken the answer of a deferred request."""
        self._delivered.append(request_id)
        self._wanted.set()

    async def run(self) -> None:
        """Write what gathers, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._clock.sleep_until(self._clock.now() + self._interval_seconds)
            await self.flush()

    async def flush(self) -> None:
        """Write all that is here. What the store refuses stays for the next time."""
        rows, self._rows = self._rows, []
        delivered, self._delivered = self._delivered, []
        now = self._clock.now()
        try:
            if rows:
                await self._store.book(rows)
            if delivered:
                await self._store.delivered(delivered, now)
        except StoreFault as fault:
            self._rows = (rows + self._rows)[-ROWS_MAX:]
            self._delivered = (delivered + self._delivered)[-ROWS_MAX:]
            self._wanted.set()
            self._announce(StepFailed("book", None, None, str(fault), now + self._interval_seconds, now))

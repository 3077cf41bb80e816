"""Waking whoever waits for a deferred request's answer.

Subscribe first, then check the store: an answer that comes between the two is not missed. A holder that wakes up checks
the store too: what is there is the truth, the wake-up only says when to look.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.domain.events import AnyEvent, RequestFinished
from proxy.domain.ids import RequestId


class Holds:
    """The connections that are held open, by request. Listens to events; one per process."""

    def __init__(self) -> None:
        self._waiting: dict[RequestId, list[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(len(holders) for holders in self._waiting.values())

    def listen(self, event: AnyEvent) -> None:
        """Wake the holders of a request that has its final state."""
        if isinstance(event, RequestFinished):
            self.wake(event.request_id)

    def wake(self, request_id: RequestId | None) -> None:
        """Wake the holders of a request that another process may have finished; None: of every request."""
        if request_id is None:
            self.wake_all()
            return
        for woken in self._waiting.get(request_id, ()):
            woken.set()

    def is_held(self, request_id: RequestId) -> bool:
        """Whether a client of this process waits for the request on an open connection."""
        return request_id in self._waiting

    @contextmanager
    def subscribe(self, request_id: RequestId) -> Iterator[asyncio.Event]:
        """While inside, the event is set when the request may have its final state (or everybody is to wake up).

        Each holder has an event of its own, to clear before it looks: nobody else's look can swallow its wake-up.
        """
        woken = asyncio.Event()
        holders = self._waiting.setdefault(request_id, [])
        holders.append(woken)
        try:
            yield woken
        finally:
            holders.remove(woken)
            if not holders:
                del self._waiting[request_id]

    def wake_all(self) -> None:
        """Wake every holder, answer or not: the process is about to stop."""
        for holders in self._waiting.values():
            for woken in holders:
                woken.set()

"""Waking whoever waits for a deferred request's answer.

Subscribe first, then check the store: an answer that comes between the two is not missed. A holder that wakes up checks
the store too: what is there is the truth, the wake-up only says when to look.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.domain.events import AnyEvent, RequestFinished
from proxy.domain.ids import RequestId


class Holds:
    """The connections that are held open, by request. Listens to events; one per process."""

    def __init__(self) -> None:
        self._waiting: dict[RequestId, asyncio.Event] = {}
        self._held: Counter[RequestId] = Counter()

    def __len__(self) -> int:
        return self._held.total()

    def listen(self, event: AnyEvent) -> None:
        """Wake the holders of a request that has its final state."""
        if isinstance(event, RequestFinished) and event.request_id in self._waiting:
            self._waiting[event.request_id].set()

    def wake(self, request_id: RequestId | None) -> None:
        """Wake the holders of a request that another process may have finished; None: of every request."""
        if request_id is None:
            self.wake_all()
        elif request_id in self._waiting:
            self._waiting[request_id].set()

    def is_held(self, request_id: RequestId) -> bool:
        """Whether a client of this process waits for the request on an open connection."""
        return self._held[request_id] > 0

    @contextmanager
    def subscribe(self, request_id: RequestId) -> Iterator[asyncio.Event]:
        """While inside, the event is set once the request has its final state (or everybody is to wake up)."""
        woken = self._waiting.setdefault(request_id, asyncio.Event())
        self._held[request_id] += 1
        try:
            yield woken
        finally:
            self._held[request_id] -= 1
            if not self._held[request_id]:
                del self._held[request_id]
                self._waiting.pop(request_id, None)

    def wake_all(self) -> None:
        """Wake every holder, answer or not: the process is about to stop."""
        for woken in self._waiting.values():
            woken.set()

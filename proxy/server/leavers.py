"""Clients that went away for good: their requests stop costing money if nothing was submitted for them yet."""

import asyncio

from proxy.delivery.holds import Holds
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.events import Announce, RequestFinished, StepFailed
from proxy.domain.ids import RequestId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.moves import Conflict, RequestCancelled
from proxy.domain.request import RequestState, RequestView, Stage
from proxy.store.interface import Store


class Leavers:
    """Remembers whose connection broke while a request was held; `run` gives up those that do not come back.

    A request that is in a batch already, or being bought, goes on: its answer waits for its client.
    """

    def __init__(self, store: Store, holds: Holds, clock: Clock, announce: Announce, grace_seconds: float) -> None:
        self._store = store
        self._holds = holds
        self._clock = clock
        self._announce = announce
        self._grace_seconds = grace_seconds
        self._left: dict[RequestId, float] = {}
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        return len(self._left)

    def note(self, request_id: RequestId) -> None:
        """A client that waited for this request has left."""
        self._left[request_id] = self._clock.now() + self._grace_seconds
        self._wanted.set()

    def came_back(self, request_id: RequestId | None) -> None:
        """A client waits for the request again, perhaps at another process; None: for any of them, that is not known.

        Whoever leaves again is noted again.
        """
        if request_id is not None:
            self._left.pop(request_id, None)
            return
        now = self._clock.now()
        self._left = dict.fromkeys(self._left, now + self._grace_seconds)

    async def run(self) -> None:
        """Give up what nobody came back for, until cancelled."""
        while True:
            await self._wanted.wait()
            next_at = min(self._left.values(), default=None)
            if next_at is None:
                self._wanted.clear()
                continue
            await self._clock.sleep_until(next_at)
            await self.give_up_due(self._clock.now())

    async def give_up_due(self, now: float) -> None:
        """Cancel the queued requests whose grace is over and that nobody holds again."""
        for request_id in [request_id for request_id, at in self._left.items() if at <= now]:
            del self._left[request_id]
            if self._holds.is_held(request_id):
                continue
            try:
                await self._give_up(request_id, now)
            except StoreFault as fault:
                self._left[request_id] = now + self._grace_seconds
                self._announce(StepFailed("give_up", None, None, str(fault), now + self._grace_seconds, now))

    async def _give_up(self, request_id: RequestId, now: float) -> None:
        view = await self._store.get(request_id)
        if view is None or view.state is not RequestState.OPEN or view.stage is not Stage.QUEUED:
            return
        await cancel(self._store, self._announce, view, now)


async def cancel(store: Store, announce: Announce, view: RequestView, now: float) -> bool:
    """Cancel an open request, and say so. False when it got its final state first."""
    if isinstance((await store.apply([RequestCancelled(view.id, now)]))[0], Conflict):
        return False
    announce(
        RequestFinished(
            request_id=view.id,
            tenant=view.tenant,
            upstream=view.queue.upstream,
            model=view.queue.model,
            endpoint=view.queue.endpoint,
            policy=view.policy,
            tier=None,
            outcome=OutcomeLabel.CANCELLED,
            status=None,
            accepted_at=view.accepted_at,
            deadline_at=view.deadline_at,
            at=now,
            batch_id=view.batch_id,
            row=None,
        )
    )
    return True

"""A copy of everything that waits, kept true by what the store says has changed.

Cutting, escalation and the gauges look at it many times a second, whatever the store is.
"""

import asyncio
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter
from typing import TypeVar

from proxy.domain.decision import OnMiss
from proxy.domain.ids import RequestId, UpstreamName
from proxy.domain.request import Lane, Queue, QueueDepth, Stage, Waiting
from proxy.domain.tier import Tier
from proxy.store.interface import Reader

BREATH = 2_000
"""After so many changes others may run: 50,000 at once would hold up every urgent call for a tenth of a second."""
Key = TypeVar("Key")
_BY_DEADLINE = attrgetter("deadline_at", "accepted_at", "id")


class Waitlist:
    """The open requests by lane, those that move in time sorted by deadline; and by queue, those that wait for a batch.

    `refresh` before use.
    """

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._upto: int | None = None
        self._all: dict[RequestId, Waiting] = {}
        self._lanes: dict[Lane, dict[RequestId, Waiting]] = {}
        self._queues: dict[Queue, dict[RequestId, Waiting]] = {}
        self._sorted: dict[Lane, list[Waiting]] = {}
        self._resting: dict[Lane, dict[RequestId, Waiting]] = {}
        self._stages: Counter[tuple[Lane, Stage]] = Counter()
        self._refreshing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Waitlist {len(self)} waiting upto={self._upto}>"

    async def refresh(self) -> None:
        """Take over what has changed. Raises `StoreFault` and is then as it was. Meanwhile, part of it may show."""
        async with self._refreshing:
            changes = await self._store.changes(self._upto)
            if changes.whole:
                for kept in (self._all, self._lanes, self._queues, self._sorted, self._resting, self._stages):
                    kept.clear()
            for number, waiting in enumerate(changes.waiting, start=1):
                self._drop(waiting.id)
                self._put(waiting)
                if number % BREATH == 0:
                    await asyncio.sleep(0)
            for request_id in changes.gone:
                self._drop(request_id)
            self._upto = changes.upto

    def groups(self, upstream: UpstreamName) -> Iterator[tuple[str, list[Waiting], list[Waiting]]]:
        """Each model of an upstream with its waiting requests: those that move in time, earliest deadline first, and
        those whose policy says that they do not. Not to be changed.
        """
        for lane in self._lanes:
            if lane.upstream == upstream:
                yield lane.model, self._in_order(lane), list(self._resting.get(lane, {}).values())

    def due_by(self, lane: Lane, deadline_at: float) -> int:
        """How many of a lane's requests that move in time have this deadline or an earlier one."""
        if lane not in self._lanes:
            return 0
        return bisect_right(self._in_order(lane), deadline_at, key=lambda waiting: waiting.deadline_at)

    def earliest_deadline_at(self, lane: Lane) -> float | None:
        """The tightest deadline of a lane's requests; None where there are none."""
        moving = self._in_order(lane)[:1] if lane in self._lanes else []
        resting = self._resting.get(lane, {}).values()
        return min((waiting.deadline_at for waiting in (*moving, *resting)), default=None)

    def stage_of(self, request_id: RequestId) -> Stage | None:
        """Where a request is; None for one that is not open."""
        waiting = self._all.get(request_id)
        return None if waiting is None else waiting.stage

    def lanes(self) -> set[Lane]:
        """The lanes on which something waits."""
        return set(self._lanes)

    def queues(self) -> list[Queue]:
        """The queues in which something waits for a batch."""
        return list(self._queues)

    def ready(self, queue: Queue, now: float, *, tries_max: int, deadline_after: float) -> list[Waiting]:
        """A queue's requests that a batch may take at `now`: in no particular order. `deadline_after` is for those that
        move in time; the others have nothing better to wait for.
        """
        soonest_at = {OnMiss.ESCALATE: deadline_after, OnMiss.FAIL: now, OnMiss.WAIT: -math.inf}
        return [
            waiting
            for waiting in self._queues.get(queue, {}).values()
            if waiting.ready_at <= now
            and waiting.tries < tries_max
            and waiting.deadline_at >= soonest_at[waiting.on_miss]
        ]

    def depths(self) -> list[QueueDepth]:
        """Every queue summed up, whatever its requests wait for."""
        return [_depth(queue, waiting) for queue, waiting in self._queues.items()]

    def stages(self) -> Counter[tuple[Lane, Stage]]:
        """How many requests are where."""
        return self._stages.copy()

    def _in_order(self, lane: Lane) -> list[Waiting]:
        found = self._sorted.get(lane)
        if found is None:
            moving = (waiting for waiting in self._lanes[lane].values() if waiting.on_miss is OnMiss.ESCALATE)
            found = self._sorted[lane] = sorted(moving, key=_BY_DEADLINE)
        return found

    def _put(self, waiting: Waiting) -> None:
        lane = waiting.queue.lane
        self._all[waiting.id] = waiting
        self._lanes.setdefault(lane, {})[waiting.id] = waiting
        self._sorted.pop(lane, None)
        self._stages[lane, waiting.stage] += 1
        if waiting.on_miss is not OnMiss.ESCALATE:
            self._resting.setdefault(lane, {})[waiting.id] = waiting
        if waiting.stage is Stage.QUEUED and Tier.BATCH in waiting.tiers:
            self._queues.setdefault(waiting.queue, {})[waiting.id] = waiting

    def _drop(self, request_id: RequestId) -> None:
        waiting = self._all.pop(request_id, None)
        if waiting is None:
            return
        lane = waiting.queue.lane
        self._sorted.pop(lane, None)
        self._stages[lane, waiting.stage] -= 1
        if not self._stages[lane, waiting.stage]:
            del self._stages[lane, waiting.stage]
        _remove(self._lanes, lane, request_id)
        _remove(self._resting, lane, request_id)
        _remove(self._queues, waiting.queue, request_id)


def _remove(groups: dict[Key, dict[RequestId, Waiting]], key: Key, request_id: RequestId) -> None:
    """Take one out of its group, and the group out when it is empty."""
    group = groups.get(key)
    if group is None:
        return
    group.pop(request_id, None)
    if not group:
        del groups[key]


def _depth(queue: Queue, waiting: dict[RequestId, Waiting]) -> QueueDepth:
    return QueueDepth(
        queue=queue,
        requests=len(waiting),
        body_bytes=sum(item.body_bytes for item in waiting.values()),
        estimated_tokens=sum(item.estimated_tokens for item in waiting.values()),
        oldest_at=min((item.accepted_at for item in waiting.values()), default=math.inf),
        earliest_deadline_at=min((item.deadline_at for item in waiting.values()), default=math.inf),
    )

"""A copy of everything that waits, kept true by what the store says has changed: what escalation looks at, often."""

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter

from proxy.domain.ids import RequestId, UpstreamName
from proxy.domain.request import Waiting
from proxy.store.interface import Store

_BY_DEADLINE = attrgetter("deadline_at", "accepted_at", "id")
Pair = tuple[UpstreamName, str]
"""An upstream and a model."""


class Waitlist:
    """The open requests by upstream and model, each list sorted by deadline. `refresh` before use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._upto: int | None = None
        self._pairs: dict[RequestId, Pair] = {}
        self._known: dict[Pair, dict[RequestId, Waiting]] = {}
        self._sorted: dict[Pair, list[Waiting]] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        return f"<Waitlist {len(self)} waiting upto={self._upto}>"

    async def refresh(self) -> None:
        """Take over what has changed. Raises `StoreFault` and is then as it was."""
        changes = await self._store.changes(self._upto)
        if changes.whole:
            self._pairs.clear()
            self._known.clear()
            self._sorted.clear()
        self._upto = changes.upto
        for waiting in changes.waiting:
            self._put(waiting)
        for request_id in changes.gone:
            self._drop(request_id)

    def upstreams(self) -> set[UpstreamName]:
        """The upstreams for which something waits."""
        return {upstream for upstream, _ in self._known}

    def groups(self, upstream: UpstreamName) -> Iterator[tuple[str, list[Waiting]]]:
        """Each model of an upstream with its waiting requests, earliest deadline first. Not to be changed."""
        for pair in self._known:
            if pair[0] == upstream:
                yield pair[1], self._in_order(pair)

    def due_by(self, upstream: UpstreamName, model: str, deadline_at: float) -> int:
        """How many of a model's requests have this deadline or an earlier one."""
        pair = upstream, model
        if pair not in self._known:
            return 0
        return bisect_right(self._in_order(pair), deadline_at, key=lambda waiting: waiting.deadline_at)

    def _in_order(self, pair: Pair) -> list[Waiting]:
        found = self._sorted.get(pair)
        if found is None:
            found = self._sorted[pair] = sorted(self._known[pair].values(), key=_BY_DEADLINE)
        return found

    def _put(self, waiting: Waiting) -> None:
        pair = waiting.queue.upstream, waiting.queue.model
        self._pairs[waiting.id] = pair
        self._known.setdefault(pair, {})[waiting.id] = waiting
        self._sorted.pop(pair, None)

    def _drop(self, request_id: RequestId) -> None:
        pair = self._pairs.pop(request_id, None)
        if pair is None:
            return
        del self._known[pair][request_id]
        self._sorted.pop(pair, None)
        if not self._known[pair]:
            del self._known[pair]

"""Which lanes this process looks after, among all that share a store; and what they tell each other once a second.

Every lane belongs to one present process, chosen by a hash that all of them compute alike, so that a new one takes its
share from each and the lanes of a dead one are spread over the others. The choice only says who should ask: the lease
in the store decides. A holder that cannot renew its lease stops by its own clock before the lease ends for others.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.events import Announce, LanesLost, LanesTaken, StepFailed
from proxy.domain.ids import UpstreamName
from proxy.domain.request import Lane
from proxy.routing.limitbook import LimitBook, Word
from proxy.store.interface import Store

HOUSEKEEPING = Lane(UpstreamName(""), "housekeeping")
"""Whoever has this lane sweeps the store and the providers' files."""
GONE_SECONDS = 0.001
"""The shortest presence that there is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How replicas share their work.

    - `lease_seconds`: a dead replica's lanes are taken over after so long.
    - `share_seconds`: how often replicas tell each other what they have sent, and renew their leases.
    - `margin`: the share of a lease that its holder does without, for clocks that run unlike.
    """

    lease_seconds: float = 8.0
    share_seconds: float = 1.0
    margin: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share_seconds <= self.lease_seconds / 3:
            raise ValueError("share_seconds: must be more than 0 seconds, and at most a third of lease_seconds")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin: {self.margin} is not a share; give 0 or more, under 1, such as 0.2")


def owner_of(lane: Lane, members: Iterable[str]) -> str | None:
    """Who of the members should look after the lane: the same for everybody who asks (rendezvous hashing)."""
    word = f"{lane.upstream}\0{lane.model}\0"
    return max(members, key=lambda member: blake2b(f"{word}{member}".encode(), digest_size=8).digest(), default=None)


class Membership:
    """This process among others. `run` keeps it present; without others it holds every lane at once and for ever.

    `limits` are those of the providers, under which all of them send.
    """

    def __init__(self, store: Store, clock: Clock, announce: Announce, limits: LimitBook, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._announce = announce
        self.limits = limits
        self._settings = settings
        self._members: Sequence[str] = () if store.shared else (store.member,)
        self._held_until: dict[Lane, float] = {}
        self._unread: set[Lane] = set()
        self._failing = False
        self._departed = False
        self._lacking = False

    def __repr__(self) -> str:
        return f"<Membership {self._store.member} of {len(self._members)} lanes={len(self._held_until)}>"

    @property
    def members(self) -> int:
        """How many processes are present, as far as is known."""
        return len(self._members)

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that are held now."""
        return [lane for lane in self._held_until if self.holds(lane)]

    def claim_again_at(self, now: float) -> float:
        """When to claim again what is still another's; infinity when nothing is. A lease ends without a word."""
        return now + self._settings.share_seconds if self._lacking else math.inf

    def holds(self, lane: Lane) -> bool:
        """Whether this process may act on the lane: its lease is not over."""
        return not self._store.shared or self._clock.monotonic() < self._held_until.get(lane, 0.0)

    def keeps(self, lane: Lane) -> bool:
        """Whether it may also begin something new there: it knows what was going on, and the lane stays with it."""
        return self.holds(lane) and lane not in self._unread and (not self._store.shared or self._is_mine(lane))

    async def claim(self, lanes: Iterable[Lane]) -> set[Lane]:
        """Take those of the lanes that fall to this process and are free. Returns those on which it is still to be
        found out what an earlier holder has left behind; `read` says that it was. Raises `StoreFault`.
        """
        wanted = [lane for lane in lanes if lane not in self._held_until or not self.holds(lane)]
        if not self._store.shared:
            self._held_until |= dict.fromkeys(wanted, math.inf)
            self._unread.update(wanted)
            return set(self._unread)
        mine = [lane for lane in wanted if self._is_mine(lane)]
        self._lacking = bool(mine)
        if mine:
            asked = self._clock.monotonic()
            taken = await self._store.lease(mine, self._settings.lease_seconds)
            self._renewed(taken, asked)
            self._unread |= taken
            self._lacking = len(taken) < len(mine)
            if taken:
                self._announce(LanesTaken(tuple(sorted(taken)), self._clock.now()))
        return {lane for lane in self._unread if self.holds(lane)}

    def read(self, lanes: Iterable[Lane]) -> None:
        """It is known what was going on there."""
        self._unread.difference_update(lanes)

    def leaving(self, *, busy: Collection[Lane], wanted: Collection[Lane]) -> list[Lane]:
        """The lanes to release: they fall to others by now, or nothing waits there any more (all but the `wanted`), and
        nothing is under way there.
        """
        if not self._store.shared:
            return []
        return [lane for lane in self._held_until if lane not in busy and not (lane in wanted and self._is_mine(lane))]

    async def release(self, lanes: Collection[Lane]) -> None:
        """Let others have these lanes at once. Raises `StoreFault`; then they have them when the leases are over."""
        for lane in lanes:
            self._held_until.pop(lane, None)
        await self._store.release(list(lanes))

    async def depart(self) -> None:
        """Be counted no more, so that others take over at once what is released. What is held is still renewed.

        Raises `StoreFault`; then the others wait for the presence to end.
        """
        self._departed = True
        if self._store.shared:
            await self._store.attend(b"[]", GONE_SECONDS)

    async def run(self, changed: Callable[[], None]) -> None:
        """Stay present, until cancelled, and tell when others come or go. Returns at once where there are no others."""
        while self._store.shared:
            began_at = self._clock.now()
            members = self._members
            try:
                await self._meet()
                self._failing = False
                if self._members != members:
                    changed()
            except StoreFault as fault:
                self._failed(fault)
            self._forget_lost()
            await self._clock.sleep_until(began_at + self._settings.share_seconds)

    async def _meet(self) -> None:
        """Renew what is held, tell the others what was sent here, and hear what was sent there."""
        held = self.lanes
        if held:
            asked = self._clock.monotonic()
            renewed = await self._store.lease(held, self._settings.lease_seconds)
            self._renewed(renewed, asked)
            for lane in set(held) - renewed:  # another has it, whatever our clock says: the store's own has jumped
                self._held_until[lane] = asked
        if self._departed:
            return
        post = msgspec.json.encode(self.limits.words())
        posts = await self._store.attend(post, self._settings.lease_seconds)
        self._members = sorted(posts)
        self._hear({member: said for member, said in posts.items() if member != self._store.member})

    def _hear(self, posts: Mapping[str, bytes]) -> None:
        now = self._clock.now()
        for member, post in posts.items():
            with suppress(msgspec.MsgspecError):  # another version of Standby may say other things
                self.limits.hear(member, msgspec.json.decode(post, type=list[Word]), now)
        self.limits.forget_all_but(posts)

    def _renewed(self, lanes: Iterable[Lane], asked: float) -> None:
        until = asked + self._settings.lease_seconds * (1 - self._settings.margin)
        for lane in lanes:
            self._held_until[lane] = until

    def _forget_lost(self) -> None:
        now = self._clock.monotonic()
        lost = [lane for lane, until in self._held_until.items() if until <= now]
        for lane in lost:
            del self._held_until[lane]
        if lost:
            self._announce(LanesLost(tuple(sorted(lost)), self._clock.now()))

    def _failed(self, fault: StoreFault) -> None:
        """Said once for each time that the store goes away."""
        if not self._failing:
            now = self._clock.now()
            self._announce(StepFailed("attend", None, None, str(fault), now + self._settings.share_seconds, now))
        self._failing = True

    def _is_mine(self, lane: Lane) -> bool:
        return owner_of(lane, self._members) == self._store.member

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.batching.membership import Membership, Settings, owner_of
from proxy.domain.events import AnyEvent, LanesLost, LanesTaken, StepFailed
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import LimitKind
from proxy.domain.request import Lane
from proxy.routing import ratelimit
from proxy.routing.limitbook import LimitBook
from proxy.runtime.clock import SystemClock
from proxy.store.redis import RedisStore
from proxy.store.redis import Settings as RedisSettings
from proxy.store.sqlite import SqliteStore
from tests.conftest import Servers
from tests.redis_server import RedisServer, binaries

OPENAI = UpstreamName("openai")
LANES = [Lane(OPENAI, f"model-{number}") for number in range(40)]
FAST = Settings(lease_seconds=0.9, share_seconds=0.1)


@dataclass
class Replica:
    store: RedisStore
    membership: Membership
    events: list[AnyEvent] = field(default_factory=list)


def replica(url: str, namespace: str) -> Replica:
    store = RedisStore(RedisSettings(url, namespace, patience_seconds=0.2, reply_seconds=0.5), SystemClock())
    events: list[AnyEvent] = []
    limits = LimitBook({OPENAI: ratelimit.Settings(requests_per_minute=600.0)})
    return Replica(store, Membership(store, SystemClock(), events.append, limits, FAST), events)


def play(url: str, namespace: str, story: Callable[[Replica, Replica, asyncio.TaskGroup], Awaitable[None]]) -> None:
    """Two replicas, whose `run` the story starts by itself."""

    async def whole() -> None:
        replicas = [replica(url, namespace) for _ in range(2)]
        for one in replicas:
            await one.store.start()
        try:
            async with asyncio.timeout(20.0), asyncio.TaskGroup() as group:
                await story(replicas[0], replicas[1], group)
        finally:
            for one in replicas:
                await one.store.close()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  leases end by a clock, and nobody tells
        await asyncio.sleep(0.02)


@given(members=st.sets(st.text(min_size=1), min_size=1, max_size=6))
def test_every_lane_has_one_owner_whoever_asks(members: set[str]) -> None:
    owner = owner_of(LANES[0], members)
    assert owner in members
    assert owner == owner_of(LANES[0], sorted(members, reverse=True))


def test_nobody_owns_anything_where_nobody_is() -> None:
    assert owner_of(LANES[0], []) is None


def test_lanes_are_spread_and_only_those_of_a_leaver_move() -> None:
    lanes = [Lane(OPENAI, str(number)) for number in range(600)]
    before = {lane: owner_of(lane, "abc") for lane in lanes}
    after = {lane: owner_of(lane, "ab") for lane in lanes}
    assert all(count > 120 for count in Counter(before.values()).values())
    assert all(after[lane] == owner for lane, owner in before.items() if owner != "c")


@pytest.mark.parametrize(
    ("values", "words"),
    [({"share_seconds": 0.0}, "share_seconds"), ({"share_seconds": 3.0}, "a third"), ({"margin": 1.0}, "margin")],
)
def test_settings_that_cannot_keep_a_lease_are_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**values)


def test_a_process_alone_holds_every_lane_from_the_first_look_on(tmp_path: Path) -> None:
    async def whole() -> None:
        store = SqliteStore(tmp_path / "standby.db", SystemClock())
        await store.start()
        membership = Membership(store, SystemClock(), lambda _: None, LimitBook({}), Settings())
        assert await membership.claim(LANES[:2]) == set(LANES[:2])
        assert not membership.keeps(LANES[0])
        membership.read(LANES[:2])
        assert membership.keeps(LANES[0])
        assert await membership.claim(LANES[:3]) == {LANES[2]}
        assert membership.leaving(busy=(), wanted=()) == []
        await membership.run(lambda: None)
        await store.close()

    asyncio.run(whole())


def test_nothing_is_claimed_before_the_others_are_known(shared_redis: Servers, tmp_path: Path) -> None:
    async def story(one: Replica, _: Replica, __: asyncio.TaskGroup) -> None:
        assert await one.membership.claim(LANES) == set()

    play(shared_redis("valkey").url, str(tmp_path), story)


def test_two_replicas_share_the_lanes_and_the_one_that_is_left_takes_all(shared_redis: Servers, tmp_path: Path) -> None:
    async def story(one: Replica, two: Replica, group: asyncio.TaskGroup) -> None:
        told: list[str] = []
        first = group.create_task(one.membership.run(lambda: told.append("changed")))
        second = group.create_task(two.membership.run(lambda: None))
        await until(lambda: one.membership.members == two.membership.members == 2)
        ours, theirs = await one.membership.claim(LANES), await two.membership.claim(LANES)
        assert ours | theirs == set(LANES)
        assert not ours & theirs
        assert len(ours) > 5
        assert len(theirs) > 5
        one.membership.read(ours)
        await asyncio.sleep(1.5)
        assert all(one.membership.keeps(lane) for lane in ours)
        second.cancel()
        await until(lambda: one.membership.members == 1)
        assert one.membership.claim_again_at(0.0) == math.inf
        while len(one.membership.lanes) < len(LANES):
            await one.membership.claim(LANES)
            await asyncio.sleep(0.05)
        assert not any(two.membership.holds(lane) for lane in LANES)
        assert 2 <= len(told) <= 3
        assert sum(len(event.lanes) for event in one.events if isinstance(event, LanesTaken)) == len(LANES)
        first.cancel()

    play(shared_redis("valkey").url, str(tmp_path), story)


def test_a_newcomer_gets_its_share_as_soon_as_nothing_is_under_way(shared_redis: Servers, tmp_path: Path) -> None:
    async def story(one: Replica, two: Replica, group: asyncio.TaskGroup) -> None:
        tasks = [group.create_task(one.membership.run(lambda: None))]
        await until(lambda: one.membership.members == 1)
        one.membership.read(await one.membership.claim(LANES))
        assert one.membership.claim_again_at(0.0) == math.inf
        tasks.append(group.create_task(two.membership.run(lambda: None)))
        await until(lambda: one.membership.members == 2)
        leaving = one.membership.leaving(busy=(), wanted=LANES)
        assert 5 < len(leaving) < len(LANES)
        assert not one.membership.keeps(leaving[0])
        assert one.membership.holds(leaving[0])
        assert leaving[0] not in one.membership.leaving(busy=leaving[:1], wanted=LANES)
        await one.membership.release(leaving)
        assert await two.membership.claim(LANES) == set(leaving)
        for task in tasks:
            task.cancel()

    play(shared_redis("valkey").url, str(tmp_path), story)


def test_whoever_departs_is_missed_at_once(shared_redis: Servers, tmp_path: Path) -> None:
    async def story(one: Replica, two: Replica, group: asyncio.TaskGroup) -> None:
        tasks = [group.create_task(each.membership.run(lambda: None)) for each in (one, two)]
        await until(lambda: one.membership.members == two.membership.members == 2)
        held = await two.membership.claim(LANES)
        began = asyncio.get_running_loop().time()
        await two.membership.depart()
        await until(lambda: one.membership.members == 1)
        assert asyncio.get_running_loop().time() - began < 0.6
        assert all(two.membership.holds(lane) for lane in held)
        for task in tasks:
            task.cancel()

    play(shared_redis("valkey").url, str(tmp_path), story)


def test_a_holder_whose_store_is_away_stops_by_itself_before_others_may_begin(tmp_path: Path) -> None:
    server = RedisServer(binaries()["valkey"], tmp_path / "server")
    server.start()

    async def story(one: Replica, _: Replica, group: asyncio.TaskGroup) -> None:
        task = group.create_task(one.membership.run(lambda: None))
        await until(lambda: one.membership.members == 1)
        await one.membership.claim(LANES[:3])
        server.freeze()
        await until(lambda: not one.membership.holds(LANES[0]))
        await until(lambda: any(isinstance(event, LanesLost) for event in one.events))
        server.thaw()
        while not await one.membership.claim(LANES[:3]):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.05)
        assert sum(isinstance(event, StepFailed) for event in one.events) == 1
        task.cancel()

    try:
        play(server.url, "standby", story)
    finally:
        server.kill()


def test_a_lease_that_another_has_all_the_same_is_lost_at_once(shared_redis: Servers, tmp_path: Path) -> None:
    """The store's clock has jumped, or it has forgotten: whatever ours says, another holds the lane."""

    async def story(one: Replica, two: Replica, group: asyncio.TaskGroup) -> None:
        task = group.create_task(one.membership.run(lambda: None))
        await until(lambda: one.membership.members == 1)
        assert await one.membership.claim(LANES[:1]) == {LANES[0]}
        await one.store.release(LANES[:1])
        await two.store.lease(LANES[:1], 60.0)
        await until(lambda: not one.membership.holds(LANES[0]))
        await until(lambda: any(isinstance(event, LanesLost) for event in one.events))
        task.cancel()

    play(shared_redis("valkey").url, str(tmp_path), story)


def test_words_of_another_version_are_passed_over(shared_redis: Servers, tmp_path: Path) -> None:
    async def story(one: Replica, two: Replica, group: asyncio.TaskGroup) -> None:
        await two.store.attend(b'{"something": "else"}', 60.0)
        task = group.create_task(one.membership.run(lambda: None))
        await until(lambda: one.membership.members == 2)
        task.cancel()

    play(shared_redis("valkey").url, str(tmp_path), story)


def test_what_one_has_sent_leaves_less_for_the_other(shared_redis: Servers, tmp_path: Path) -> None:
    async def story(one: Replica, two: Replica, group: asyncio.TaskGroup) -> None:
        tasks = [group.create_task(each.membership.run(lambda: None)) for each in (one, two)]
        await until(lambda: one.membership.members == two.membership.members == 2)
        now = SystemClock().now()
        for _ in range(300):
            one.membership.limits.of(OPENAI, "m", now).actual.spend(10, now, urgent=True)
        theirs = two.membership.limits.of(OPENAI, "m", now).actual
        await until(lambda: theirs.used_ratios(SystemClock().now())[LimitKind.REQUESTS] > 0.4)
        await asyncio.sleep(0.5)
        assert theirs.used_ratios(SystemClock().now())[LimitKind.REQUESTS] < 0.55
        assert theirs.spent.calls == 0
        for task in tasks:
            task.cancel()

    play(shared_redis("valkey").url, str(tmp_path), story)

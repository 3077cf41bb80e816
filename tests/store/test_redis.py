"""What is Redis's own; the rest is in test_contract.py."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from proxy.domain.errors import StoreFault
from proxy.domain.moves import Applied, AttemptSent, CallPlanned
from proxy.domain.request import Request
from proxy.runtime.clock import SystemClock
from proxy.store.interface import Accepted
from proxy.store.redis import RedisStore, Settings
from tests.redis_server import RedisServer, binaries
from tests.store.samples import LANE, accepted, call_for, ledger, request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which it starts, kills and freezes."""
    server = RedisServer(binaries()["valkey"], tmp_path / "server")
    yield server
    server.kill()


def play(
    server: RedisServer,
    story: Callable[[RedisStore], Awaitable[None]],
    *,
    namespace: str = "standby",
    patience_seconds: float = 5.0,
) -> None:
    settings = Settings(server.url, namespace, patience_seconds=patience_seconds, reply_seconds=0.5)

    async def whole() -> None:
        store = RedisStore(settings, SystemClock())
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


async def nothing(_: RedisStore) -> None:
    """Only start and close."""


def test_what_was_acknowledged_survives_kill_9_of_the_server(server: RedisServer) -> None:
    server.start()

    async def story(store: RedisStore) -> None:
        requests = await accepted(store, *(request() for _ in range(20)))
        server.kill()
        await asyncio.to_thread(server.start)
        assert [await store.get(one.id) is not None for one in requests] == [True] * 20

    play(server, story)


def test_a_change_whose_reply_was_lost_is_made_once_and_answered_as_the_first_time(server: RedisServer) -> None:
    """A frozen server carries out what is in its buffers when it thaws, after the store has asked again."""
    server.start()

    async def story(store: RedisStore) -> None:
        (one,) = await accepted(store, request())
        call = call_for(one)
        server.freeze()
        async with asyncio.TaskGroup() as group:
            applying = group.create_task(store.apply([CallPlanned(call), AttemptSent(call.id, 1.0)]))
            again = group.create_task(store.accept(request(key="once")))
            await asyncio.sleep(1.5)
            server.thaw()
        assert applying.result() == [Applied(), Applied()]
        assert again.result() == Accepted()
        assert len((await store.changes(None)).waiting) == 2

    play(server, story)


def test_a_ledger_row_is_booked_once_however_often_it_is_sent(server: RedisServer) -> None:
    server.start()

    async def story(store: RedisStore) -> None:
        row = ledger(call_for(request()))
        server.freeze()
        async with asyncio.TaskGroup() as group:
            group.create_task(store.book([row]))
            await asyncio.sleep(1.2)
            server.thaw()
        (total,) = await store.ledger(since=0.0, until=1e9)
        assert (total.rows, total.paid_usd) == (1, row.paid_usd)

    play(server, story)


def test_a_server_that_is_away_for_too_long_is_a_fault_and_then_forgotten(server: RedisServer) -> None:
    server.start()

    async def story(store: RedisStore) -> None:
        server.kill()
        with pytest.raises(StoreFault, match="cannot be reached"):
            await store.accept(request())
        await asyncio.to_thread(server.start)
        assert await store.accept(request()) == Accepted()

    play(server, story, patience_seconds=0.3)


def test_a_server_that_is_not_there_at_the_start_is_a_fault_and_leaves_nothing_running(server: RedisServer) -> None:
    with pytest.raises(StoreFault, match="cannot be reached"):
        play(server, nothing, patience_seconds=0.3)


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ((), ""),
        (("--appendfsync", "everysec"), "a power cut may lose"),
        (("--appendonly", "no"), "when it restarts, accepted requests may be lost"),
        (("--rename-command", "CONFIG", ""), "does not tell how durable it is"),
    ],
)
def test_a_server_that_may_forget_is_warned_of(server: RedisServer, options: tuple[str, ...], warned: str) -> None:
    server.start(*options)
    warnings: list[str] = []

    async def story(store: RedisStore) -> None:
        warnings.extend(store.warnings)

    play(server, story)
    assert [warned in warning for warning in warnings] == ([True] if warned else [])


def test_a_server_that_would_throw_requests_away_is_refused(server: RedisServer) -> None:
    server.start("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreFault, match="maxmemory-policy, which is allkeys-lru, to noeviction"):
        play(server, nothing)


def test_a_server_whose_memory_is_full_refuses_what_is_new_and_keeps_what_it_has(server: RedisServer) -> None:
    server.start("--maxmemory", "6mb", "--maxmemory-policy", "noeviction")

    async def story(store: RedisStore) -> None:
        kept: list[Request] = []

        async def fill() -> None:
            for _ in range(100):
                one = request(body=b"x" * 500_000)
                await store.accept(one)
                kept.append(one)

        with pytest.raises(StoreFault, match="maxmemory"):
            await fill()
        assert kept
        assert [await store.body(one.id) == one.body for one in kept] == [True] * len(kept)

    play(server, story)


def test_stores_with_other_namespaces_know_nothing_of_each_other(server: RedisServer) -> None:
    server.start()

    async def first(store: RedisStore) -> None:
        await accepted(store, request())
        await store.lease([LANE], 60.0)

    async def second(store: RedisStore) -> None:
        assert (await store.changes(None)).waiting == []
        assert await store.lease([LANE], 60.0) == {LANE}

    play(server, first, namespace="one")
    play(server, second, namespace="two")


def test_a_store_of_a_newer_standby_is_refused(server: RedisServer) -> None:
    server.start()

    async def upgraded(store: RedisStore) -> None:
        await store._writes.do("HSET", "{standby}:meta", "schema", 99)

    play(server, upgraded)
    with pytest.raises(StoreFault, match="newer Standby"):
        play(server, nothing)


def test_every_key_is_in_one_slot_of_a_cluster(server: RedisServer) -> None:
    server.start()

    async def story(store: RedisStore) -> None:
        (one,) = await accepted(store, request(key="k"))
        await store.apply([CallPlanned(call_for(one))])
        await store.book([ledger(call_for(one))])
        await store.save_note("a", b"b")
        await store.attend(b"", 60.0)
        await store.lease([LANE], 60.0)
        keys = await store._writes.do("KEYS", "*")
        assert len(keys) > 10
        assert {key.partition(b":")[0] for key in keys} == {b"{standby}"}

    play(server, story)


def test_single_ledger_rows_end_and_their_sums_stay(server: RedisServer) -> None:
    server.start()

    async def story(store: RedisStore) -> None:
        row = ledger(call_for(request()), booked_at=7200.0)
        await store.book([row])
        for key in await store._writes.do("KEYS", "*ledger:rows*"):
            assert 0 < await store._writes.do("TTL", key) <= 90 * 86_400
            await store._writes.do("DEL", key)
        assert await store.ledger_rows(row.request_id) == []
        (total,) = await store.ledger(since=3600.0, until=3 * 3600.0)
        assert total.paid_usd == row.paid_usd

    play(server, story)

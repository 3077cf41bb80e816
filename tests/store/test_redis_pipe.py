import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from proxy.domain.errors import StoreFault
from proxy.domain.lifecycle import BATCH_MOVES
from proxy.runtime.clock import SystemClock
from proxy.store.redis import SCRIPTS
from proxy.store.redis_pipe import Pipe, Script
from tests.redis_server import RedisServer, binaries

ECHO = Script("return ARGV[1]", "098e0f0d1448c0a81dafe820f66d460eb09263da")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to be killed and frozen."""
    server = RedisServer(binaries()["valkey"], tmp_path / "server")
    server.start()
    yield server
    server.kill()


def play(server: RedisServer, story: Callable[[Pipe], Awaitable[None]], patience_seconds: float = 5.0) -> None:
    async def whole() -> None:
        client = Redis.from_url(server.url, protocol=2, socket_timeout=0.5, socket_connect_timeout=0.5)
        client.response_callbacks.clear()
        pipe = Pipe(client, SystemClock(), [ECHO], patience_seconds)
        pipe.start()
        try:
            await story(pipe)
        finally:
            await pipe.close()
            await client.aclose()

    asyncio.run(whole())


def test_many_callers_each_get_their_own_reply(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        replies = await asyncio.gather(*(pipe.do("ECHO", str(number)) for number in range(2500)))
        assert replies == [str(number).encode() for number in range(2500)]

    play(server, story)


def test_a_refused_command_fails_alone(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        wrong, right = await asyncio.gather(pipe.do("NOSUCH"), pipe.do("ECHO", "x"), return_exceptions=True)
        assert isinstance(wrong, StoreFault)
        assert "unknown command" in str(wrong)
        assert right == b"x"

    play(server, story)


def test_a_script_that_redis_does_not_know_is_loaded_and_run(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        for _ in range(2):
            assert await pipe.do("EVALSHA", ECHO.sha, 0, "hello") == b"hello"
            await pipe.do("SCRIPT", "FLUSH")

    play(server, story)


def test_a_server_that_comes_back_in_time_costs_only_time(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        await pipe.do("SET", "a", "1")
        server.kill()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pipe.do("GET", "a"))
            await asyncio.to_thread(server.start)
        assert waiting.result() == b"1"

    play(server, story)


def test_a_frozen_server_is_asked_again(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        await pipe.do("SET", "a", "1")
        server.freeze()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(pipe.do("GET", "a"))
            await asyncio.sleep(1.0)
            server.thaw()
        assert waiting.result() == b"1"

    play(server, story)


def test_when_patience_is_over_every_caller_is_told_and_later_ones_are_served(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        server.kill()
        told = await asyncio.gather(*(pipe.do("GET", "a") for _ in range(3)), return_exceptions=True)
        assert [type(fault) for fault in told] == [StoreFault] * 3
        assert "cannot be reached" in str(told[0])
        await asyncio.to_thread(server.start)
        assert await pipe.do("ECHO", "x") == b"x"

    play(server, story, patience_seconds=0.3)


def test_closing_finishes_what_was_asked_and_refuses_more(server: RedisServer) -> None:
    async def story(pipe: Pipe) -> None:
        asked = asyncio.gather(*(pipe.do("ECHO", str(number)) for number in range(5)))
        await asyncio.sleep(0)
        await pipe.close()
        assert len(await asked) == 5
        await pipe.close()
        with pytest.raises(StoreFault, match="closed"):
            await pipe.do("PING")

    play(server, story)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_carry_the_state_machines_and_a_name_of_their_content(name: str) -> None:
    script = Script.read(name)
    assert len(script.sha) == 40
    for (state, event), after in BATCH_MOVES.items():
        assert f'"{state} {event}":"{after}"' in script.text

import asyncio
from pathlib import Path

from proxy.config.settings import Config
from proxy.server.settings import Settings as ServerSettings
from tests.world import World, play

HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: standby\r\nAuthorization: Bearer sk-alice\r\n"
    "Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
)
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"half"}]}'
DRAIN = ServerSettings(port=0, drain_seconds=10.0)


async def _half(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A call whose head is there, and half of its body."""
    host, port = world.service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(HEAD.format(size=len(BODY)).encode() + BODY[:20])
    await writer.drain()
    await world.until(lambda: len(world.service.house.arrivals) == 1, within=5.0, look=0.1)
    return reader, writer


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def test_a_call_whose_body_arrives_while_the_process_stops_is_served(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        reader, writer = await _half(world)
        ending = asyncio.ensure_future(world.service.house.arrivals.end(10.0))  # noqa: TID251  it goes on beside this
        await world.sleep(1.0)
        writer.write(BODY[20:])
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await ending
        await _close(writer)

    play(tmp_path, story, server=DRAIN)


def test_a_call_whose_body_never_arrives_does_not_hold_up_the_end_of_the_process(tmp_path: Path) -> None:
    ends: list[float] = []
    half: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def story(world: World) -> None:
        half.append(await _half(world))
        began = world.now
        await world.service.house.arrivals.end(10.0)
        ends.append(world.now - began)
        assert await half[0][0].read() == b""
        await world.until(lambda: len(world.service.house.arrivals) == 0, within=5.0, look=0.1)
        await _close(half[0][1])

    play(tmp_path, story, server=DRAIN)
    assert 9.9 <= ends[0] <= 11.0
    assert Config().server.drain_seconds == 30.0

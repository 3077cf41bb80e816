"""Where a post goes, and where it does not."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.delivery.post import Post


class Names(AbstractResolver):
    """Knows every name, at the addresses that a test says."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        return


async def _receiver(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return runner, port


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("10.0.0.1", "::1"), ("169.254.169.254",)])
def test_a_name_with_private_addresses_only_is_not_called(addresses: tuple[str, ...]) -> None:
    async def story() -> None:
        post = Post(timeout_seconds=5, allow_private=False, names=Names(*addresses))
        with pytest.raises(OSError, match="no public address"):
            await post.send("https://rebound.example/", b"{}", [])
        await post.close()

    asyncio.run(story())


def test_a_private_address_without_a_name_is_not_called() -> None:
    async def story() -> None:
        post = Post(timeout_seconds=5, allow_private=False, names=Names("93.184.215.14"))
        for url in ("https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/"):
            with pytest.raises(OSError, match="no public address"):
                await post.send(url, b"{}", [])
        await post.close()

    asyncio.run(story())


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "0", "127.0.0.1."])
def test_a_private_address_in_an_odd_spelling_is_not_called(host: str) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async def story() -> None:
        runner, port = await _receiver(answer)
        post = Post(timeout_seconds=5, allow_private=False)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await post.send(f"http://{host}:{port}/", b"{}", [])
        await post.close()
        await runner.cleanup()

    asyncio.run(story())
    assert not seen


def test_where_private_addresses_are_allowed_the_content_arrives() -> None:
    got: list[tuple[bytes, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append((await request.read(), request.headers.get("webhook-id")))
        return web.Response(status=204)

    async def story() -> None:
        runner, port = await _receiver(answer)
        post = Post(timeout_seconds=5, allow_private=True, names=Names("127.0.0.1"))
        assert await post.send(f"http://anything.example:{port}/x", b"{}", [("webhook-id", "one")]) == 204
        await post.close()
        await runner.cleanup()

    asyncio.run(story())
    assert got == [(b"{}", "one")]


def test_a_redirect_is_an_answer_and_nothing_to_follow() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async def story() -> None:
        runner, port = await _receiver(answer)
        post = Post(timeout_seconds=5, allow_private=True)
        assert await post.send(f"http://127.0.0.1:{port}/here", b"{}", []) == 307
        await post.close()
        await runner.cleanup()

    asyncio.run(story())
    assert seen == ["/here"]

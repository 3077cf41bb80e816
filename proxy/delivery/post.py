"""Posting to addresses that clients name: to public ones only, and wherever a redirect points is not followed."""

import socket
from collections.abc import Iterable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.wire.webhooks import host_of, is_address, is_public


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses. The connection goes to what was looked at, so that no second look-up of the
    name can answer otherwise.
    """

    def __init__(self, names: AbstractResolver) -> None:
        self._names = names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of a name. Raises OSError when it has none."""
        found = await self._names.resolve(host, port, family)
        public = [address for address in found if is_public(address["host"])]
        if not public:
            raise OSError(None, f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._names.close()


class Post:
    """Posts without cookies, proxies and redirects. `close` it."""

    def __init__(self, *, timeout_seconds: float, allow_private: bool, names: AbstractResolver | None = None) -> None:
        resolver = names or aiohttp.DefaultResolver()
        connector = aiohttp.TCPConnector(
            resolver=resolver if allow_private else PublicResolver(resolver), use_dns_cache=False, force_close=True
        )
        self._allow_private = allow_private
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            trust_env=False,
            headers={"User-Agent": "Standby-Webhooks/1"},
        )

    async def send(self, url: str, content: bytes, headers: Iterable[tuple[str, str]]) -> int:
        """Post once; returns the status. Raises `aiohttp.ClientError`, OSError or TimeoutError."""
        host = host_of(url)
        if not self._allow_private and is_address(host) and not is_public(host):
            raise OSError(None, f"{host} is no public address")
        async with self._session.post(url, data=content, headers=list(headers), allow_redirects=False) as answer:
            return answer.status

    async def close(self) -> None:
        await self._session.close()

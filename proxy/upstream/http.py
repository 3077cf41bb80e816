"""The HTTP client towards providers, tuned as measured: no cookies, no decompression, no session timers, no
connection limit that queues silently; and the one place where its exceptions become `UpstreamFault`.
"""

import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from proxy.domain.errors import Retry, UpstreamFault

WRITTEN_AT_ONCE_BYTES = 2**20


def open_session(*, connections_max: int) -> aiohttp.ClientSession:
    """A session for every upstream. `connections_max` 0 means no limit."""
    connector = aiohttp.TCPConnector(
        limit=connections_max, limit_per_host=0, ttl_dns_cache=60, keepalive_timeout=60, socket_factory=_open_socket
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        trust_env=False,
        max_line_size=65536,
        max_field_size=65536,
        read_bufsize=2**18,
    )


def sendable(body: bytes) -> bytes | io.BytesIO:
    """A request's body as it is given to the client library: a large one in pieces, between which the loop breathes."""
    return body if len(body) <= WRITTEN_AT_ONCE_BYTES else io.BytesIO(body)


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    opened = socket.socket(family=family, type=kind, proto=protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return opened


@asynccontextmanager
async def upstream_faults(what: str) -> AsyncIterator[None]:
    """Turn the client library's exceptions into `UpstreamFault`, saying whether the call may have been billed."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise UpstreamFault(f"{what}: cannot connect: {error}", retry=Retry.LATER) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise UpstreamFault(f"{what}: connecting took too long", retry=Retry.LATER) from error
    except TimeoutError as error:
        raise UpstreamFault(f"{what}: no answer in time", retry=Retry.UNKNOWN_IF_BILLED) from error
    except (aiohttp.ClientError, OSError) as error:
        reason = f"{what}: the connection broke: {error or type(error).__name__}"
        raise UpstreamFault(reason, retry=Retry.UNKNOWN_IF_BILLED) from error

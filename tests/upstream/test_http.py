import asyncio

import aiohttp
import pytest

from proxy.domain.errors import Retry, UpstreamFault
from proxy.upstream.http import open_session, upstream_faults


async def _raise(error: BaseException) -> None:
    async with upstream_faults("GET /v1/models"):
        raise error


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (aiohttp.ConnectionTimeoutError(), Retry.LATER),
        (TimeoutError(), Retry.UNKNOWN_IF_BILLED),
        (aiohttp.ServerDisconnectedError(), Retry.UNKNOWN_IF_BILLED),
        (aiohttp.ClientPayloadError("cut"), Retry.UNKNOWN_IF_BILLED),
        (ConnectionResetError(), Retry.UNKNOWN_IF_BILLED),
    ],
)
def test_what_the_client_library_raises_says_whether_it_may_have_been_billed(error: Exception, retry: Retry) -> None:
    with pytest.raises(UpstreamFault) as caught:
        asyncio.run(_raise(error))
    assert caught.value.retry is retry
    assert caught.value.message.startswith("GET /v1/models: ")
    assert caught.value.__cause__ is error


def test_a_refused_connection_was_certainly_not_billed() -> None:
    async def connect() -> None:
        async with open_session(connections_max=0) as session, upstream_faults("GET /"):
            await session.get("http://127.0.0.1:1/")

    with pytest.raises(UpstreamFault) as caught:
        asyncio.run(connect())
    assert caught.value.retry is Retry.LATER


def test_our_own_faults_and_cancellation_pass_through() -> None:
    fault = UpstreamFault("mine", retry=Retry.NEVER)
    with pytest.raises(UpstreamFault) as caught:
        asyncio.run(_raise(fault))
    assert caught.value is fault
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_raise(asyncio.CancelledError()))

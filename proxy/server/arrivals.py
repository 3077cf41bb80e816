"""Calls whose bodies are still on their way: a server that is being shut down reads no more of them, so that whoever
waits for the rest would wait in vain.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import web


class Arrivals:
    """Which calls are being read. After `end` none is any more."""

    def __init__(self) -> None:
        self._ended = False
        self._arriving: dict[int, web.BaseRequest] = {}
        self._all_are_there = asyncio.Event()
        self._all_are_there.set()

    def __len__(self) -> int:
        return len(self._arriving)

    @contextmanager
    def reading(self, request: web.BaseRequest) -> Iterator[None]:
        """While inside, the call's body is being read."""
        if self._ended:
            _break_off(request)
        self._arriving[id(request)] = request
        self._all_are_there.clear()
        try:
            yield
        finally:
            self._arriving.pop(id(request), None)
            if not self._arriving:
                self._all_are_there.set()

    async def end(self, within_seconds: float) -> None:
        """Wait for what is on its way, no longer than that, and break off what is not there then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._all_are_there.wait()
        self._ended = True
        for request in self._arriving.values():
            _break_off(request)


def _break_off(request: web.BaseRequest) -> None:
    """A stock client tries again, and finds another process."""
    if request.transport is not None:
        request.transport.abort()

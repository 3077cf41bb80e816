"""Running an emulator on a port: for the command line, for the demo and for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from proxy.domain.clock import Clock
from proxy.emulator.catalog import Prices
from proxy.emulator.provider import Emulator
from proxy.emulator.settings import Settings

BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Running:
    """An emulator that is listening. `url` has no path and no slash at its end: OpenAI's base URL is `url + "/v1"`."""

    emulator: Emulator
    url: str


@asynccontextmanager
async def serving(
    settings: Settings, clock: Clock, prices: Prices, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Running]:
    """Listen for as long as the context lasts; port 0 takes a free one. Raises OSError if the port is taken."""
    emulator = Emulator(settings, clock, prices)
    await emulator.start()
    runner = web.AppRunner(emulator.app(), access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        bound_port = runner.addresses[0][1]
        yield Running(emulator, f"http://{host}:{bound_port}")
    finally:
        await runner.cleanup()
        await emulator.close()

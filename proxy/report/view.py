"""What every question needs: the store opened to be read, the time, the time zone, and where to say the answer."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import tzinfo

from rich.console import Console

from proxy.config.settings import Config
from proxy.domain.clock import Clock
from proxy.routing import latency
from proxy.runtime.clock import SystemClock
from proxy.runtime.parts import build_reader
from proxy.store.interface import Reader

WIDE = 200
"""Columns where there is no terminal: nobody folds a line there."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at a store. `batches` are the settings under which completion times are learned."""

    reader: Reader
    clock: Clock
    zone: tzinfo
    console: Console
    batches: latency.Settings

    def say(self, text: str) -> None:
        """A plain line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def write(self, text: str) -> None:
        """What another program reads: not a character is added."""
        self.console.file.write(text)


@asynccontextmanager
async def looking(config: Config) -> AsyncIterator[View]:
    """Open the configured store to be read. Raises `StoreFault` where there is none that can be."""
    clock = SystemClock()
    reader = build_reader(config.store, clock)
    await reader.start()
    try:
        yield View(reader, clock, config.timezone, new_console(), config.planner.batches)
    finally:
        await reader.close()


def new_console() -> Console:
    """The terminal, or lines that are as wide as they need to be."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE)

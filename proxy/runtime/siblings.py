"""The workers behind one address tell one `/metrics` together: whoever is asked asks the others.

They meet in a folder that the watching process has made for them: each listens there on a socket of its own. Before a
worker tells what it has counted it writes it down beside its socket. Whoever does not answer, because it was killed,
starts again or hangs, is taken at what it has told last; and its successor counts on from there. So no sum that was
told to anybody ever goes down.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.telemetry.pages import Page, decode, encode, lasting, merge

PATIENCE_SECONDS = 2.0
"""How long a sibling may take to answer. A scrape usually gives up after 10 s."""
TELLING_SECONDS = 10.0
"""How long a worker tries to tell: then whoever has asked is long gone."""


@dataclass(frozen=True, slots=True)
class Nest:
    """Where the workers meet, how many there are, and which of them this one is, counted from 0."""

    folder: Path
    count: int
    number: int

    def socket(self, number: int) -> Path:
        return self.folder / f"{number}.sock"

    def memory(self, number: int) -> Path:
        """What the worker of that number has told last, of that which lasts."""
        return self.folder / f"{number}.page"

    @property
    def others(self) -> Iterable[int]:
        return (number for number in range(self.count) if number != self.number)


class Siblings:
    """This worker among the others. `own` is what it has to tell of itself."""

    def __init__(self, nest: Nest, own: Callable[[], Awaitable[Page]]) -> None:
        self._nest = nest
        self._own = own
        self._telling = asyncio.Lock()
        self._inherited = _remembered(nest.memory(nest.number))

    async def page(self) -> Page:
        """What all workers together have to tell."""
        others = (self._ask(number) for number in self._nest.others)
        return merge(await asyncio.gather(self._tell(), *others))

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """While inside, the others get an answer."""
        address = self._nest.socket(self._nest.number)
        address.unlink(missing_ok=True)  # of a predecessor that was killed
        server = await asyncio.start_unix_server(self._answer, address)
        try:
            yield
        finally:
            server.close()

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TELLING_SECONDS):
                writer.write(encode(await self._tell()))
                await writer.drain()
        except (OSError, TimeoutError):
            return
        finally:
            writer.close()

    async def _tell(self) -> Page:
        """One after the other: what is written down last is what was counted last."""
        async with self._telling:
            page = merge([await self._own(), self._inherited])
            with suppress(OSError):  # on a full disk a kill takes counts back; the page is told all the same
                await asyncio.to_thread(_remember, self._nest.memory(self._nest.number), page)
            return page

    async def _ask(self, number: int) -> Page:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._nest.socket(number))
                try:
                    return decode(await reader.read())
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return await asyncio.to_thread(_remembered, self._nest.memory(number))


def _remember(file: Path, page: Page) -> None:
    """Written whole, or not at all."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(encode(lasting(page)))
    draft.replace(file)


def _remembered(file: Path) -> Page:
    """What was told last; nothing when nothing was."""
    try:
        return decode(file.read_bytes())
    except FileNotFoundError:
        return ()

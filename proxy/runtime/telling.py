"""What `/metrics` of this process tells: of itself, or together with the other workers behind its address."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from proxy.runtime.siblings import Nest, Siblings
from proxy.telemetry.gauges import StateReader
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.pages import Page, write


class Telling:
    """Writes the page. `nest` is where the other workers are, None where there are none."""

    def __init__(self, metrics: Metrics, nest: Nest | None) -> None:
        self._metrics = metrics
        self._state: StateReader | None = None
        self._siblings = None if nest is None else Siblings(nest, self._own)

    @asynccontextmanager
    async def about(self, state: StateReader) -> AsyncIterator[None]:
        """While inside, the page tells of this state, and siblings that ask are answered."""
        self._state = state
        async with AsyncExitStack() as stack:
            if self._siblings is not None:
                await stack.enter_async_context(self._siblings.answering())
            yield

    async def page(self, *, openmetrics: bool, alone: bool) -> tuple[bytes, str]:
        """The page and its content type; `alone`: of this process, whoever else there is."""
        page = await self._own() if alone or self._siblings is None else await self._siblings.page()
        return write(page, openmetrics=openmetrics)

    async def _own(self) -> Page:
        if self._state is None:
            raise AssertionError("asked before there is a state to tell of")
        return self._metrics.page(await self._state.gauges())

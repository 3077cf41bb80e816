"""The production clock: the one place in the program that reads the time of day."""

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext


class SystemClock:
    """`proxy.domain.clock.Clock` on the machine's clocks."""

    def now(self) -> float:
        return time.time()  # noqa: TID251  this is the clock

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, at: float) -> None:
        """Sleeps in pieces of at most a minute: a clock that was set meanwhile is noticed."""
        while (left_seconds := at - self.now()) > 0:  # noqa: ASYNC110  nobody sets an event when it is six
            await asyncio.sleep(min(left_seconds, 60.0))

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

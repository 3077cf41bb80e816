"""The provider's time: the injected clock, with every duration divided by the time scale.

Instants are the clock's own, so that a client can compare them with its own; a batch created now with a window of
24 h at scale 1440 expires in one minute of the clock.
"""

import asyncio
import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from proxy.domain.clock import Clock

Args = ParamSpec("Args")
Result = TypeVar("Result")


class Pace:
    """The clock and the scale. Provider seconds go in, instants of the clock come out."""

    def __init__(self, clock: Clock, scale: float) -> None:
        self.clock = clock
        self.scale = scale
        self.started_at = clock.now()

    def now(self) -> float:
        """Return the clock's now, unix seconds."""
        return self.clock.now()

    def after(self, at: float, provider_seconds: float) -> float:
        """Return the instant that lies so many provider seconds after `at`."""
        return at + provider_seconds / self.scale

    def since_start(self, at: float) -> float:
        """Return how many provider seconds after the emulator's start `at` lies."""
        return (at - self.started_at) * self.scale

    async def sleep(self, provider_seconds: float) -> None:
        """Wait so many provider seconds."""
        if provider_seconds > 0:
            await self.clock.sleep_until(self.after(self.now(), provider_seconds))

    async def off_loop(self, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result:
        """Run blocking work in a thread while virtual time stands still."""
        with self.clock.hold():
            return await asyncio.to_thread(work, *args, **kwargs)


def unix(at: float | None) -> int | None:
    """Return whole unix seconds, as OpenAI's objects have them."""
    return None if at is None or math.isinf(at) else int(at)

"""The `Clock` that follows the running event loop: virtual time in stories, an offset real time on an ordinary loop."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

from proxy.simulation.loop import VirtualTimeLoop


class LoopClock:
    """`proxy.domain.clock.Clock` on the time of the loop that its caller runs in.

    `epoch` is the unix instant of the loop's second 0; without it, a virtual loop's own epoch, and 0 on an ordinary
    loop. Every method raises `RuntimeError` outside a running loop.
    """

    def __init__(self, epoch: float | None = None) -> None:
        self._epoch = epoch

    def now(self) -> float:
        """Unix seconds."""
        loop = asyncio.get_running_loop()
        if self._epoch is not None:
            return self._epoch + loop.time()
        return loop.time() + (loop.epoch if isinstance(loop, VirtualTimeLoop) else 0.0)

    def monotonic(self) -> float:
        """The loop's own seconds."""
        return asyncio.get_running_loop().time()

    async def sleep_until(self, at: float) -> None:
        """Wait until `now() >= at`. Repeated, because a timer may fire a rounding error early."""
        while (left_seconds := at - self.now()) > 0:  # noqa: ASYNC110  this is the waiting itself
            await asyncio.sleep(left_seconds)

    def hold(self) -> AbstractContextManager[None]:
        """Keep virtual time from jumping while something outside the loop is at work; nothing on an ordinary loop."""
        loop = asyncio.get_running_loop()
        return loop.hold() if isinstance(loop, VirtualTimeLoop) else nullcontext()

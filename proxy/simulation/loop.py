"""The virtual-time event loop: an asyncio loop whose clock jumps from timer to timer. Tests, stories and backtests.

aiohttp's timers, `asyncio.timeout`, `asyncio.sleep` and our own clock all read `loop.time()`. So it is enough to give
asyncio a loop with its own `time()` and a selector that never really waits: it polls real sockets, and when nothing is
ready, everybody sleeps, and time jumps to the next timer. A server and its client in one loop talk over real loopback
sockets, and a day of theirs takes seconds.

What is true of it:

- *Sockets inside the process.* Time may jump as soon as a poll finds nothing, because Linux delivers loopback traffic
  within the sender's own system call: what one side has sent, the other side's next poll sees. (Tried on Linux 6.18
  with BBR: 15,000 jumps amid small calls, streams, bodies of 20 MB and buffers of 2 kB, on a busy machine; a second
  look before the jump never found anything.) Kernels before 6.4 may leave delivery to a thread of their own when they
  are flooded; giving up the processor once before a jump gives that thread its turn.
- *Anything else outside the loop* (a thread, a subprocess, another machine) takes no virtual time at all and would lose
  every race against a timeout. Whoever waits for such a thing does so inside `hold()`; while anyone holds, time stands
  still. `run_in_executor`, and so `asyncio.to_thread`, holds by itself, until its caller has the result or gives up.
- *Waiting for a timer inside `hold()`* can never end, because the holder stops the clock that it waits for. After
  `HELD_SECONDS_MAX` of real silence that is reported as `Stuck`.
- *Nothing ready, no timer, nobody holds*: nothing can ever happen again. That is reported as `Stuck` at once, with the
  tasks and the lines that they wait at.
- *A task that spins* with `sleep(0)` keeps time from moving, as it would keep a processor busy on a real loop.

Not for production: the runtime uses an ordinary loop there, where `LoopClock.hold` does nothing.
"""

import asyncio
import os
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from types import CoroutineType
from typing import TypeVar, TypeVarTuple

from proxy.domain.errors import Bug

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HELD_SECONDS_MAX = 30.0
"""Real seconds without any sign of life that a holder is waited for."""

RESOLUTION_SECONDS = 1e-7
"""Timers this near to now are due. asyncio's own 1e-9 vanishes beside a float of half a year, and it would spin."""


class Stuck(Bug):
    """Virtual time cannot go on: every task waits for something that cannot happen."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time. `epoch` is the unix instant of its second 0. Not to be shared between threads."""

    def __init__(self, epoch: float = 0.0) -> None:
        self.epoch = epoch
        self._elapsed_seconds = 0.0
        self._held = 0
        super().__init__(_JumpingSelector(self))
        self._clock_resolution = RESOLUTION_SECONDS

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._elapsed_seconds

    @property
    def held(self) -> int:
        """How many things outside the loop are being waited for."""
        return self._held

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep time from jumping. Only from the loop's own thread."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def jump(self, seconds: float) -> None:
        """Let time pass. For the selector, which knows when nothing else can happen."""
        self._elapsed_seconds += seconds

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As in asyncio; time stands still until the returned future is done."""
        future = super().run_in_executor(executor, func, *args)
        self._held += 1
        future.add_done_callback(self._release)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """As in asyncio, which waits here for a thread; `timeout` would be virtual and is not needed."""
        del timeout
        with self.hold():
            await super().shutdown_default_executor()

    def _release(self, _: asyncio.Future[T]) -> None:
        self._held -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Polls real I/O; where it would have waited, it moves the loop's time."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self._loop.held:
            return self._select_held()
        if ready := super().select(0):
            return ready
        os.sched_yield()
        if ready := super().select(0):
            return ready
        if timeout is None:
            raise Stuck(f"nothing can happen any more at {self._loop.time()}; waiting: {_waiting(self._loop)}")
        self._loop.jump(timeout)
        return []

    def _select_held(self) -> list[tuple[selectors.SelectorKey, int]]:
        if ready := super().select(HELD_SECONDS_MAX):
            return ready
        raise Stuck(
            f"time is held {self._loop.held} times at {self._loop.time()} and nothing came for {HELD_SECONDS_MAX} "
            f"real seconds; waiting: {_waiting(self._loop)}"
        )


def run(main: Coroutine[object, object, T], *, start_at: float) -> T:
    """Run a coroutine to its end on a virtual-time loop of its own, whose second 0 is the unix instant `start_at`.

    A `proxy.simulation.clock.LoopClock` inside begins there. As `asyncio.run`, it then cancels the tasks that are
    left over and shuts down asynchronous generators and the default executor. Raises what `main` raises, or `Stuck`.
    """
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, start_at)) as runner:
        return runner.run(main)


def _waiting(loop: asyncio.AbstractEventLoop) -> str:
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    return ", ".join(f"{task.get_name()} at {_place(task)}" for task in tasks) or "no task at all"


def _place(task: asyncio.Task[object]) -> str:
    """Function, file and line of the innermost coroutine that a task waits in."""
    innermost = task.get_coro()
    while isinstance(innermost, CoroutineType) and isinstance(innermost.cr_await, CoroutineType):
        innermost = innermost.cr_await
    if not isinstance(innermost, CoroutineType) or innermost.cr_frame is None:
        return repr(innermost)
    frame = innermost.cr_frame
    return f"{innermost.__qualname__} ({frame.f_code.co_filename}:{frame.f_lineno})"

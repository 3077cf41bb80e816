"""The one thread that writes: it takes everything that waits, makes it one transaction, and tells everybody at once.

Group commit makes `synchronous=FULL` nearly free: the disk is asked once per group, not once per caller. Within the
group every unit has its own savepoint, so that one that fails takes nobody with it.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault

GROUP_MAX = 2_000
"""Units in one transaction."""

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], object]


class _Unit:
    """One caller's work, and where its result goes."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Work, future: "asyncio.Future[object]") -> None:
        self.work = work
        self.future = future
        self.result: object = None
        self.error: Exception | None = None


class Worker:
    """A thread with a connection of its own. `grouped` makes transactions; without it every unit just runs."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, name: str, *, grouped: bool) -> None:
        self._connection = connection
        self._clock = clock
        self._grouped = grouped
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[_Unit | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run the work in the thread. A caller that is cancelled does not undo it. Raises `StoreFault`."""
        if self._closed:
            raise StoreFault("the store is closed")
        unit = _Unit(work, self._loop.create_future())
        with self._clock.hold():
            self._waiting.put(unit)
            result: Result = await unit.future  # type: ignore[assignment]  # the future carries what the work returned
        return result

    async def close(self) -> None:
        """Finish what waits, then end the thread and close the connection."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        with self._clock.hold():
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (unit := self._waiting.get()) is not None:
            group = [unit]
            while len(group) < GROUP_MAX and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    self._waiting.put(None)
                    break
                group.append(following)
            self._work(group)
            self._loop.call_soon_threadsafe(_tell, group)
        self._connection.close()

    def _work(self, group: list[_Unit]) -> None:
        if not self._grouped:
            for unit in group:
                self._try(unit)
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for unit in group:
                self._try_apart(unit)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_up(group, error)

    def _try(self, unit: _Unit) -> None:
        try:
            unit.result = unit.work(self._connection)
        except Exception as error:  # noqa: BLE001  whatever it is belongs to the caller, not to the thread
            unit.error = error

    def _try_apart(self, unit: _Unit) -> None:
        """Run a unit so that its failure undoes its own changes and no others."""
        self._connection.execute("SAVEPOINT unit")
        self._try(unit)
        if unit.error is not None:
            self._connection.execute("ROLLBACK TO unit")
        self._connection.execute("RELEASE unit")

    def _give_up(self, group: list[_Unit], error: sqlite3.Error) -> None:
        """The transaction itself failed (a full disk rolls back all of it): nothing of the group has happened.

        Alone, a unit is told; of several, each gets a transaction of its own, so that only the culprit fails.
        """
        if self._connection.in_transaction:
            self._connection.rollback()
        if len(group) == 1:
            group[0].error = group[0].error or error
            return
        for unit in group:
            unit.error = None
            self._work([unit])


def _tell(group: list[_Unit]) -> None:
    """In the loop's thread: hand every caller its result."""
    for unit in group:
        if unit.future.done():
            continue
        if unit.error is None:
            unit.future.set_result(unit.result)
        else:
            unit.future.set_exception(_as_fault(unit.error))


def _as_fault(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    fault = StoreFault(f"the store failed: {error}")
    fault.__cause__ = error
    return fault

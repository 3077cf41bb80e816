"""The same work without a thread and without waiting for the disk: for simulations, whose rows need not survive.

Virtual time stands still while a coroutine runs, so that nothing is gained by a thread, and its hand-overs cost more
than SQLite does. Reads and writes share one connection and one long transaction, which is committed now and then.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from proxy.domain.errors import StoreFault

UNITS_PER_TRANSACTION = 2_000

Result = TypeVar("Result")


class InlineWorker:
    """Runs every unit at once, with a savepoint of its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._units = 0
        self._closed = False

    async def do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run the work. Raises `StoreFault`."""
        if self._closed:
            raise StoreFault("the store is closed")
        try:
            return self._apart(work)
        except sqlite3.Error as error:
            raise StoreFault(f"the store failed: {error}") from error

    async def close(self) -> None:
        """Commit and close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._commit()
        self._connection.close()

    def _apart(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN")
        self._connection.execute("SAVEPOINT unit")
        try:
            result = work(self._connection)
        except BaseException:
            self._connection.execute("ROLLBACK TO unit")
            raise
        finally:
            self._connection.execute("RELEASE unit")
        self._units += 1
        if self._units % UNITS_PER_TRANSACTION == 0:
            self._commit()
        return result

    def _commit(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

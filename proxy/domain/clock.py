"""The only way to ask for the time. Everybody gets a `Clock` from the runtime; nobody reads one in place."""

from contextlib import AbstractContextManager
from typing import Protocol


class Clock(Protocol):
    """Wall time in unix seconds, elapsed time in seconds, and waiting.

    Instants end in `_at` and are unix seconds (UTC); durations end in `_seconds`.
    """

    def now(self) -> float:
        """Unix seconds. Used for everything that is stored or compared between processes."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never run backwards. Used to measure durations."""

    async def sleep_until(self, at: float) -> None:
        """Wait until `now() >= at`; return at once if that is already so."""

    def hold(self) -> AbstractContextManager[None]:
        """Keep virtual time from jumping while something outside the event loop (a thread) is at work.

        Does nothing in production.
        """

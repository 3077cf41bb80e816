"""One announcement, many listeners. The announcing code never learns who listens, or whether a listener failed."""

import logging
from collections.abc import Callable

from proxy.domain.events import AnyEvent

Listener = Callable[[AnyEvent], None]

_log = logging.getLogger(__name__)


class Announcer:
    """Hands every event to every listener, in the order in which they were connected.

    `announce` is the `proxy.domain.events.Announce` of the whole process. It never raises: a listener's failure is
    counted in `failures`, and the first one of each listener is logged with its traceback.
    """

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._failing: set[Listener] = set()
        self.failures = 0

    def connect(self, listener: Listener) -> None:
        """Add a listener, for every event from now on. It must not block."""
        self._listeners = (*self._listeners, listener)

    def announce(self, event: AnyEvent) -> None:
        """Tell every listener."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001  whatever it is, the announcing code must go on
                self._note_failure(listener, event)

    def _note_failure(self, listener: Listener, event: AnyEvent) -> None:
        self.failures += 1
        if listener in self._failing:
            return
        self._failing.add(listener)
        _log.exception(
            "listener %r failed on %s; its further failures are only counted", listener, type(event).__name__
        )

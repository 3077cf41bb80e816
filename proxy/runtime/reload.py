"""Keeping the policy in force up to date with its file: on a change, or when told to look (SIGHUP).

A file with a mistake changes nothing: the old policy stays, and the mistake is announced once.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from proxy.config.load import load_policy
from proxy.domain.clock import Clock
from proxy.domain.errors import ConfigFault
from proxy.domain.events import Announce, PolicyReloaded, ReloadRefused
from proxy.routing.policy import Policy

LOOK_SECONDS = 2.0
"""How often the file is looked at."""


FileState = tuple[int, int, int]
"""Modification time in nanoseconds, size and inode: changes when an editor saves, whichever way it does."""


class PolicyWatch:
    """The policy in force. Raises `ConfigFault` when the file cannot be used at the start."""

    def __init__(self, file: Path, clock: Clock, announce: Announce) -> None:
        self._file = file
        self._clock = clock
        self._announce = announce
        self._seen: FileState | None = file_state(file)
        self._told = asyncio.Event()
        self._listener: Callable[[Policy], None] = lambda _: None
        self.policy = load_policy(file)

    def on_change(self, listener: Callable[[Policy], None]) -> None:
        """Call this with every new policy."""
        self._listener = listener

    def look_now(self) -> None:
        """Load the file whether it seems changed or not."""
        self._seen = None
        self._told.set()

    async def run(self) -> None:
        """Watch, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._told.wait()
            except TimeoutError:
                pass
            self._told.clear()
            self.look()

    def look(self) -> None:
        """Replace the policy if its file has changed and is right."""
        seen = file_state(self._file)
        if seen is not None and seen == self._seen:
            return
        self._seen = seen
        now = self._clock.now()
        try:
            policy = load_policy(self._file)
        except ConfigFault as fault:
            self._announce(ReloadRefused(str(fault), now))
            return
        self.policy = policy
        self._listener(policy)
        self._announce(PolicyReloaded(str(self._file), len(policy.rules), now))


def file_state(file: Path) -> FileState | None:
    """What tells one version of a file from the next; None when it is not there."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino

"""Keeping the policy in force up to date with its files: on a change, or when told to look (SIGHUP).

The files are the policy's own and all that it extends. With a mistake in one of them, or a test that fails, nothing
changes: the old policy stays, and the mistake is announced once.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from proxy.config.load import load_policy
from proxy.config.trial import Conditions
from proxy.domain.clock import Clock
from proxy.domain.errors import ConfigFault
from proxy.domain.events import Announce, PolicyReloaded, ReloadRefused
from proxy.routing.changes import what_changed
from proxy.routing.policy import Policy

LOOK_SECONDS = 2.0
"""How often the files are looked at."""


FileState = tuple[int, int, int]
"""Modification time in nanoseconds, size and inode: changes when an editor saves, whichever way it does."""


class PolicyWatch:
    """The policy in force. Raises `ConfigFault` when the files cannot be used at the start.

    `conditions` are what the policy's tests are run under, None: those without a configuration.
    """

    def __init__(
        self,
        file: Path,
        clock: Clock,
        announce: Announce,
        conditions: Conditions | None = None,
    ) -> None:
        self._file = file
        self._clock = clock
        self._announce = announce
        self._conditions = conditions
        self._seen: dict[Path, FileState | None] = {}
        self._told = asyncio.Event()
        self._listener: Callable[[Policy], None] = lambda _: None
        self.policy = self._load()
        self.loaded_at = clock.now()
        self.edit_refused = False
        """Whether the files say what cannot be used, so that an older version is in force."""

    def on_change(self, listener: Callable[[Policy], None]) -> None:
        """Call this with every new policy."""
        self._listener = listener

    def look_now(self) -> None:
        """Load the files whether they seem changed or not."""
        self._seen = {}
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
        """Replace the policy if its files have changed and are right."""
        if self._seen and all(file_state(file) == seen for file, seen in self._seen.items()):
            return
        now = self._clock.now()
        try:
            policy = self._load()
        except ConfigFault as fault:
            self.edit_refused = True
            self._announce(ReloadRefused(str(fault), now))
            return
        change = what_changed(self.policy.file, policy.file)
        self.policy, self.loaded_at, self.edit_refused = policy, now, False
        self._listener(policy)
        self._announce(PolicyReloaded(str(self._file), len(policy.rules), change, now))

    def _load(self) -> Policy:
        """Load the policy, and remember every file of it as it is before it is read."""
        self._seen = {}
        return load_policy(self._file, self._conditions, self._note)

    def _note(self, file: Path) -> None:
        self._seen[file] = file_state(file)


def file_state(file: Path) -> FileState | None:
    """What tells one version of a file from the next; None when it is not there."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino

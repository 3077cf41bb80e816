"""One way to Redis: everything that waits goes out together, and what was lost on the way goes out again.

Callers that ask at the same moment share one round trip (and, with `appendfsync always`, one write to the disk). After
a lost connection or a timeout a whole group is sent again: every command that Standby sends may be repeated, because
requests carry their ids and changes a word of their own (`lua/apply.lua`).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.lifecycle import ATTEMPT_MOVES, BATCH_MOVES, REQUEST_MOVES

GROUP_MAX = 1_000
"""Commands in one round trip."""
RETRY_SECONDS = 0.05
RETRY_MAX_SECONDS = 1.0
CHANGES_KEPT = 200_000
"""About so many: whoever has missed more changes than these is told everything."""
SAID_SECONDS = 900
"""How long the answer to a change is kept for whoever repeats it."""
_LOST = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, OSError)
Reply = Any
"""What Redis answers: bytes, integers, None, or lists of those."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script as it is loaded."""

    text: str
    sha: str

    @classmethod
    def read(cls, name: str) -> "Script":
        """The script of that name, behind the state machines and what all scripts share."""
        folder = files("proxy.store") / "lua"
        shared = (folder / "common.lua").read_text(encoding="utf-8")
        own = (folder / f"{name}.lua").read_text(encoding="utf-8")
        text = f"local TABLES = cjson.decode([==[{_tables()}]==])\n{shared}\n{own}"
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _tables() -> str:
    """The state machines of `domain.lifecycle`, so that they are written once."""
    tables = {
        "request": {f"{state} {event}": after for (state, event), after in REQUEST_MOVES.items()},
        "attempt": {f"{state} {event}": after for (state, event), after in ATTEMPT_MOVES.items()},
        "batch": {f"{state} {event}": after for (state, event), after in BATCH_MOVES.items()},
        "changes_kept": CHANGES_KEPT,
        "said_seconds": SAID_SECONDS,
    }
    return msgspec.json.encode(tables).decode()


class _Unit:
    """One caller's command, and where its reply goes."""

    __slots__ = ("command", "future")

    def __init__(self, command: tuple[object, ...], future: "asyncio.Future[Reply]") -> None:
        self.command = command
        self.future = future


class Pipe:
    """Sends commands in groups over one connection at a time. `start` before use."""

    def __init__(self, client: Redis, clock: Clock, scripts: Sequence[Script], patience_seconds: float) -> None:
        self._client = client
        self._clock = clock
        self._scripts = scripts
        self._patience_seconds = patience_seconds
        self._waiting: deque[_Unit] = deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="redis pipe")

    async def close(self) -> None:
        """Send what waits, then stop. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        self._wanted.set()
        with self._clock.hold():
            await task

    async def do(self, *command: object) -> Reply:
        """The reply to one command. A caller that is cancelled does not undo it.

        Raises `StoreFault` when Redis refuses it, or cannot be reached for `patience_seconds`: then it is not known
        whether the command was carried out.
        """
        if self._task is None:
            raise StoreFault("the store is closed")
        unit = _Unit(command, asyncio.get_running_loop().create_future())
        self._waiting.append(unit)
        self._wanted.set()
        with self._clock.hold():
            return await unit.future

    async def _run(self) -> None:
        while self._task is not None or self._waiting:
            if not self._waiting:
                self._wanted.clear()
                await self._wanted.wait()
                continue
            group = [self._waiting.popleft() for _ in range(min(GROUP_MAX, len(self._waiting)))]
            try:
                await self._send(group)
            except Exception as error:  # noqa: BLE001  whatever it is belongs to the callers, not to the task
                for unit in group:
                    _tell(unit, error)

    async def _send(self, group: list[_Unit]) -> None:
        """Until there are replies, or patience ends."""
        give_up_at = self._clock.monotonic() + self._patience_seconds
        pause_seconds = RETRY_SECONDS
        while True:
            try:
                replies = await self._exchange(group)
            except _LOST as error:
                if self._clock.monotonic() + pause_seconds > give_up_at:
                    raise StoreFault(f"the store cannot be reached: {error}") from error
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, RETRY_MAX_SECONDS)
                continue
            break
        for unit, reply in zip(group, replies, strict=True):
            _tell(unit, reply)

    async def _exchange(self, group: list[_Unit]) -> list[Reply]:
        """One round trip; a second one for scripts that Redis does not know (any more)."""
        replies = await self._round_trip([unit.command for unit in group])
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            await self._round_trip([("SCRIPT", "LOAD", script.text) for script in self._scripts])
            again = await self._round_trip([group[number].command for number in unknown])
            for number, reply in zip(unknown, again, strict=True):
                replies[number] = reply
        lost = next((reply for reply in replies if isinstance(reply, _LOST)), None)
        if lost is not None:
            raise lost
        return replies

    async def _round_trip(self, commands: Sequence[tuple[object, ...]]) -> list[Reply]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Reply] = await pipeline.execute(raise_on_error=False)
        return replies


def _tell(unit: _Unit, reply: Reply) -> None:
    if unit.future.done():
        return
    if isinstance(reply, RedisError):
        fault = StoreFault(f"the store failed: {reply}")
        fault.__cause__ = reply
        unit.future.set_exception(fault)
    elif isinstance(reply, Exception):
        unit.future.set_exception(reply)
    else:
        unit.future.set_result(reply)

"""Dying on purpose: a process that kills itself at a named step, so that tests can see what the next one makes of it.

`STANDBY_FAILPOINT=NAME` or `NAME:COUNT` kills the process with SIGKILL when the step is reached for the first or the
COUNT-th time; `NAME:COUNT:pause` stops it with SIGSTOP until somebody sends SIGCONT. Every effect has a name for the
instant before it and one for the instant after it:

    upstream.create.before          upstream.create.after            a call of `upstream.interface`
    store.BatchCreated.before       store.BatchCreated.after         a move (`domain.moves`), with others or alone
    store.accept.before             store.accept.after               another change of the store
    shelf.put.before                shelf.put.after                  a change of its shelf
"""

import functools
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from proxy.domain.errors import ConfigFault
from proxy.domain.moves import Move, MoveResult

VARIABLE = "STANDBY_FAILPOINT"
_UPSTREAM_EFFECTS = ("upload", "create", "retrieve", "cancel", "delete_file", "call")
_STORE_EFFECTS = ("accept", "delivered", "book")
_SHELF_EFFECTS = ("put", "put_part", "remove")


class Failpoint:
    """Counts how often the step is reached, and kills the process when it is due."""

    def __init__(self, name: str, count: int, kill: Callable[[], None]) -> None:
        self._name = name
        self._left = count
        self._kill = kill

    def reached(self, name: str) -> None:
        if name != self._name:
            return
        self._left -= 1
        if self._left == 0:
            self._kill()


def failpoint_of(environ: Mapping[str, str]) -> Failpoint | None:
    """The failpoint that the environment asks for. Raises `ConfigFault` for what is none."""
    said = environ.get(VARIABLE)
    if not said:
        return None
    name, _, rest = said.partition(":")
    count, _, action = rest.partition(":")
    is_point = name.endswith((".before", ".after")) and (count or "1").isdecimal() and int(count or "1") >= 1
    if not is_point or action not in {"", "pause"}:
        raise ConfigFault(
            f"{VARIABLE}: {said!r} is no failpoint; write one as store.BatchCreated.before, with :2, or with :1:pause"
        )
    return Failpoint(name, int(count or "1"), _pause if action else _die)


def arm(failpoint: Failpoint | None, store: object, upstreams: Iterable[object]) -> None:
    """Put the failpoint, if there is one, around every effect of these very objects."""
    if failpoint is None:
        return
    for upstream in upstreams:
        _wrap(upstream, "upstream", _UPSTREAM_EFFECTS, failpoint)
    _wrap(store, "store", _STORE_EFFECTS, failpoint)
    _wrap(getattr(store, "shelf", None), "shelf", _SHELF_EFFECTS, failpoint)
    setattr(store, "apply", _watched_apply(getattr(store, "apply"), failpoint))  # noqa: B009, B010  one of any class


def _wrap(target: object, prefix: str, names: Sequence[str], failpoint: Failpoint) -> None:
    for name in names:
        effect = getattr(target, name, None)
        if effect is not None:
            setattr(target, name, _watched(effect, f"{prefix}.{name}", failpoint))


def _watched(effect: Callable[..., Awaitable[Any]], name: str, failpoint: Failpoint) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(effect)
    async def watched(*arguments: object, **named: object) -> object:
        failpoint.reached(f"{name}.before")
        result: object = await effect(*arguments, **named)
        failpoint.reached(f"{name}.after")
        return result

    return watched


def _watched_apply(
    apply: Callable[[Sequence[Move]], Awaitable[list[MoveResult]]], failpoint: Failpoint
) -> Callable[[Sequence[Move]], Awaitable[list[MoveResult]]]:
    async def watched(moves: Sequence[Move]) -> list[MoveResult]:
        kinds = sorted({type(move).__name__ for move in moves})
        for kind in kinds:
            failpoint.reached(f"store.{kind}.before")
        results = await apply(moves)
        for kind in kinds:
            failpoint.reached(f"store.{kind}.after")
        return results

    return watched


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _pause() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)

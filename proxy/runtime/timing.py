"""How long the store takes, by what is asked of it: a seam around it, so that neither the store nor who asks counts."""

import functools
from collections.abc import Awaitable, Callable
from inspect import getmembers, iscoroutinefunction
from typing import Any

from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.store.interface import Store

LASTING = frozenset({"start", "close", "watch"})
"""What is no single operation."""
OPERATIONS = tuple(name for name, _ in getmembers(Store, iscoroutinefunction) if name not in LASTING)
"""Everything that is asked of a store, by the names of its methods."""

Took = Callable[[str, float], None]
Failed = Callable[[str], None]


def time_store(store: Store, clock: Clock, took: Took, failed: Failed) -> None:
    """Tell `took` the operation and its seconds after each call of this very store that goes well, and `failed` the
    operation after each `StoreFault`.
    """
    for operation in OPERATIONS:
        setattr(store, operation, _timed(getattr(store, operation), operation, clock, took, failed))


def _timed(
    call: Callable[..., Awaitable[Any]], operation: str, clock: Clock, took: Took, failed: Failed
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(call)
    async def timed(*arguments: object, **named: object) -> object:
        began = clock.monotonic()
        try:
            result: object = await call(*arguments, **named)
        except StoreFault:
            failed(operation)
            raise
        took(operation, clock.monotonic() - began)
        return result

    return timed

"""Telling clients' webhooks that their requests have an answer: again and again until they have heard it.

The store says what is due, so that a kill loses nothing: before each call the next one is put off to its time, and a
call that was heard takes it back. A receiver may so be told twice, with the same `webhook-id`.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from proxy.delivery.post import Post
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.events import Announce, StepFailed, WebhookCalled
from proxy.domain.ids import RequestId, TenantId
from proxy.domain.request import RequestView
from proxy.store.interface import Store
from proxy.wire import webhooks as wire

CALLS_MAX = 64
"""Webhooks that are called at once."""
GONE = 410
"""The scheme's word for a receiver that wants to hear nothing any more."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Whom webhooks may call, and how.

    - `hosts`: globs of the hosts that requests may name; without any, there are no webhooks.
    - `allow_private`: hosts on this machine or this network too, and plain http.
    - `secret_env`: the variable with the secret that signs for tenants without one of their own.
    - `look_seconds`: how often the store is asked what is due.
    - `timeout_seconds`: how long one call may take.
    - `retry_seconds`, `retry_max_seconds`: the wait after the first failure, doubling up to the second.
    - `response_max_bytes`: a larger response is left out; the receiver fetches it.
    """

    hosts: tuple[str, ...] = ()
    allow_private: bool = False
    secret_env: str = "STANDBY_WEBHOOK_SECRET"  # noqa: S105  a variable's name
    look_seconds: float = 1.0
    timeout_seconds: float = 15.0
    retry_seconds: float = 5.0
    retry_max_seconds: float = 3600.0
    response_max_bytes: int = 256 * 2**10

    def __post_init__(self) -> None:
        for name in ("look_seconds", "timeout_seconds", "retry_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be more than 0 seconds, such as 5s")
        if not self.retry_seconds <= self.retry_max_seconds < math.inf:
            raise ValueError("retry_max_seconds: must be at least retry, such as 1h")
        if not self.secret_env.isidentifier():
            raise ValueError("secret_env: must be the name of a variable, and not the secret itself")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signs: one secret for each tenant that has its own, and one for all others, None where there is none."""

    common: str | None
    own: Mapping[TenantId, str]

    def of(self, tenant: TenantId) -> str | None:
        return self.own.get(tenant, self.common)


class Webhooks:
    """Calls what is due; `run` does so until it is cancelled. `is_my_turn`: of many processes, one calls."""

    def __init__(
        self,
        store: Store,
        post: Post,
        clock: Clock,
        announce: Announce,
        settings: Settings,
        secrets: Secrets,
        is_my_turn: Callable[[], bool],
    ) -> None:
        self._store = store
        self._post = post
        self._clock = clock
        self._announce = announce
        self._settings = settings
        self._secrets = secrets
        self._is_my_turn = is_my_turn
        self._calling: set[RequestId] = set()

    def require_allowed(self, url: str) -> None:
        """Raise `ClientFault` 400 for a URL that requests may not name."""
        wire.require_allowed(url, hosts=self._settings.hosts, allow_private=self._settings.allow_private)

    async def run(self) -> None:
        """Call what is due, until cancelled. Returns at once where there are no webhooks."""
        if not self._settings.hosts:
            return
        async with asyncio.TaskGroup() as group:
            while True:
                await self._call_due(group)
                await self._clock.sleep_until(self._clock.now() + self._settings.look_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._post.close()

    async def _call_due(self, group: asyncio.TaskGroup) -> None:
        if not self._is_my_turn():
            return
        now = self._clock.now()
        try:
            due = await self._store.webhooks_due(now, CALLS_MAX)
        except StoreFault as fault:
            self._put_off(fault, now)
            return
        for request_id in due:
            if request_id not in self._calling and len(self._calling) < CALLS_MAX:
                self._calling.add(request_id)
                group.create_task(self._call(request_id), name=f"webhook {request_id}")

    async def _call(self, request_id: RequestId) -> None:
        try:
            view = await self._store.get(request_id)
            if view is not None and view.webhook is not None and view.finished_at is not None:
                await self._tell(view, view.webhook, view.finished_at)
        except StoreFault as fault:
            self._put_off(fault, self._clock.now())
        finally:
            self._calling.discard(request_id)

    async def _tell(self, view: RequestView, url: str, finished_at: float) -> None:
        now = self._clock.now()
        again_at = now + self._wait_seconds(now - finished_at)
        await self._store.webhook_again(view.id, again_at)
        status, error = await self._send(view, url, now)
        is_over = not error or status == GONE
        if is_over:
            await self._store.webhook_again(view.id, None)
        retry_at = None if is_over else again_at
        told_at = self._clock.now()
        self._announce(WebhookCalled(view.id, view.tenant, wire.host_of(url), status, error, retry_at, told_at))

    async def _send(self, view: RequestView, url: str, now: float) -> tuple[int | None, str]:
        """The receiver's status and what was wrong, the empty word if nothing was."""
        secret = self._secrets.of(view.tenant)
        if secret is None:
            return None, "no secret is configured to sign with"
        answer = await self._store.result(view.id)
        content = wire.payload(view, answer, now, response_bytes_max=self._settings.response_max_bytes)
        try:
            status = await self._post.send(url, content, wire.headers(view.id, content, now, secret))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return None, str(error) or type(error).__name__
        return status, "" if 200 <= status < 300 else f"it answered {status}"  # noqa: PLR2004  HTTP's borders

    def _wait_seconds(self, late_seconds: float) -> float:
        """As long as the receiver is late already: so the waits double, and nothing has to be counted."""
        return min(max(self._settings.retry_seconds, late_seconds), self._settings.retry_max_seconds)

    def _put_off(self, fault: StoreFault, now: float) -> None:
        self._announce(StepFailed("webhooks", None, None, str(fault), now + self._settings.look_seconds, now))

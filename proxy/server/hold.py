"""Keeping a client's connection open until its answer is there, however long that takes.

How a connection is kept alive depends on who holds it (`wire.patience`). While the status line is unspent, the answer
goes out exactly as upstream gave it, whatever its status; once it had to be spent, an error can only be told in the
body.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from multidict import CIMultiDict

from proxy.domain.answer import Answer
from proxy.domain.decision import Reason
from proxy.domain.errors import StoreFault
from proxy.domain.ids import RequestId
from proxy.domain.request import RequestState, RequestView
from proxy.domain.tier import Tier
from proxy.server.house import House
from proxy.server.replies import UNAVAILABLE, fail, reply
from proxy.wire.chunks import stream_of
from proxy.wire.errors import error_body
from proxy.wire.headers import outcome_headers
from proxy.wire.patience import KeepAlive, Patience
from proxy.wire.pieces import NotAnAnswer
from proxy.wire.sse import comment, error_event

CONFLICT = 409
NOT_FOUND = 404
INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
EVENT_STREAM = "text/event-stream; charset=utf-8"
AWAY_SECONDS = 1.0
"""Between two questions to a store that is away."""
STALL_SECONDS = 5.0
"""A question that a store has not answered by then is asked again: its client must be kept waiting meanwhile."""
OVERDUE_SECONDS = 60.0
"""Behind its deadline a request is looked at so often: a store that is away cannot say that there is an answer."""
SAFE = "The request is safe: send it again and it attaches to the same work."
RESTARTING = ("restarting", f"This proxy is restarting. {SAFE}")
STORE_AWAY = (
    "store_unavailable",
    f"The deadline is over, and the store does not say whether there is an answer. {SAFE}",
)
T = TypeVar("T")
WHITESPACE = b" "
"""Legal before any JSON value, and skipped by every parser."""


@dataclass(frozen=True, slots=True)
class Held:
    """A client that waits for a deferred request. `until` ends the hold early (`Prefer: wait=`), None never does.

    `tier` is where the request has started. A store that is away is waited for until `deadline_at`.
    """

    request: web.BaseRequest
    request_id: RequestId
    tier: Tier
    reason: Reason
    deadline_at: float
    best_effort: bool
    endpoint: str
    stream: bool
    include_usage: bool
    patience: Patience
    until: float | None = None


async def hold(house: House, held: Held) -> web.StreamResponse | None:
    """Wait for the answer and hand it over. None when `until` came first (then nothing was sent)."""
    line = _Line(house, held)
    try:
        view = await _wait(house, held, line)
        if view is not None and view.state is RequestState.OPEN and not house.draining:
            return None
        return await _hand_over(house, held, line, view)
    except StoreFault:
        return await _come_back(house, held, line, RESTARTING if house.draining else STORE_AWAY)
    except (asyncio.CancelledError, ConnectionError):
        house.leavers.note(held.request_id)
        raise


async def _wait(house: House, held: Held, line: "_Line") -> RequestView | None:
    """The request when it is final, when `until` is over, or when the process is about to stop.

    Raises `StoreFault` when the deadline is over and the store is not there.
    """
    clock = house.clock
    with house.holds.subscribe(held.request_id) as woken:
        view = await _ask(house, line, lambda: house.store.get(held.request_id))
        look_at = held.deadline_at
        while view is not None and view.state is RequestState.OPEN and not house.draining:
            now = clock.now()
            if held.until is not None and now >= held.until:
                return view
            beat_at = line.next_beat_at(now)
            wake_at = min(beat_at, look_at, beat_at if held.until is None else held.until)
            try:
                async with asyncio.timeout(max(0.0, wake_at - now)):
                    await woken.wait()
            except TimeoutError:
                if clock.now() >= beat_at:
                    await line.beat()
                if clock.now() < look_at:
                    continue
                look_at = clock.now() + OVERDUE_SECONDS
            woken.clear()
            view = await _ask(house, line, lambda: house.store.get(held.request_id))
    return view


async def _ask(house: House, line: "_Line", question: Callable[[], Awaitable[T]]) -> T:
    """Ask the store. While it is away or does not answer the client is kept waiting, as it would be for its answer.

    Raises `StoreFault` when the deadline is over, or the process is about to stop.
    """
    while True:
        asked_at = house.clock.now()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                return await question()
        except (StoreFault, TimeoutError) as fault:
            now = house.clock.now()
            if house.draining or now >= line.deadline_at:
                raise StoreFault("the store does not say whether there is an answer") from fault
        if now >= line.next_beat_at(now):
            await line.beat()
        await house.clock.sleep_until(asked_at + AWAY_SECONDS)


class _Line:
    """The connection of one held client: what was sent on it, and how it is kept alive."""

    def __init__(self, house: House, held: Held) -> None:
        self._clock = house.clock
        self._held = held
        self._opened_at = house.clock.now()
        self._beaten_at = self._opened_at
        self.deadline_at = held.deadline_at
        self.committed: web.StreamResponse | None = None

    def next_beat_at(self, now: float) -> float:
        """When something must be sent; a day from now for a client that nothing can be sent to."""
        patience = self._held.patience
        if patience.keepalive is KeepAlive.NONE:
            return now + 86_400.0
        if self.committed is None and patience.commit_after_seconds is not None:
            return self._opened_at + patience.commit_after_seconds
        return self._beaten_at + patience.heartbeat_seconds

    async def beat(self) -> None:
        """Send a sign of life. Raises `ConnectionError` when the client is gone."""
        self._beaten_at = self._clock.now()
        match self._held.patience.keepalive:
            case KeepAlive.INTERIM:
                self._send_interim()
            case KeepAlive.WHITESPACE:
                await (await self._commit("application/json")).write(WHITESPACE)
            case KeepAlive.SSE:
                await (await self._commit(EVENT_STREAM)).write(comment())
            case KeepAlive.NONE:
                return

    def _send_interim(self) -> None:
        transport = self._held.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        transport.write(INTERIM)

    async def _commit(self, content_type: str) -> web.StreamResponse:
        if self.committed is None:
            held = self._held
            headers = outcome_headers(
                request_id=held.request_id, tier=held.tier, reason=held.reason, best_effort=held.best_effort
            )
            self.committed = await self.begin(200, (("Content-Type", content_type), *headers))
        return self.committed

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> web.StreamResponse:
        """Spend the status line."""
        response = web.StreamResponse(status=status, headers=CIMultiDict(headers))
        await response.prepare(self._held.request)
        return response


async def _hand_over(house: House, held: Held, line: _Line, view: RequestView | None) -> web.StreamResponse:
    answer = None if view is None else await _ask(house, line, lambda: house.store.result(held.request_id))
    if answer is None or view is None:
        return await _no_answer(house, held, line, view)
    headers = (*answer.headers, *_outcome(held, view))
    if line.committed is not None:
        response = await _finish_committed(line.committed, held, answer)
    elif held.stream and answer.succeeded:
        response = await _send_stream(line, held, answer, headers)
    else:
        response = reply(answer.status, answer.body, headers)
        await response.prepare(held.request)
        await response.write_eof()
    house.bookings.note_delivered(held.request_id)
    return response


async def _finish_committed(response: web.StreamResponse, held: Held, answer: Answer) -> web.StreamResponse:
    if not held.stream:
        await response.write(answer.body)
    elif answer.succeeded:
        await _write_chunks(response, held, answer)
    else:
        await response.write(error_event(answer.body, held.endpoint))
    await response.write_eof()
    return response


async def _send_stream(
    line: _Line, held: Held, answer: Answer, headers: tuple[tuple[str, str], ...]
) -> web.StreamResponse:
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-type", "content-length"}]
    response = await line.begin(answer.status, (("Content-Type", EVENT_STREAM), *kept))
    await _write_chunks(response, held, answer)
    await response.write_eof()
    return response


async def _write_chunks(response: web.StreamResponse, held: Held, answer: Answer) -> None:
    try:
        for chunk in stream_of(held.endpoint, answer.body, include_usage=held.include_usage):
            await response.write(chunk)
    except NotAnAnswer:
        await response.write(error_event(answer.body, held.endpoint))


async def _no_answer(house: House, held: Held, line: _Line, view: RequestView | None) -> web.StreamResponse:
    """There is none: the request was cancelled, or the process stops and the client is told to come back."""
    if view is not None and view.state is RequestState.OPEN:
        return await _come_back(house, held, line, RESTARTING)
    status, message = (NOT_FOUND, "The request is no longer known.")
    if view is not None:
        status, message = (CONFLICT, "The request was cancelled before it was answered.")
    if line.committed is not None:
        return await _finish_committed(line.committed, held, _error(status, message))
    return fail(status, message, "request_cancelled", (*_identity(held), ("x-should-retry", "false")))


async def _come_back(house: House, held: Held, line: _Line, reason: tuple[str, str]) -> web.StreamResponse:
    code, message = reason
    if line.committed is not None:
        if held.request.transport is not None:
            held.request.transport.close()
        return line.committed
    headers = (
        *_identity(held),
        ("Retry-After", f"{house.settings.come_back_seconds:.0f}"),
        ("x-should-retry", "true"),
        ("Connection", "close"),
    )
    return fail(UNAVAILABLE, message, code, headers)


def _error(status: int, message: str) -> Answer:
    body = error_body(status=status, message=message, code="request_cancelled")
    return Answer(status, (), body, Tier.STANDARD)


def _identity(held: Held) -> list[tuple[str, str]]:
    return outcome_headers(request_id=held.request_id, tier=held.tier, reason=held.reason, best_effort=held.best_effort)


def _outcome(held: Held, view: RequestView) -> list[tuple[str, str]]:
    return outcome_headers(
        request_id=view.id,
        tier=view.tier or held.tier,
        reason=held.reason,
        batch_id=view.batch_id,
        cost_usd=view.paid_usd,
        saved_usd=view.saved_usd,
        deadline_at=view.deadline_at,
        best_effort=held.best_effort,
    )

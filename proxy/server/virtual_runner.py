"""Running virtual batches: reads new ones through, gives each a session, and sweeps what is past its retention.

Of many processes one does so, by the lease on housekeeping. All that matters is in the store: one that dies is
followed by the next, which begins new sessions.
"""

import asyncio
import math
from collections.abc import Callable

import msgspec

from proxy.domain.errors import StoreFault
from proxy.domain.events import AnyEvent, RequestFinished, StepFailed
from proxy.domain.ids import RequestId
from proxy.server.house import House
from proxy.server.virtual_batches import announce_moved, with_record
from proxy.server.virtual_check import check
from proxy.server.virtual_files import BATCH, FILE, batch_of
from proxy.server.virtual_session import Session, begin
from proxy.store.shelf import Document
from proxy.wire.virtual import BatchRecord, Status

LOOK_AT_ALL_SECONDS = 60.0
"""How often every open line is looked at: a word that it has ended may have been missed."""
SWEEP_SECONDS = 300.0
SWEEP_DOCUMENTS = 1_000
UPLOAD_SECONDS_MAX = 86_400.0
"""What is still being uploaded after so long was broken off."""


class Runner:
    """`run` until it is cancelled. `is_my_turn`: of many processes, one runs."""

    def __init__(self, house: House, is_my_turn: Callable[[], bool]) -> None:
        self._house = house
        self._is_my_turn = is_my_turn
        self._sessions: dict[str, Session] = {}
        self._looked_at_all_at = -math.inf
        self._swept_at = -math.inf

    def listen(self, event: AnyEvent) -> None:
        """A request has its final state: it may be a line's."""
        if isinstance(event, RequestFinished):
            self.ended(event.request_id)

    def ended(self, request_id: RequestId | None) -> None:
        """As `listen`, told by another process. None: words may have been missed, about any request."""
        for session in self._sessions.values():
            session.ended(request_id)

    async def run(self) -> None:
        """Do what is to be done, until cancelled. Returns at once where there are no virtual batches."""
        clock, settings = self._house.clock, self._house.virtual
        while settings.enabled:
            now = clock.now()
            if self._is_my_turn():
                await self._look(now)
            else:
                self._sessions.clear()
            await clock.sleep_until(now + settings.look_seconds)

    async def _look(self, now: float) -> None:
        if now >= self._looked_at_all_at + LOOK_AT_ALL_SECONDS:
            self._looked_at_all_at = now
            self.ended(None)
        try:
            pending = await self._house.store.shelf.pending(BATCH)
            ids = {document.id for document in pending}
            self._sessions = {batch_id: session for batch_id, session in self._sessions.items() if batch_id in ids}
            async with asyncio.TaskGroup() as group:
                for document in pending:
                    group.create_task(self._step(document, now), name=f"virtual {document.id}")
            if now >= self._swept_at + SWEEP_SECONDS:
                self._swept_at = now
                await self._sweep(pending, now)
        except StoreFault as fault:
            self._failed(fault, now)

    async def _step(self, document: Document, now: float) -> None:
        """Do what one batch needs; a session that fails is begun anew at the next look."""
        session = self._sessions.get(document.id)
        try:
            if session is None or session.version != document.version:
                session = await self._begin(document, now)
            if session is not None:
                self._sessions[document.id] = session
                if await session.step(now):
                    return
        except StoreFault as fault:
            self._failed(fault, now)
        self._sessions.pop(document.id, None)

    async def _begin(self, document: Document, now: float) -> Session | None:
        record = batch_of(document)
        if record.status is Status.VALIDATING:
            await self._validate(document, record)
            return None
        if record.status is Status.CANCELLING and Status.IN_PROGRESS not in record.reached:
            await self._move(document, record.at(Status.CANCELLED, now))
            return None
        return await begin(self._house, document, record)

    async def _validate(self, document: Document, record: BatchRecord) -> None:
        found = await check(self._house, record)
        checked = msgspec.structs.replace(
            record, lines=found.lines, total=found.total, model=found.model, errors=found.errors
        )
        status = Status.FAILED if found.errors else Status.IN_PROGRESS
        await self._move(document, checked.at(status, self._house.clock.now()))

    async def _move(self, document: Document, record: BatchRecord) -> None:
        changed = with_record(document, record)
        if await self._house.store.shelf.put(changed):
            announce_moved(self._house, changed)

    async def _sweep(self, pending: list[Document], now: float) -> None:
        """Delete what is past its retention, and uploads that were broken off. What a batch reads stays."""
        shelf, created_before = self._house.store.shelf, now - self._house.virtual.retention_seconds
        in_use = {batch_of(batch).input_file_id for batch in pending}
        for upload in await shelf.pending(FILE):
            if upload.created_at < now - UPLOAD_SECONDS_MAX:
                await shelf.remove(FILE, upload.id)
        for batch in await shelf.stale(BATCH, created_before=created_before, limit=SWEEP_DOCUMENTS):
            record = batch_of(batch)
            if max(record.reached.values()) < created_before:
                for file_id in (record.output_file_id, record.error_file_id):
                    await shelf.remove(FILE, file_id)
                await shelf.remove(BATCH, batch.id)
        for file in await shelf.stale(FILE, created_before=created_before, limit=SWEEP_DOCUMENTS):
            if file.id not in in_use:
                await shelf.remove(FILE, file.id)

    def _failed(self, fault: StoreFault, now: float) -> None:
        retry_at = now + self._house.virtual.look_seconds
        self._house.announce(StepFailed("virtual_batches", None, None, str(fault), retry_at, now))

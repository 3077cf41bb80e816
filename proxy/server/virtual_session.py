"""One virtual batch as one process runs it: lines become deferred requests, and their answers lines of two files.

The request of a line has an id that follows from batch and line: whoever opens the line again, after a kill or from
another replica, finds the work that is there. A result counts when the batch's record says so, which is written behind
the part that the result is in; whatever was not said is done again from the durable answers, and bought by nobody.
Two sessions of one batch (one was paused, and its lease has ended) write to volumes of their own, and only one of them
can change the record.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import msgspec

from proxy.domain.decision import Decision, Delivery, Reason, Urgency, UrgencySource
from proxy.domain.errors import ClientFault
from proxy.domain.events import RequestDecided
from proxy.domain.ids import CredentialId, RequestId, line_request
from proxy.domain.request import Queue, Request, RequestState, RequestView, Stage
from proxy.domain.tier import ONLY_STANDARD
from proxy.server.deciding import Asked, announce_accepted, decide
from proxy.server.house import House
from proxy.server.leavers import cancel
from proxy.server.virtual_batches import announce_moved, with_record
from proxy.server.virtual_files import FILE, Volume, file_of, lines_of
from proxy.store.shelf import Document
from proxy.wire import virtual
from proxy.wire.body import estimate_tokens, read_hints
from proxy.wire.errors import render
from proxy.wire.lines import STRIPPED, line_body, validate
from proxy.wire.usage import read_usage
from proxy.wire.virtual import BatchRecord, FileRecord, InputLine, LineError, Marks, Status, read_line

CHUNK, CHUNK_BYTES = 100, 4 * 2**20
"""Lines that are opened at once: the store writes them together."""
OK = range(200, 300)
RESULTS = "batch_output"
"""The purpose of result files."""
GONE = LineError("file_not_found", "The input file is not there any more.", param="input_file_id")
EXPIRED = ("batch_expired", "This request could not be executed before the completion window expired.")
CANCELLED = ("batch_cancelled", "This request was not executed because the batch was cancelled.")
CANCELLED_ALONE = ("request_cancelled", "This request was cancelled by itself.")
LOST = ("result_lost", "The answer was not collected within the time that finished requests are kept.")
"""Why a line has no answer."""


@dataclass(frozen=True, slots=True)
class _Open:
    """A line whose request has been opened."""

    number: int
    custom_id: str


@dataclass(slots=True)
class _Tally:
    """What has come of the lines that are done."""

    completed: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, record: BatchRecord) -> "_Tally":
        return cls(record.completed, record.failed, record.input_tokens, record.cached_tokens, record.output_tokens)


class Session:
    """`step` again and again, until the batch has ended or somebody else has it."""

    def __init__(self, house: House, document: Document, record: BatchRecord) -> None:
        self._house = house
        self._document = document
        self._record = record
        self._done = Marks(record.done, record.lines)
        self._tally = _Tally.of(record)
        shelf, number = house.store.shelf, len(record.output_volumes) - 1
        self._output = Volume(shelf, record.output_file_id, number)
        self._errors = Volume(shelf, record.error_file_id, number)
        self._output_before, self._errors_before = record.output_size, record.error_size
        self._open: dict[RequestId, _Open] = {}
        self._ended: set[RequestId] = set()
        self._input: AsyncIterator[tuple[int, bytes | None]] | None = None
        self._is_read = False

    @property
    def version(self) -> int:
        """The batch's version that this session knows."""
        return self._document.version

    def ended(self, request_id: RequestId | None) -> None:
        """A request may have its final state; None: any of them may."""
        if request_id is None:
            self._ended.update(self._open)
        elif request_id in self._open:
            self._ended.add(request_id)

    async def step(self, now: float) -> bool:
        """Open lines, collect answers, and write down what has come of it. False when the session is over: the batch
        has ended, or somebody else has changed it. Raises `StoreFault`; then the session is over, too.
        """
        if self._record.status is Status.IN_PROGRESS and now >= self._record.expires_at:
            expired = msgspec.structs.replace(self._record, expired=True).at(Status.FINALIZING, now)
            if not await self._save(expired):
                return False
        await self._open_lines()
        if self._is_stopping:
            await self._withdraw(now)
        await self._collect()
        return await self._write_down(now)

    @property
    def _is_stopping(self) -> bool:
        return self._record.status is not Status.IN_PROGRESS

    async def _open_lines(self) -> None:
        while not self._is_read and (room := self._house.virtual.open_max - len(self._open)) > 0:
            lines = await self._read(min(CHUNK, room))
            await asyncio.gather(*(self._open_line(line) for line in lines))
            self._house.poke_engine()

    async def _read(self, count: int) -> list[InputLine]:
        """Some of the next lines that are not done."""
        lines: list[InputLine] = []
        size = 0
        try:
            if self._input is None:
                self._input = await self._content()
            while len(lines) < count and size < CHUNK_BYTES:
                number, content = await anext(self._input)
                if number not in self._done and content is not None:
                    line = read_line(content, number, self._record.endpoint)
                    lines += [line] if isinstance(line, InputLine) else []
                    size += len(content)
        except StopAsyncIteration:
            self._is_read = True
        except ClientFault:
            self._is_read = True
            self._record = msgspec.structs.replace(self._record, errors=(GONE,))
        return lines

    async def _content(self) -> AsyncIterator[tuple[int, bytes | None]]:
        shelf, file_id = self._house.store.shelf, self._record.input_file_id
        document = await shelf.get(FILE, file_id)
        if document is None:
            raise ClientFault(GONE.message)
        return lines_of(shelf, file_id, file_of(document), self._house.virtual.line_max_bytes)

    async def _open_line(self, line: InputLine) -> None:
        """Find the line's request, or make it; what cannot be one has its result at once."""
        request_id, opened = line_request(self._document.id, line.number), _Open(line.number, line.custom_id)
        view = await self._house.store.get(request_id)
        if view is None and self._is_stopping:
            await self._leave_unanswered(request_id, opened, EXPIRED if self._record.expired else CANCELLED)
            return
        if view is not None:
            self._open[request_id] = opened
            if view.state is not RequestState.OPEN:
                self._ended.add(request_id)
            return
        try:
            new, decision = self._request(request_id, line)
        except ClientFault as fault:
            status, body = render(fault)
            await self._answer(request_id, opened, status, body)
            return
        self._open[request_id] = opened
        await self._house.store.accept(new)
        self._announce_accepted(new, decision)

    def _request(self, request_id: RequestId, line: InputLine) -> tuple[Request, Decision]:
        """The line as a deferred request. Raises `ClientFault` for what cannot be one."""
        house, record, tenant, now = self._house, self._record, self._document.tenant, self._house.clock.now()
        account = house.accounts.of(line.model)
        own = None if record.credential is None else CredentialId(record.credential)
        credential = account.credential_for(own)
        validate(record.endpoint, line.body)
        body = line_body(line.body, refused=account.upstream.capabilities.refuses | STRIPPED)
        decision = decide(
            house,
            Asked(
                tenant=tenant,
                key=record.key,
                key_deadline_seconds=None,
                account=account,
                endpoint=record.endpoint,
                model=line.model,
                body=body,
                hints=read_hints(body),
                headers={},
                urgency=Urgency(UrgencySource.HEADER, deadline_at=record.expires_at),
                at=now,
                waits=True,
            ),
        )
        if not decision.is_deferred:
            decision = replace(decision, reason=Reason.WAITS_FOR_IDLE, tiers=ONLY_STANDARD)
        request = Request(
            id=request_id,
            tenant=tenant,
            queue=Queue(account.upstream.name, credential, record.endpoint, line.model),
            body=body,
            fingerprint=request_id.encode(),
            idempotency_key=None,
            stream=False,
            include_usage=False,
            delivery=Delivery.ASYNC,
            policy=decision.policy,
            reason=decision.reason,
            estimated_tokens=estimate_tokens(body),
            accepted_at=now,
            deadline_at=record.expires_at if decision.deadline_at is None else decision.deadline_at,
            tiers=decision.tiers,
            on_miss=decision.on_miss,
            confidence=decision.confidence,
            retention_seconds=decision.retention_seconds,
            grounds=decision.grounds,
        )
        return request, decision

    def _announce_accepted(self, new: Request, decision: Decision) -> None:
        self._house.announce(
            RequestDecided(
                request_id=new.id,
                tenant=new.tenant,
                upstream=new.queue.upstream,
                model=new.queue.model,
                endpoint=new.queue.endpoint,
                tier=decision.tier,
                reason=decision.reason,
                policy=decision.policy,
                deadline_at=new.deadline_at,
                at=new.accepted_at,
            )
        )
        announce_accepted(self._house, new, decision)

    async def _withdraw(self, now: float) -> None:
        """Cancel what has not been sent to anybody; what is being bought may go on for a while."""
        since = self._record.reached[self._record.status]
        is_over = now >= since + self._house.virtual.grace_seconds
        for request_id in list(self._open):
            view = await self._house.store.get(request_id)
            if view is not None and view.state is RequestState.OPEN:
                if not is_over and view.stage is not Stage.QUEUED:
                    continue
                await cancel(self._house.store, self._house.announce, view, now)
            self._ended.add(request_id)

    async def _collect(self) -> None:
        for request_id in sorted(self._ended):
            self._ended.discard(request_id)
            opened, view = self._open.get(request_id), await self._house.store.get(request_id)
            if opened is None or (view is not None and view.state is RequestState.OPEN):
                continue
            await self._take(request_id, opened, view)
            del self._open[request_id]

    async def _take(self, request_id: RequestId, opened: _Open, view: RequestView | None) -> None:
        """A request has its final state: the line has its result."""
        is_answered = view is not None and view.state in {RequestState.DONE, RequestState.FAILED}
        answer = await self._house.store.result(request_id) if is_answered else None
        if answer is None:
            await self._leave_unanswered(request_id, opened, self._why(view))
            return
        usage = read_usage(answer.body).usage
        if usage is not None and answer.status in OK:
            self._tally.input_tokens += usage.input_tokens
            self._tally.cached_tokens += usage.cached_tokens
            self._tally.output_tokens += usage.output_tokens
        await self._answer(request_id, opened, answer.status, answer.body)

    async def _answer(self, request_id: RequestId, opened: _Open, status: int, body: bytes) -> None:
        line = virtual.answered_line(_line_id(request_id), opened.custom_id, status, request_id, body)
        await self._add(opened, line, succeeded=status in OK)

    async def _leave_unanswered(self, request_id: RequestId, opened: _Open, why: tuple[str, str]) -> None:
        line = virtual.unanswered_line(_line_id(request_id), opened.custom_id, *why)
        await self._add(opened, line, succeeded=False)

    def _why(self, view: RequestView | None) -> tuple[str, str]:
        """Why a request that was opened has no answer."""
        if view is None:
            return LOST
        if self._record.expired or view.state is RequestState.EXPIRED:
            return EXPIRED
        return CANCELLED if self._record.status is Status.CANCELLING else CANCELLED_ALONE

    async def _add(self, opened: _Open, line: bytes, *, succeeded: bool) -> None:
        self._done.add(opened.number)
        if succeeded:
            self._tally.completed += 1
            await self._output.add(line)
        else:
            self._tally.failed += 1
            await self._errors.add(line)

    async def _write_down(self, now: float) -> bool:
        """Make durable what has come of it since the last time. False as for `step`."""
        await self._output.flush()
        await self._errors.flush()
        record, is_over = self._progress(), self._is_read and not self._open
        if is_over and record.status is Status.IN_PROGRESS:
            record = record.at(Status.FINALIZING, now)
        if record != self._record and not await self._save(record):
            return False
        if not is_over:
            return True
        await self._publish(now)
        await self._save(record.at(_ends_as(record), now))
        return False

    def _progress(self) -> BatchRecord:
        record, tally = self._record, self._tally
        return msgspec.structs.replace(
            record,
            done=bytes(self._done),
            completed=tally.completed,
            failed=tally.failed,
            input_tokens=tally.input_tokens,
            cached_tokens=tally.cached_tokens,
            output_tokens=tally.output_tokens,
            output_volumes=(*record.output_volumes[:-1], self._output.parts),
            output_size=self._output_before + self._output.size,
            error_volumes=(*record.error_volumes[:-1], self._errors.parts),
            error_size=self._errors_before + self._errors.size,
        )

    async def _publish(self, now: float) -> None:
        """Make files of the results. One that is there already was made by an earlier session."""
        record, batch = self._progress(), self._document
        for kind, file_id, size, volumes in (
            ("output", record.output_file_id, record.output_size, record.output_volumes),
            ("error", record.error_file_id, record.error_size, record.error_volumes),
        ):
            if size:
                file = FileRecord(f"{batch.id}_{kind}.jsonl", RESULTS, size, volumes)
                content = msgspec.json.encode(file)
                await self._house.store.shelf.put(
                    Document(FILE, file_id, batch.tenant, 1, pending=False, created_at=now, content=content)
                )

    async def _save(self, record: BatchRecord) -> bool:
        """Change the record in the store; False when somebody else was faster."""
        changed = with_record(self._document, record)
        if not await self._house.store.shelf.put(changed):
            return False
        if record.status is not self._record.status:
            announce_moved(self._house, changed)
        self._document, self._record = changed, record
        return True


async def begin(house: House, document: Document, record: BatchRecord) -> Session | None:
    """A session with volumes of its own; None when somebody else has changed the batch."""
    record = msgspec.structs.replace(
        record, output_volumes=(*record.output_volumes, 0), error_volumes=(*record.error_volumes, 0)
    )
    changed = with_record(document, record)
    return Session(house, changed, record) if await house.store.shelf.put(changed) else None


def _ends_as(record: BatchRecord) -> Status:
    if record.errors:
        return Status.FAILED
    if record.status is Status.CANCELLING:
        return Status.CANCELLED
    return Status.EXPIRED if record.expired else Status.COMPLETED


def _line_id(request_id: RequestId) -> str:
    return f"batch_{request_id.replace('-', '_')}"

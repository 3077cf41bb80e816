"""Reading what a terminal batch brought: every line is answered, superseded, refused or missing, then it is collected.

Reading may stop at any point and start again: a line that was settled is no longer live, and is passed over. Nothing
is said to be missing before both files were read to their ends. What is missing though the provider says that it has
finished more lines than it gave may be billed: it is booked with an unknown amount.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from proxy.batching.desk import Desk, account_of, enqueued_tokens
from proxy.batching.settle import Delivery, Owed, lost_row, settle
from proxy.batching.submit import pages
from proxy.domain.answer import Answer
from proxy.domain.attempt import Line
from proxy.domain.batch import Batch, BatchOutcome
from proxy.domain.errors import UpstreamFault
from proxy.domain.events import BatchSettled, WasteBooked
from proxy.domain.ids import AttemptId
from proxy.domain.moves import (
    TRIES_EXHAUSTED,
    AttemptMissing,
    AttemptRefused,
    BatchCollected,
    Conflict,
    Move,
)
from proxy.domain.tier import Tier
from proxy.upstream.interface import BatchError
from proxy.wire.limits import enqueued_limit
from proxy.wire.lines import LineFault, OutputLine, decode_output_line

CHUNK_LINES = 500
"""Answers handed to the store in one call."""
TOKEN_LIMIT_CODES = frozenset({"token_limit_exceeded", "enqueued_token_limit_exceeded"})
NOT_RUN_CODES = frozenset({"batch_expired", "batch_cancelled"})
"""Error codes of lines that the provider did not run, and does not bill."""
RETRIED_STATUSES = frozenset({408, 409, 425, 429})
NOT_FOUND = 404


@dataclass(slots=True)
class _Reading:
    """One pass over the files: the lines that are still owed, and what became of the others.

    `given` counts the lines that the provider has finished and that were seen, in this pass or an earlier one.
    """

    live: dict[str, Line]
    given: int
    outcomes: Counter[str] = field(default_factory=Counter)


async def collect(desk: Desk, batch: Batch) -> None:
    """ENDED: settle every line, then say so."""
    lines = [line async for line in pages(desk, batch, bodies=False)]
    reading = _Reading({line.attempt_id: line for line in lines}, given=batch.lines - len(lines))
    if batch.outcome is BatchOutcome.FAILED:
        await _refuse_invalid(desk, batch, lines, reading)
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id is not None:
            await _read_file(desk, batch, file_id, reading)
    await _say_missing(desk, batch, reading)
    now = desk.clock.now()
    if not await desk.move(BatchCollected(batch.id, now, due_at=now)):
        return
    desk.forget_batch(batch.id)
    if batch.outcome is BatchOutcome.COMPLETED:
        desk.budget(batch.queue).completed()
    desk.announce(_settled(batch, reading.outcomes, now))


async def _read_file(desk: Desk, batch: Batch, file_id: str, reading: _Reading) -> None:
    chunk: list[OutputLine] = []
    async for line in _decoded(desk, batch, file_id):
        if line.custom_id in reading.live:
            chunk.append(line)
        if len(chunk) >= CHUNK_LINES:
            await _settle_chunk(desk, batch, chunk, reading)
            chunk = []
    await _settle_chunk(desk, batch, chunk, reading)


async def _decoded(desk: Desk, batch: Batch, file_id: str) -> AsyncIterator[OutputLine]:
    """The file's lines. A file that cannot be read is tried again; after `collect_tries` what was read must do."""
    try:
        async for raw in desk.seller(batch.queue).download(await desk.auth(batch.queue), file_id):
            decoded = decode_output_line(raw)
            if decoded is not None:
                yield decoded
    except (LineFault, UpstreamFault) as fault:
        failures = desk.memory.collect_failures.get(batch.id, 0) + 1
        desk.memory.collect_failures[batch.id] = failures
        unreadable = isinstance(fault, LineFault) or fault.status == NOT_FOUND
        if not unreadable or failures < desk.settings.collect_tries:
            raise


async def _settle_chunk(desk: Desk, batch: Batch, chunk: list[OutputLine], reading: _Reading) -> None:
    """Settle some lines. A line that comes twice is settled by the first."""
    now = desk.clock.now()
    deliveries: list[Delivery] = []
    setbacks: list[Move] = []
    for output in chunk:
        line = reading.live.pop(output.custom_id, None)
        if line is None:
            continue
        setback = _setback(desk, batch, line, output, now)
        if setback is not None:
            setbacks.append(setback)
            reading.outcomes["missing" if isinstance(setback, AttemptMissing) else "refused"] += 1
        else:
            reading.given += output.status is not None and output.status < 400  # noqa: PLR2004  HTTP's border
            deliveries.append(Delivery(_owed(batch, line), line.attempt_id, batch.id, _answer(output)))
    answered = await settle(desk, deliveries, now)
    reading.outcomes["answered"] += answered
    reading.outcomes["superseded"] += len(deliveries) - answered
    await desk.move_all(setbacks)


def _setback(
    desk: Desk, batch: Batch, line: Line, output: OutputLine, now: float
) -> AttemptRefused | AttemptMissing | None:
    """The move for a line without an answer; None for one whose status and body are the client's answer."""
    if output.error_code in NOT_RUN_CODES:
        return AttemptMissing(line.attempt_id, now, ready_at=now, tries_spent=_tries_spent(batch))
    if output.status is None or output.body is None:
        return AttemptRefused(line.attempt_id, now, ready_at=now, tries_spent=1)
    if output.status in RETRIED_STATUSES or output.status >= 500:  # noqa: PLR2004  HTTP's border
        return AttemptRefused(line.attempt_id, now, ready_at=now + desk.backoff_seconds(0), tries_spent=1)
    return None


def _tries_spent(batch: Batch) -> int:
    """What a line that was not run has cost its request. That we cancelled the batch is not its lines' fault."""
    return 0 if batch.outcome is BatchOutcome.CANCELLED else 1


def _answer(output: OutputLine) -> Answer:
    headers = [("Content-Type", "application/json")]
    if output.request_id:
        headers.append(("x-request-id", output.request_id))
    return Answer(output.status or 0, tuple(headers), output.body or b"", Tier.BATCH)


def _owed(batch: Batch, line: Line) -> Owed:
    return Owed(line.request_id, line.tenant, batch.queue, line.policy, line.accepted_at, line.deadline_at, line.reason)


async def _say_missing(desk: Desk, batch: Batch, reading: _Reading) -> None:
    """Both files are read: what is still live is not in them."""
    now = desk.clock.now()
    may_be_billed = batch.outcome is BatchOutcome.LOST or batch.completed_lines > reading.given
    moves = [_missing(batch, line, now, may_be_billed=may_be_billed) for line in reading.live.values()]
    for start in range(0, len(moves), CHUNK_LINES):
        chunk = moves[start : start + CHUNK_LINES]
        results = await desk.move_all(list[Move](chunk))
        for move, result in zip(chunk, results, strict=True):
            if move.ledger is not None and not isinstance(result, Conflict):
                desk.announce(WasteBooked(move.ledger))
    reading.outcomes["missing"] += len(moves)
    reading.live.clear()


def _missing(batch: Batch, line: Line, now: float, *, may_be_billed: bool) -> AttemptMissing:
    row = lost_row(_owed(batch, line), line.attempt_id, Tier.BATCH, now, batch_id=batch.id) if may_be_billed else None
    return AttemptMissing(line.attempt_id, now, now, _tries_spent(batch), row)


async def _refuse_invalid(desk: Desk, batch: Batch, lines: list[Line], reading: _Reading) -> None:
    """The provider refused the file. Lines that it names are bought synchronously, where upstream's own answer to
    each says what is wrong; the rest goes into another batch. A full queue at the provider is nobody's fault: the next
    batch is smaller, and waits.
    """
    if batch.provider_id is None:
        return
    now = desk.clock.now()
    seen = await desk.seller(batch.queue).retrieve(await desk.auth(batch.queue), batch.provider_id)
    full = next((error for error in seen.errors if error.code in TOKEN_LIMIT_CODES), None)
    if full is not None:
        enqueued = enqueued_tokens(await desk.store.open_batches())[account_of(batch.queue)]
        said = enqueued_limit(full.message)
        desk.budget(batch.queue).refused(batch.estimated_tokens, enqueued=enqueued, said=said)
    culprits = _culprits(seen.errors, batch, lines)
    ready_at = now + (desk.settings.backoff_max_seconds if full is not None else 0.0)
    is_blamed_already = len(lines) < batch.lines
    blame = 0 if full is not None or culprits or is_blamed_already else 1
    moves: list[Move] = [AttemptRefused(line, now, ready_at, TRIES_EXHAUSTED) for line in culprits]
    moves += [
        AttemptRefused(line.attempt_id, now, ready_at, blame) for line in lines if line.attempt_id not in culprits
    ]
    for start in range(0, len(moves), CHUNK_LINES):
        await desk.move_all(moves[start : start + CHUNK_LINES])
    reading.outcomes["refused"] += len(moves)
    reading.live.clear()


def _culprits(errors: tuple[BatchError, ...], batch: Batch, lines: list[Line]) -> dict[AttemptId, None]:
    """The lines that the provider complains of; it counts them from 1, in the order of the file.

    They are settled before all others. Where some of the file's lines are settled already, a pass that did not come to
    its end has done that, and the numbers of those that are left are others.
    """
    if len(lines) < batch.lines:
        return {}
    numbers = {error.line for error in errors if error.line is not None}
    return {line.attempt_id: None for number, line in enumerate(lines, start=1) if number in numbers}


def _settled(batch: Batch, outcomes: Counter[str], now: float) -> BatchSettled:
    ended_at = batch.ended_at or now
    return BatchSettled(
        batch_id=batch.id,
        upstream=batch.queue.upstream,
        model=batch.queue.model,
        outcome=batch.outcome or BatchOutcome.LOST,
        turnaround_seconds=ended_at - (batch.submitted_at or ended_at),
        answered=outcomes["answered"],
        superseded=outcomes["superseded"],
        refused=outcomes["refused"],
        missing=outcomes["missing"],
        at=now,
    )

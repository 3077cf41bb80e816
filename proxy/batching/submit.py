"""Upload a planned batch and create its job. The intent is on disk before each effect; lost replies are `recover`'s."""

from collections.abc import AsyncIterator
from dataclasses import replace

from proxy.batching.desk import Desk
from proxy.domain.attempt import Line
from proxy.domain.batch import Batch, BatchState
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.events import BatchSubmitted
from proxy.domain.ids import AttemptId
from proxy.domain.moves import BatchAbandoned, BatchCreated, Uploaded, UploadLost, UploadStarted
from proxy.routing import polling
from proxy.upstream.interface import ProviderBatch
from proxy.wire.lines import encode_line

PAGE_LINES = 500
"""Lines read from the store at once while a file streams."""
BATCH_KEY = "standby_batch"
"""The key in the provider's batch metadata that carries our batch id."""
NO_SUCH_ROUTE = frozenset({404, 405})
FILE_PREFIX = "standby"


def file_name(deployment: str, batch: Batch) -> str:
    """The input file's name: says whose it is, so that orphans can be found and nobody else's are touched."""
    return f"{FILE_PREFIX}-{deployment}-{batch.id}.jsonl"


async def upload(desk: Desk, batch: Batch) -> None:
    """PLANNED: upload the lines, then create the job."""
    size, lines = await _measure(desk, batch)
    now = desk.clock.now()
    if lines == 0:
        await desk.move(BatchAbandoned(batch.id, now, ready_at=now, tries_spent=0))
        return
    if not await desk.move(UploadStarted(batch.id, now, lines)):
        return
    upstream, auth = desk.seller(batch.queue), await desk.auth(batch.queue)
    name = file_name(await desk.store.deployment(), batch)
    expiry = desk.settings.input_file_expiry_seconds
    try:
        file_id = await upstream.upload(auth, name, size, _encoded(desk, batch), expiry)
    except UpstreamFault as fault:
        await _upload_failed(desk, batch, fault)
        raise
    now = desk.clock.now()
    if await desk.move(Uploaded(batch.id, now, file_id)):
        await create(desk, replace(batch, state=BatchState.CREATING, input_file_id=file_id, creating_at=now))


async def restart_upload(desk: Desk, batch: Batch) -> None:
    """UPLOADING found by a new process: whether the file arrived is unknown, so upload again under the same name."""
    now = desk.clock.now()
    await desk.move(UploadLost(batch.id, now, due_at=now))


async def create(desk: Desk, batch: Batch) -> None:
    """CREATING, and known not to exist at the provider: create the job."""
    if batch.input_file_id is None:
        raise AssertionError(f"{batch.id} is to be created without a file")
    upstream, auth = desk.seller(batch.queue), await desk.auth(batch.queue)
    try:
        created = await upstream.create(auth, batch.input_file_id, batch.queue.endpoint, {BATCH_KEY: batch.id})
    except UpstreamFault as fault:
        await _create_failed(desk, batch, fault)
        raise
    await submitted(desk, batch, created, found=False)


async def submitted(desk: Desk, batch: Batch, created: ProviderBatch, *, found: bool) -> None:
    """The provider has the job: its lines are sent."""
    now = desk.clock.now()
    due_at = polling.next_poll_at(
        submitted_at=now,
        now=now,
        deadline_at=batch.deadline_at,
        settings=desk.settings.poll,
        provider_status=created.status,
        jitter=0.0,
    )
    if await desk.move(BatchCreated(batch.id, now, created.id, created.status, due_at, found)):
        desk.forget_batch(batch.id)
        queue = batch.queue
        desk.latencies.of(queue.upstream, queue.model).submitted(batch.id, now)
        desk.announce(BatchSubmitted(batch.id, created.id, queue.upstream, queue.model, batch.lines, found, now))


async def _upload_failed(desk: Desk, batch: Batch, fault: UpstreamFault) -> None:
    now = desk.clock.now()
    if fault.retry is Retry.NEVER:
        await _abandon(desk, batch, fault)
        return
    await desk.move(UploadLost(batch.id, now, due_at=_again_at(desk, batch, fault)))


async def _create_failed(desk: Desk, batch: Batch, fault: UpstreamFault) -> None:
    """A refusal that proves that nothing was created leaves the batch; a lost reply leaves it to `recover`."""
    if fault.retry is Retry.NEVER:
        await _abandon(desk, batch, fault)


async def _abandon(desk: Desk, batch: Batch, fault: UpstreamFault) -> None:
    now = desk.clock.now()
    rung_lost = fault.status in NO_SUCH_ROUTE
    if rung_lost:
        desk.lose_rung(batch.queue.upstream, now)
    await desk.move(BatchAbandoned(batch.id, now, ready_at=now, tries_spent=0 if rung_lost else 1))
    desk.forget_batch(batch.id)


def _again_at(desk: Desk, batch: Batch, fault: UpstreamFault) -> float:
    failures = desk.memory.batch_failures.get(batch.id, 0)
    return desk.clock.now() + max(desk.backoff_seconds(failures), fault.after_seconds or 0.0)


async def _measure(desk: Desk, batch: Batch) -> tuple[int, int]:
    """The file's exact size in bytes and its number of lines. The lines of a batch do not change once it uploads."""
    size = lines = 0
    async for line in _encoded(desk, batch):
        size += len(line)
        lines += 1
    return size, lines


async def _encoded(desk: Desk, batch: Batch) -> AsyncIterator[bytes]:
    async for line in pages(desk, batch):
        yield encode_line(line.attempt_id, batch.queue.endpoint, line.body)


async def pages(desk: Desk, batch: Batch, *, bodies: bool = True) -> AsyncIterator[Line]:
    """The batch's live lines, read page by page."""
    after: AttemptId | None = None
    while page := await desk.store.lines(batch.id, after=after, limit=PAGE_LINES, bodies=bodies):
        for line in page:
            yield line
        after = page[-1].attempt_id

"""Leaving nothing behind: a batch's files at the provider, files that nobody refers to, requests past retention."""

from collections.abc import Collection

from proxy.batching.desk import Desk
from proxy.batching.submit import FILE_PREFIX
from proxy.domain.batch import Batch
from proxy.domain.credential import Auth
from proxy.domain.events import BatchFilesDeleted
from proxy.domain.ids import BatchId
from proxy.domain.moves import BatchCleaned
from proxy.domain.request import Queue
from proxy.upstream.interface import BatchUpstream

SWEEP_REQUESTS = 5_000
"""Requests deleted from the store in one go."""


async def clean(desk: Desk, batch: Batch) -> None:
    """COLLECTED: delete the input, output and error files. The results are durable here."""
    upstream, auth = desk.seller(batch.queue), await desk.auth(batch.queue)
    files = [file for file in (batch.input_file_id, batch.output_file_id, batch.error_file_id) if file is not None]
    for file_id in files:
        await upstream.delete_file(auth, file_id)
    now = desk.clock.now()
    if await desk.move(BatchCleaned(batch.id, now)):
        desk.announce(BatchFilesDeleted(batch.id, len(files), now))


async def sweep_store(desk: Desk, now: float) -> None:
    """Delete what is past its retention."""
    kept_seconds = desk.settings.retention_seconds
    while await desk.store.sweep(now=now, retention_seconds=kept_seconds, limit=SWEEP_REQUESTS) == SWEEP_REQUESTS:
        pass


async def sweep_files(desk: Desk, now: float) -> None:
    """Look for orphans in every account that batches were bought with."""
    queues = {(queue.upstream, queue.credential): queue for queue in await desk.store.queues_of_batches()}
    for queue in queues.values():
        if desk.sells_batches(queue.upstream, now):
            await _sweep_account(desk, queue, now)


async def _sweep_account(desk: Desk, queue: Queue, now: float) -> int:
    """Delete our own input files that no open batch refers to: what lost replies and abandoned batches left behind.

    Only files that carry this deployment's name are touched, and only old ones: a younger one may be on its way into
    a batch. Returns how many went.
    """
    upstream, auth = desk.seller_of(queue.upstream), await desk.auth(queue)
    prefix = f"{FILE_PREFIX}-{await desk.store.deployment()}-"
    in_use = {batch.input_file_id for batch in await desk.store.open_batches() if batch.input_file_id is not None}
    return await _delete_orphans(desk, upstream, auth, prefix, in_use, now - desk.settings.orphan_seconds)


async def _delete_orphans(
    desk: Desk, upstream: BatchUpstream, auth: Auth, prefix: str, in_use: Collection[str], older_than: float
) -> int:
    orphans = [
        (file.id, BatchId(file.name.removeprefix(prefix).removesuffix(".jsonl")))
        async for file in upstream.list_files(auth)
        if file.name.startswith(prefix) and file.id not in in_use and file.created_at < older_than
    ]
    for file_id, batch_id in orphans:
        await upstream.delete_file(auth, file_id)
        desk.announce(BatchFilesDeleted(batch_id, 1, desk.clock.now()))
    return len(orphans)

"""`/v1/batches` of virtual batches, and which routes are theirs. `virtual_runner` does what is asked for here."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
from aiohttp import web

from proxy.domain.errors import ClientFault
from proxy.domain.events import VirtualBatchMoved
from proxy.server import virtual_files as files
from proxy.server.auth import Caller
from proxy.server.house import House
from proxy.server.receive import read_body, retry_count
from proxy.server.replies import reply_json
from proxy.server.virtual_files import BATCH, NOT_FOUND, batch_of
from proxy.store.shelf import Document
from proxy.wire.durations import parse_duration
from proxy.wire.lines import BATCH_ENDPOINTS
from proxy.wire.virtual import ENDED, BatchRecord, Status, batch_shown, metadata_fault

METHOD_NOT_ALLOWED = 405
CONFLICT = 409
TOO_MANY_REQUESTS = 429
BODY_BYTES_MAX = 2**20
RETRY_SECONDS, RETRY_BATCHES = 600.0, 20
"""How old the batch may be that a retried call has made, and among how many of the newest it is looked for."""
_TRIES = 5
"""How often a change is made again that somebody else's was faster than."""


async def serve(
    house: House, request: web.BaseRequest, caller: Caller, resource: str, query: Mapping[str, str]
) -> web.StreamResponse | None:
    """The answer to one of these routes, None for every other, and for all where there are no virtual batches."""
    if not house.virtual.enabled:
        return None
    kind, _, rest = resource.removeprefix("/v1/").partition("/")
    if kind == "files":
        return await _serve_file(house, request, caller, rest, query)
    if kind == "batches":
        return await _serve_batch(house, request, caller, rest, query)
    return None


async def _serve_file(
    house: House, request: web.BaseRequest, caller: Caller, rest: str, query: Mapping[str, str]
) -> web.StreamResponse:
    file_id, _, part = rest.partition("/")
    match request.method, bool(file_id), part:
        case "POST", False, "":
            return await files.upload(house, request, caller)
        case "GET", False, "":
            return await files.page(house, caller, query)
        case "GET", True, "":
            return await files.show(house, caller, file_id)
        case "GET", True, "content":
            return await files.download(house, request, caller, file_id)
        case "DELETE", True, "":
            return await files.delete(house, caller, file_id)
        case _:
            raise _not_here(request)


async def _serve_batch(
    house: House, request: web.BaseRequest, caller: Caller, rest: str, query: Mapping[str, str]
) -> web.StreamResponse:
    batch_id, _, part = rest.partition("/")
    match request.method, bool(batch_id), part:
        case "POST", False, "":
            return await _create(house, request, caller)
        case "GET", False, "":
            return await _page(house, caller, query)
        case "GET", True, "":
            return reply_json(_shown(await _owned(house, caller, batch_id)))
        case "POST", True, "cancel":
            return await _cancel(house, caller, batch_id)
        case _:
            raise _not_here(request)


class _Wanted(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: object = None


async def _create(house: House, request: web.BaseRequest, caller: Caller) -> web.Response:
    wanted = await _read(house, request)
    if wanted.endpoint not in BATCH_ENDPOINTS:
        known = ", ".join(sorted(BATCH_ENDPOINTS))
        raise ClientFault(f"endpoint must be one of {known}.", code="invalid_value", param="endpoint")
    seconds = parse_duration(wanted.completion_window)
    if not seconds or seconds > house.virtual.retention_seconds:
        message = f"completion_window must be a duration such as 24h, at most {house.virtual.retention_seconds:g}s."
        raise ClientFault(message, code="invalid_value", param="completion_window")
    fault = metadata_fault(wanted.metadata)
    if fault is not None:
        raise ClientFault(fault, code="invalid_value", param="metadata")
    await _require_input(house, caller, wanted.input_file_id)
    earlier = await _made_before(house, caller, wanted) if retry_count(request) else None
    if earlier is not None:
        return reply_json(_shown(earlier))
    await _require_room(house, caller)
    now = house.clock.now()
    credential = None if caller.auth is None else await house.vault.keep(caller.auth)
    record = BatchRecord(
        endpoint=wanted.endpoint,
        input_file_id=wanted.input_file_id,
        window=wanted.completion_window,
        expires_at=now + seconds,
        output_file_id=house.ids.kept("file-", now),
        error_file_id=house.ids.kept("file-", now),
        key=caller.key,
        credential=credential,
        metadata=wanted.metadata if isinstance(wanted.metadata, dict) else None,
    ).at(Status.VALIDATING, now)
    batch_id = house.ids.kept("batch_", now)
    document = Document(BATCH, batch_id, caller.tenant, 1, pending=True, created_at=now, content=_encode(record))
    await house.store.shelf.put(document)
    announce_moved(house, document)
    return reply_json(_shown(document))


async def _require_input(house: House, caller: Caller, file_id: str) -> None:
    document = await files.owned(house, caller, file_id)
    if files.file_of(document).purpose != files.PURPOSE:
        message = f"The file {file_id} is no input: its purpose is not {files.PURPOSE}."
        raise ClientFault(message, code="invalid_purpose", param="input_file_id")


async def _made_before(house: House, caller: Caller, wanted: _Wanted) -> Document | None:
    """What an SDK's first try has made, although its answer was lost."""
    since = house.clock.now() - RETRY_SECONDS
    for document in await house.store.shelf.page(BATCH, caller.tenant, after=None, limit=RETRY_BATCHES):
        record = batch_of(document)
        made = _Wanted(record.input_file_id, record.endpoint, record.window, record.metadata)
        if document.created_at >= since and made == wanted:
            return document
    return None


async def _require_room(house: House, caller: Caller) -> None:
    """A tenant may have so many batches under way; others do not count."""
    pending = await house.store.shelf.pending(BATCH)
    if sum(batch.tenant == caller.tenant for batch in pending) >= house.virtual.batches_max:
        message = f"{house.virtual.batches_max} batches are under way already; wait until one has ended."
        raise ClientFault(message, status=TOO_MANY_REQUESTS, code="too_many_batches")


async def _read(house: House, request: web.BaseRequest) -> _Wanted:
    body = await read_body(house.arrivals, request, BODY_BYTES_MAX)
    try:
        return msgspec.json.decode(body, type=_Wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"A batch needs input_file_id, endpoint and completion_window: {error}."
        raise ClientFault(message, code="invalid_body") from error


async def _page(house: House, caller: Caller, query: Mapping[str, str]) -> web.Response:
    documents, has_more = await files.page_of(house, BATCH, caller.tenant, query)
    return reply_json(files.listed([_shown(document) for document in documents], has_more=has_more))


async def _cancel(house: House, caller: Caller, batch_id: str) -> web.Response:
    for _ in range(_TRIES):
        document = await _owned(house, caller, batch_id)
        record = batch_of(document)
        if record.status is Status.CANCELLING:
            return reply_json(_shown(document))
        if record.status in ENDED or record.status is Status.FINALIZING:
            message = f"Cannot cancel a batch with status '{record.status}'."
            raise ClientFault(message, status=CONFLICT, code="batch_ended")
        changed = with_record(document, record.at(Status.CANCELLING, house.clock.now()))
        if await house.store.shelf.put(changed):
            announce_moved(house, changed)
            return reply_json(_shown(changed))
    raise ClientFault("The batch is being changed; try again.", status=CONFLICT, code="batch_busy")


async def _owned(house: House, caller: Caller, batch_id: str) -> Document:
    document = await house.store.shelf.get(BATCH, batch_id)
    if document is None or document.tenant != caller.tenant:
        raise ClientFault(f"No such Batch object: {batch_id[:80]}", status=NOT_FOUND, param="id")
    return document


def announce_moved(house: House, document: Document) -> None:
    """A batch has come into another status."""
    record = batch_of(document)
    house.announce(
        VirtualBatchMoved(
            batch_id=document.id,
            tenant=document.tenant,
            endpoint=record.endpoint,
            status=record.status.value,
            total=record.total,
            completed=record.completed,
            failed=record.failed,
            at=house.clock.now(),
        )
    )


def with_record(document: Document, record: BatchRecord) -> Document:
    """The document's next version."""
    return replace(document, version=document.version + 1, pending=record.status not in ENDED, content=_encode(record))


def _shown(document: Document) -> dict[str, object]:
    return batch_shown(document.id, batch_of(document), document.created_at)


def _encode(record: BatchRecord) -> bytes:
    return msgspec.json.encode(record)


def _not_here(request: web.BaseRequest) -> ClientFault:
    message = f"{request.method} is not possible here: this proxy runs batches itself."
    return ClientFault(message, status=METHOD_NOT_ALLOWED, code="method_not_allowed")

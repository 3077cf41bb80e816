"""`/v1/files` of virtual batches: uploaded here, kept here, each tenant's own.

A file is a document on the shelf whose content is its parts. While it is being uploaded it is pending; what an upload
that broke off has left behind is swept with what is past its retention.
"""

from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
import msgspec
from aiohttp import web

from proxy.domain.errors import ClientFault
from proxy.domain.ids import TenantId
from proxy.server.auth import Caller
from proxy.server.house import House
from proxy.server.receive import go_on
from proxy.server.replies import reply_json
from proxy.store.shelf import Document, Shelf
from proxy.wire.virtual import SUFFIX, BatchRecord, FileRecord, file_shown, part_number

FILE, BATCH = "file", "batch"
"""The kinds of documents."""
PURPOSE = "batch"
PART_BYTES = 2**20
FIELD_BYTES_MAX = 2**16
LIMIT_DEFAULT, LIMIT_MAX = 20, 100
NEWEST_FIRST = "desc"
NOT_FOUND, CONFLICT, TOO_LARGE = 404, 409, 413


def file_of(document: Document) -> FileRecord:
    """What a file's document says."""
    return msgspec.json.decode(document.content, type=FileRecord)


def batch_of(document: Document) -> BatchRecord:
    """What a batch's document says."""
    return msgspec.json.decode(document.content, type=BatchRecord)


async def content_of(shelf: Shelf, file_id: str, record: FileRecord) -> AsyncIterator[bytes]:
    """A file's content, part by part. Raises `ClientFault` 404 when it is deleted meanwhile."""
    for volume, parts in enumerate(record.volumes):
        for part in range(parts):
            content = await shelf.part(file_id, part_number(volume, part))
            if content is None:
                raise _unknown(file_id)
            yield content


async def lines_of(
    shelf: Shelf, file_id: str, record: FileRecord, line_max_bytes: int
) -> AsyncIterator[tuple[int, bytes | None]]:
    """A file's lines with their numbers, from 1; None for one that is too long. Raises `ClientFault` as above."""
    number, rest, is_long = 1, b"", False
    async for content in content_of(shelf, file_id, record):
        *whole, rest = (rest + content).split(b"\n")
        for line in whole:
            yield number, None if is_long or len(line) > line_max_bytes else line
            number, is_long = number + 1, False
        if len(rest) > line_max_bytes:
            rest, is_long = b"", True
    if rest or is_long:
        yield number, None if is_long else rest


class Volume:
    """The part of a result file that one session writes: lines gather until they are a part's worth."""

    def __init__(self, shelf: Shelf, file_id: str, number: int) -> None:
        self._shelf = shelf
        self._file_id = file_id
        self._number = number
        self._gathered = bytearray()
        self.parts = 0
        self.size = 0

    async def add(self, line: bytes) -> None:
        self._gathered += line
        if len(self._gathered) >= PART_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what has gathered."""
        if not self._gathered:
            return
        await self._shelf.put_part(self._file_id, part_number(self._number, self.parts), bytes(self._gathered))
        self.parts += 1
        self.size += len(self._gathered)
        self._gathered.clear()


async def upload(house: House, request: web.BaseRequest, caller: Caller) -> web.Response:
    """`POST /v1/files` with `purpose=batch`: the file streams into the store."""
    if request.content_type != "multipart/form-data":
        raise ClientFault("A file is uploaded as multipart/form-data.", code="invalid_content_type")
    go_on(request)
    now = house.clock.now()
    file_id = house.ids.kept("file-", now)
    try:
        record = await _receive(house, request, caller, file_id, now)
    except BaseException:
        await house.store.shelf.remove(FILE, file_id)
        raise
    if not await house.store.shelf.put(_document(file_id, caller.tenant, now, record, version=2)):
        raise ClientFault("The upload took too long.", status=CONFLICT, code="upload_expired")
    return reply_json(_shown(house, file_id, record, now))


async def _receive(house: House, request: web.BaseRequest, caller: Caller, file_id: str, now: float) -> FileRecord:
    purpose, record = "", None
    try:
        async for part in await request.multipart():
            if not isinstance(part, aiohttp.BodyPartReader):
                raise ClientFault("A multipart within a multipart cannot be read here.", code="invalid_body")
            if part.name == "purpose":
                purpose = (await part.read_chunk(FIELD_BYTES_MAX)).decode(errors="replace")
            elif part.name == "file":
                empty = FileRecord(part.filename or "", PURPOSE, 0, ())
                await house.store.shelf.put(_document(file_id, caller.tenant, now, empty, version=1))
                record = await _keep(house, part, file_id)
    except (ValueError, aiohttp.ClientPayloadError) as error:
        raise ClientFault("The multipart body cannot be read.", code="invalid_body") from error
    if purpose != PURPOSE:
        raise ClientFault("This proxy keeps files for batches only: purpose must be batch.", param="purpose")
    if record is None or record.size == 0:
        raise ClientFault("There is no file, or it is empty.", code="empty_file", param="file")
    if not record.name.endswith(SUFFIX):
        raise ClientFault(f"The file of a batch must be named *{SUFFIX}.", param="file")
    return record


async def _keep(house: House, part: aiohttp.BodyPartReader, file_id: str) -> FileRecord:
    size = parts = 0
    gathered = bytearray()
    while chunk := await part.read_chunk(PART_BYTES):
        size += len(chunk)
        if size > house.virtual.file_max_bytes:
            message = f"The file is larger than the limit of {house.virtual.file_max_bytes} bytes."
            raise ClientFault(message, status=TOO_LARGE, code="file_too_large", param="file")
        gathered += chunk
        if len(gathered) >= PART_BYTES:
            await house.store.shelf.put_part(file_id, parts, bytes(gathered))
            parts += 1
            gathered.clear()
    if gathered:
        await house.store.shelf.put_part(file_id, parts, bytes(gathered))
        parts += 1
    return FileRecord(part.filename or "", PURPOSE, size, (parts,))


async def show(house: House, caller: Caller, file_id: str) -> web.Response:
    """`GET /v1/files/{id}`."""
    document = await owned(house, caller, file_id)
    return reply_json(_shown(house, document.id, file_of(document), document.created_at))


async def page(house: House, caller: Caller, query: Mapping[str, str]) -> web.Response:
    """`GET /v1/files?limit=&after=&purpose=`: newest first."""
    purpose = query.get("purpose")

    def is_wanted(document: Document) -> bool:
        return not document.pending and purpose in {None, file_of(document).purpose}

    documents, has_more = await page_of(house, FILE, caller.tenant, query, is_wanted)
    shown = [_shown(house, document.id, file_of(document), document.created_at) for document in documents]
    return reply_json(listed(shown, has_more=has_more))


async def download(house: House, request: web.BaseRequest, caller: Caller, file_id: str) -> web.StreamResponse:
    """`GET /v1/files/{id}/content`."""
    document = await owned(house, caller, file_id)
    record = file_of(document)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = record.size
    await response.prepare(request)
    async for part in content_of(house.store.shelf, file_id, record):
        await response.write(part)
    await response.write_eof()
    return response


async def delete(house: House, caller: Caller, file_id: str) -> web.Response:
    """`DELETE /v1/files/{id}`; not while a batch reads it."""
    await owned(house, caller, file_id)
    for batch in await house.store.shelf.pending(BATCH):
        if batch_of(batch).input_file_id == file_id:
            raise ClientFault(f"The batch {batch.id} reads this file.", status=CONFLICT, code="file_in_use")
    await house.store.shelf.remove(FILE, file_id)
    return reply_json({"id": file_id, "object": "file", "deleted": True})


async def owned(house: House, caller: Caller, file_id: str) -> Document:
    """A file of the caller's that is there as a whole. Raises `ClientFault` 404."""
    document = await house.store.shelf.get(FILE, file_id)
    if document is None or document.tenant != caller.tenant or document.pending:
        raise _unknown(file_id)
    return document


async def page_of(
    house: House,
    kind: str,
    tenant: TenantId,
    query: Mapping[str, str],
    is_wanted: Callable[[Document], bool] = lambda document: True,  # noqa: ARG005  the seam's own shape
) -> tuple[list[Document], bool]:
    """A page of a tenant's documents, and whether there are more. A larger limit than the largest is taken as that."""
    said = query.get("limit", str(LIMIT_DEFAULT))
    if not said.isdecimal() or int(said) < 1:
        raise ClientFault("limit must be 1 or more.", code="invalid_limit", param="limit")
    if query.get("order", NEWEST_FIRST) != NEWEST_FIRST:
        raise ClientFault(f"order must be {NEWEST_FIRST}: the newest first.", code="invalid_order", param="order")
    limit, after = min(int(said), LIMIT_MAX), query.get("after")
    found: list[Document] = []
    while len(found) <= limit:
        documents = await house.store.shelf.page(kind, tenant, after=after, limit=limit + 1)
        found += [document for document in documents if is_wanted(document)]
        if len(documents) <= limit:
            break
        after = documents[-1].id
    return found[:limit], len(found) > limit


def listed(shown: list[dict[str, object]], *, has_more: bool) -> dict[str, object]:
    """A page as OpenAI's clients know it."""
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": has_more,
    }


def _shown(house: House, file_id: str, record: FileRecord, created_at: float) -> dict[str, object]:
    return file_shown(file_id, record, created_at, created_at + house.virtual.retention_seconds)


def _document(file_id: str, tenant: TenantId, now: float, record: FileRecord, *, version: int) -> Document:
    return Document(FILE, file_id, tenant, version, version == 1, now, msgspec.json.encode(record))


def _unknown(file_id: str) -> ClientFault:
    return ClientFault(f"No such File object: {file_id[:80]}", status=NOT_FOUND, param="id")

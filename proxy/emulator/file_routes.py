"""The routes of files: upload, list, look, download, delete."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from proxy.emulator.errors import bad_request
from proxy.emulator.files import PURPOSES, Shelf
from proxy.emulator.limits import WindowCounter
from proxy.emulator.pace import Pace
from proxy.emulator.replies import ACCOUNT, limit_of, page, reply, send
from proxy.emulator.settings import Settings
from proxy.emulator.validation import check_expiry

CHUNK_BYTES = 64 * 1024
FIELD_BYTES_MAX = 4096
FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})
LIST_LIMIT = 10_000


class Form:
    """An upload as it arrives: fields by name, and the file, which goes to disk at once."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.path: Path | None = None
        self.size = 0

    def taken(self) -> Path:
        """Return where the file is, or refuse if there was none."""
        if self.path is None or not self.filename:
            raise bad_request("'file' is a required property", param="file")
        return self.path


class FileRoutes:
    """Handlers; all state is the shelf's."""

    def __init__(self, settings: Settings, pace: Pace, shelf: Shelf) -> None:
        self._settings = settings
        self._pace = pace
        self._shelf = shelf
        self._uploads = WindowCounter("file uploads per minute", settings.uploads_per_minute, 60 / settings.time_scale)

    async def upload(self, request: web.Request) -> web.Response:
        """`POST /v1/files`."""
        self._uploads.take(request[ACCOUNT], self._pace.now())
        form = Form()
        try:
            await self._receive(request, form)
            path = form.taken()
            keep_seconds = self._check(form)
        except BaseException:
            if form.path is not None:
                await self._shelf.discard(form.path)
            raise
        stored = self._shelf.add(
            request[ACCOUNT],
            path,
            filename=form.filename,
            purpose=form.fields["purpose"],
            size=form.size,
            at=self._pace.now(),
            keep_seconds=keep_seconds,
        )
        return reply(stored.shown())

    async def list(self, request: web.Request) -> web.Response:
        """`GET /v1/files`: after, limit, order, purpose."""
        order = request.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise bad_request("Invalid 'order': expected 'asc' or 'desc'.", param="order")
        found, has_more = await self._shelf.page(
            request[ACCOUNT],
            after=request.query.get("after"),
            limit=limit_of(request, LIST_LIMIT, LIST_LIMIT),
            newest_first=order == "desc",
            purpose=request.query.get("purpose"),
        )
        return reply(page([stored.shown() for stored in found], has_more=has_more))

    async def get(self, request: web.Request) -> web.Response:
        """`GET /v1/files/{id}`."""
        stored = await self._shelf.get(request[ACCOUNT], request.match_info["file"])
        return reply(stored.shown())

    async def download(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/files/{id}/content`."""
        stored = await self._shelf.get(request[ACCOUNT], request.match_info["file"])
        response = web.StreamResponse(headers={"content-type": "application/octet-stream"})
        response.content_length = stored.size
        return await send(request, response, self._shelf.read(stored), stored.size)

    async def delete(self, request: web.Request) -> web.Response:
        """`DELETE /v1/files/{id}`."""
        file_id = request.match_info["file"]
        await self._shelf.delete(request[ACCOUNT], file_id)
        return reply({"id": file_id, "object": "file", "deleted": True})

    async def _receive(self, request: web.Request, form: Form) -> None:
        if request.content_type != "multipart/form-data":
            raise bad_request("The request must be multipart/form-data.")
        try:
            async for part in await request.multipart():
                if not isinstance(part, aiohttp.BodyPartReader):
                    raise bad_request("Nested multipart is not supported.")
                await self._part(part, form)
        except (ValueError, aiohttp.ClientPayloadError) as error:
            raise bad_request("The multipart body is malformed.") from error

    async def _part(self, part: aiohttp.BodyPartReader, form: Form) -> None:
        if part.name == "file":
            if form.path is not None:
                raise bad_request("'file' was given twice.", param="file")
            form.filename = part.filename or ""
            form.path, form.size = await self._shelf.receive(_chunks(part))
            return
        if part.name not in FIELDS:
            raise bad_request(f"Unrecognized request argument supplied: {part.name}")
        raw = await part.read_chunk(FIELD_BYTES_MAX)
        form.fields[part.name] = raw.decode(errors="replace")

    def _check(self, form: Form) -> float | None:
        """Refuse what is wrong with an upload; return for how long it is kept, None: for good."""
        purpose = form.fields.get("purpose")
        if purpose is None:
            raise bad_request("'purpose' is a required property", param="purpose")
        if purpose not in PURPOSES:
            message = f"'{purpose}' is not one of {sorted(PURPOSES)} - 'purpose'"
            raise bad_request(message, param="purpose", code="invalid_value")
        if purpose == "batch" and not form.filename.endswith(".jsonl"):
            raise bad_request("Invalid file format for Batch API. Must be .jsonl", param="file")
        if form.size == 0:
            raise bad_request("File is empty.", param="file", code="empty_file")
        anchor, seconds = (form.fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
        if anchor is None and seconds is None:
            return self._settings.file_retention_seconds if purpose == "batch" else None
        number = int(seconds) if seconds is not None and seconds.isascii() and seconds.isdigit() else None
        return check_expiry("expires_after", {"anchor": anchor, "seconds": number})


async def _chunks(part: aiohttp.BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK_BYTES):
        yield chunk

"""OpenAI and whatever has its shape: synchronous calls, files and batches over aiohttp."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from proxy.domain.answer import Answer
from proxy.domain.credential import Auth
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.ids import UpstreamName
from proxy.domain.limits import RateReading
from proxy.domain.tier import Tier
from proxy.upstream.http import sendable, upstream_faults
from proxy.upstream.interface import BatchError, Call, Capabilities, ProviderBatch, ProviderFile
from proxy.wire.headers import forwarded_response_headers
from proxy.wire.limits import read_rate
from proxy.wire.usage import read_usage, served_tier

PAGE = 100
"""The largest page of the list routes."""
CHUNK_BYTES = 2**18
NOT_FOUND = 404
REFUSALS = frozenset({408, 409, 425, 429})
"""Statuses below 500 that say `not now` rather than `not like this`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One upstream account. `base_url` ends where a stock SDK's does, before `/chat/completions`.

    `headers` are added to every call. `call_seconds` bounds one synchronous call, `control_seconds` one call to the
    files or batches routes, `stall_seconds` the time in which nothing moves within an upload or a download, and
    `transfer_seconds` the whole of it.
    """

    name: UpstreamName
    base_url: str
    capabilities: Capabilities
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = 10.0
    call_seconds: float = 900.0
    control_seconds: float = 60.0
    stall_seconds: float = 120.0
    transfer_seconds: float = 3600.0


Shape = TypeVar("Shape")


class _Counts(msgspec.Struct):
    total: int | None = 0
    completed: int | None = 0
    failed: int | None = 0


class _Error(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Errors(msgspec.Struct):
    data: list[_Error] | None = None


class _Batch(msgspec.Struct):
    id: str
    status: str
    created_at: float = 0.0
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: _Counts | None = None
    errors: _Errors | list[_Error] | None = None
    metadata: dict[str, str] | None = None


class _File(msgspec.Struct):
    id: str
    filename: str = ""
    created_at: float = 0.0


class _BatchPage(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _FilePage(msgspec.Struct):
    data: list[_File]
    has_more: bool = False


class _ModelPage(msgspec.Struct):
    data: list[dict[str, object]]


class OpenAIUpstream:
    """An OpenAI-shaped account. `now` is the clock's wall time, for Retry-After dates."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, now: Callable[[], float]) -> None:
        self._settings = settings
        self._session = session
        self._now = now
        self._base = settings.base_url.rstrip("/")
        self._control = aiohttp.ClientTimeout(
            total=settings.control_seconds, sock_connect=settings.connect_seconds, sock_read=settings.control_seconds
        )
        self.relay_timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_seconds, sock_read=None)
        """For calls that are passed through: how long they take is between the client and the provider."""
        self._transfer = aiohttp.ClientTimeout(
            total=settings.transfer_seconds,
            sock_connect=settings.connect_seconds,
            sock_read=settings.stall_seconds,
        )
        self._calling = aiohttp.ClientTimeout(
            total=settings.call_seconds, sock_connect=settings.connect_seconds, sock_read=settings.call_seconds
        )

    def __repr__(self) -> str:
        return f"<OpenAIUpstream {self.name} {self._base}>"

    @property
    def name(self) -> UpstreamName:
        return self._settings.name

    @property
    def capabilities(self) -> Capabilities:
        return self._settings.capabilities

    @property
    def headers(self) -> Mapping[str, str]:
        """What the configuration adds to every call."""
        return self._settings.headers

    def url(self, raw_path: str) -> URL:
        """Where a client's `/v1/...` path (already percent-encoded, with its query) lives at this provider."""
        return URL(self._base + raw_path.removeprefix("/v1"), encoded=True)

    async def call(self, auth: Auth, endpoint: str, body: bytes, tier: Tier) -> Call:
        """Buy one answer at `tier`, which is named in the body unless it is the standard one."""
        payload = body if tier is Tier.STANDARD else _with_service_tier(body, tier)
        headers = [*self._base_headers(auth), ("Content-Type", "application/json")]
        async with (
            upstream_faults(f"POST {endpoint}"),
            self._session.post(
                self.url(endpoint), data=sendable(payload), headers=headers, timeout=self._calling
            ) as response,
        ):
            content = await response.read()
        raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
        kept = tuple(
            (name, value) for name, value in forwarded_response_headers(raw) if name.lower() != "content-length"
        )
        bought_at = served_tier(read_usage(content).service_tier)
        return Call(Answer(response.status, kept, content, bought_at), self._rate(response))

    async def list_models(self, auth: Auth) -> list[dict[str, object]]:
        """The models that the account may use, as the provider describes them."""
        return _decode(await self._ask("GET", "/v1/models", auth), _ModelPage).data

    async def upload(self, auth: Auth, name: str, size: int, lines: AsyncIterator[bytes], expires_seconds: int) -> str:
        """Stream a multipart upload of known length: memory stays flat whatever the size.

        Lines that are fewer or more bytes than `size` break the connection: the provider must not wait for the rest of
        a file that another replica has taken away meanwhile. The library's own timer starts when all is sent: that the
        provider takes no more of it is noticed here.
        """
        boundary = secrets.token_hex(16)
        fields = {
            "purpose": "batch",
            "expires_after[anchor]": "created_at",
            "expires_after[seconds]": str(expires_seconds),
        }
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        tail = f"\r\n--{boundary}--\r\n"
        headers = [
            *self._base_headers(auth),
            ("Content-Type", f"multipart/form-data; boundary={boundary}"),
            ("Content-Length", str(len(head) + size + len(tail))),
        ]
        stall_seconds = self._settings.stall_seconds
        async with (
            upstream_faults("POST /v1/files"),
            asyncio.timeout(stall_seconds) as stalled,
            self._session.post(
                self.url("/v1/files"),
                data=_taken(_framed(head.encode(), _of_size(lines, size), tail.encode()), stalled, stall_seconds),
                headers=headers,
                timeout=self._transfer,
            ) as response,
        ):
            return _decode(await self._checked(response, "POST /v1/files"), _File).id

    async def create(self, auth: Auth, input_file_id: str, endpoint: str, metadata: Mapping[str, str]) -> ProviderBatch:
        """Create the job with the configured completion window."""
        body = {
            "input_file_id": input_file_id,
            "endpoint": endpoint,
            "completion_window": self.capabilities.window,
            "metadata": dict(metadata),
        }
        content = await self._ask("POST", "/v1/batches", auth, msgspec.json.encode(body))
        return _provider_batch(_decode(content, _Batch))

    async def retrieve(self, auth: Auth, provider_id: str) -> ProviderBatch:
        """One job."""
        return _provider_batch(_decode(await self._ask("GET", f"/v1/batches/{provider_id}", auth), _Batch))

    async def cancel(self, auth: Auth, provider_id: str) -> ProviderBatch:
        """Ask for cancellation."""
        content = await self._ask("POST", f"/v1/batches/{provider_id}/cancel", auth, b"{}")
        return _provider_batch(_decode(content, _Batch))

    async def list_batches(self, auth: Auth) -> AsyncIterator[ProviderBatch]:
        """Page through the account's jobs, newest first."""
        after = ""
        while True:
            page = _decode(await self._ask("GET", f"/v1/batches?limit={PAGE}{after}", auth), _BatchPage)
            for batch in page.data:
                yield _provider_batch(batch)
            if not page.has_more or not page.data:
                return
            after = f"&after={page.data[-1].id}"

    async def list_files(self, auth: Auth) -> AsyncIterator[ProviderFile]:
        """Page through the account's batch input files."""
        after = ""
        while True:
            page = _decode(await self._ask("GET", f"/v1/files?purpose=batch&limit={PAGE}{after}", auth), _FilePage)
            for file in page.data:
                yield ProviderFile(file.id, file.filename, file.created_at)
            if not page.has_more or not page.data:
                return
            after = f"&after={page.data[-1].id}"

    async def download(self, auth: Auth, file_id: str) -> AsyncIterator[bytes]:
        """Stream a file's lines. A last line without a newline comes without it."""
        what = f"GET /v1/files/{file_id}/content"
        async with (
            upstream_faults(what),
            self._session.get(
                self.url(f"/v1/files/{file_id}/content"),
                headers=[*self._base_headers(auth), ("Accept-Encoding", "identity")],
                timeout=self._transfer,
            ) as response,
        ):
            if response.status >= 400:  # noqa: PLR2004  HTTP's border
                await self._checked(response, what)
            rest = b""
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line + b"\n"
            if rest:
                yield rest

    async def delete_file(self, auth: Auth, file_id: str) -> None:
        """Delete; 404 is fine."""
        try:
            await self._ask("DELETE", f"/v1/files/{file_id}", auth)
        except UpstreamFault as fault:
            if fault.status != NOT_FOUND:
                raise

    async def _ask(self, method: str, path: str, auth: Auth, body: bytes | None = None) -> bytes:
        headers = self._base_headers(auth)
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        what = f"{method} {path.partition('?')[0]}"
        async with (
            upstream_faults(what),
            self._session.request(
                method, self.url(path), data=body, headers=headers, timeout=self._control
            ) as response,
        ):
            return await self._checked(response, what)

    async def _checked(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        content = await response.read()
        if response.status < 400:  # noqa: PLR2004  HTTP's border
            return content
        refused = response.status in REFUSALS
        retry = Retry.LATER if refused else Retry.UNKNOWN_IF_BILLED if response.status >= 500 else Retry.NEVER  # noqa: PLR2004
        code, message = _error_of(content)
        raise UpstreamFault(
            f"{what}: {response.status} {message}",
            retry=retry,
            status=response.status,
            code=code,
            body=content,
            after_seconds=self._rate(response).retry_after_seconds,
        )

    def _rate(self, response: aiohttp.ClientResponse) -> RateReading:
        return read_rate(response.headers, now=self._now())

    def _base_headers(self, auth: Auth) -> list[tuple[str, str]]:
        return [*self._settings.headers.items(), *auth.headers, ("Accept", "application/json")]


class _ErrorBody(msgspec.Struct):
    error: _Error | None = None


def _error_of(content: bytes) -> tuple[str | None, str]:
    try:
        error = msgspec.json.decode(content, type=_ErrorBody).error
    except msgspec.MsgspecError:
        error = None
    if error is None:
        return None, content[:200].decode("utf-8", "replace")
    return error.code, error.message or ""


def _decode(content: bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.MsgspecError as error:
        raise UpstreamFault(
            f"the provider's answer makes no sense: {error}", retry=Retry.UNKNOWN_IF_BILLED, body=content[:1000]
        ) from error


def _provider_batch(batch: _Batch) -> ProviderBatch:
    counts = batch.request_counts or _Counts()
    errors = batch.errors.data or [] if isinstance(batch.errors, _Errors) else batch.errors or []
    return ProviderBatch(
        id=batch.id,
        status=batch.status.lower(),
        output_file_id=batch.output_file_id or None,
        error_file_id=batch.error_file_id or None,
        total_lines=counts.total or 0,
        completed_lines=counts.completed or 0,
        failed_lines=counts.failed or 0,
        created_at=batch.created_at,
        errors=tuple(BatchError(e.code or "unknown", e.message or "", e.line) for e in errors),
        metadata=batch.metadata or {},
    )


def _with_service_tier(body: bytes, tier: Tier) -> bytes:
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields["service_tier"] = msgspec.Raw(msgspec.json.encode(tier.value))
    return msgspec.json.encode(fields)


async def _of_size(lines: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    sent = 0
    async for line in lines:
        sent += len(line)
        if sent > size:
            break
        yield line
    if sent != size:
        raise aiohttp.ClientPayloadError(f"the file was to have {size} bytes and has {sent}")


async def _taken(chunks: AsyncIterator[bytes], stalled: asyncio.Timeout, seconds: float) -> AsyncIterator[bytes]:
    """The chunks. Each one that is asked for puts off the end of patience, unless the answer is there already."""
    loop = asyncio.get_running_loop()
    async for chunk in chunks:
        with suppress(RuntimeError):
            stalled.reschedule(loop.time() + seconds)
        yield chunk


async def _framed(head: bytes, lines: AsyncIterator[bytes], tail: bytes) -> AsyncIterator[bytes]:
    """Head, lines and tail, gathered into chunks: one write per line would cost more than the line."""
    gathered = bytearray(head)
    async for line in lines:
        gathered += line
        if len(gathered) >= CHUNK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    gathered += tail
    yield bytes(gathered)

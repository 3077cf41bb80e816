"""The seam to a provider: what it sells, and how each thing is bought.

Every method raises `UpstreamFault` and nothing else for whatever goes wrong outside; `fault.retry` says whether the
same call may be made again. An adapter never retries by itself.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from proxy.domain.answer import Answer
from proxy.domain.credential import Auth
from proxy.domain.ids import UpstreamName
from proxy.domain.limits import RateReading
from proxy.domain.tier import Tier


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an upstream sells, and the limits of its batches.

    `refuses` are top-level body fields that its batches do not take. `window` is the completion window as the provider
    spells it, `window_seconds` how long that is. `enqueued_tokens_max` is how many tokens of one model all unfinished
    batches together may have, None when that is not known. `capacity` is how many synchronous calls at once the
    upstream serves well, None when that is not known.
    """

    batch: bool
    flex: bool
    endpoints: frozenset[str]
    lines_max: int
    bytes_max: int
    window: str
    window_seconds: float
    refuses: frozenset[str]
    enqueued_tokens_max: int | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class BatchError:
    """Why a batch failed validation. `line` counts from 1; None when it is not about one line."""

    code: str
    message: str
    line: int | None


@dataclass(frozen=True, slots=True)
class ProviderBatch:
    """The provider's own account of a job. File ids are None where it has no such file."""

    id: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    total_lines: int
    completed_lines: int
    failed_lines: int
    created_at: float
    errors: tuple[BatchError, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderFile:
    """A file in the provider's storage."""

    id: str
    name: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Call:
    """A synchronous purchase: the answer and what it said about rate limits."""

    answer: Answer
    rate: RateReading


class Upstream(Protocol):
    """A configured provider account that sells synchronous calls."""

    @property
    def name(self) -> UpstreamName: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def call(self, auth: Auth, endpoint: str, body: bytes, tier: Tier) -> Call:
        """Buy one answer synchronously. Any HTTP status is an answer; only a missing one is a fault."""


@runtime_checkable
class BatchUpstream(Upstream, Protocol):
    """An account that sells batches too."""

    async def upload(self, auth: Auth, name: str, size: int, lines: AsyncIterator[bytes], expires_seconds: int) -> str:
        """Store a batch's input file of exactly `size` bytes; returns the provider's file id."""

    async def create(self, auth: Auth, input_file_id: str, endpoint: str, metadata: Mapping[str, str]) -> ProviderBatch:
        """Start the job."""

    async def retrieve(self, auth: Auth, provider_id: str) -> ProviderBatch:
        """Ask how the job is doing."""

    async def cancel(self, auth: Auth, provider_id: str) -> ProviderBatch:
        """Ask the provider to stop; finished lines stay bought."""

    def list_batches(self, auth: Auth) -> AsyncIterator[ProviderBatch]:
        """The account's jobs, newest first."""

    def download(self, auth: Auth, file_id: str) -> AsyncIterator[bytes]:
        """A file's lines, each with its newline; a transfer that breaks off raises, it never ends early."""

    async def delete_file(self, auth: Auth, file_id: str) -> None:
        """Delete a file. One that is not there is as good as deleted."""

    def list_files(self, auth: Auth) -> AsyncIterator[ProviderFile]:
        """The account's batch input files."""

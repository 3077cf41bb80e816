"""What clients keep here: documents that the store does not read, each with any number of parts.

A document is changed by compare-and-set on its version, so that of two who change it one is told that he was late. A
part is written before the document that speaks of it: one that nobody speaks of does no harm, and writing the same
part again replaces it. The promises of `proxy.store.interface` hold here too.
"""

from dataclasses import dataclass
from typing import Protocol

from proxy.domain.ids import TenantId


@dataclass(frozen=True, slots=True)
class Document:
    """`version` counts its changes from 1. `pending`: there is still something to do about it."""

    kind: str
    id: str
    tenant: TenantId
    version: int
    pending: bool
    created_at: float
    content: bytes


class Shelf(Protocol):
    """Documents and their parts."""

    async def put(self, document: Document) -> bool:
        """Write a document whose stored version is the one before (none for version 1). False: it is not, and nothing
        is written.
        """

    async def get(self, kind: str, document_id: str) -> Document | None:
        """One document, None when it is unknown."""

    async def page(self, kind: str, tenant: TenantId, *, after: str | None, limit: int) -> list[Document]:
        """A tenant's documents, newest first, starting behind `after`."""

    async def pending(self, kind: str) -> list[Document]:
        """Everybody's pending documents, oldest first."""

    async def stale(self, kind: str, *, created_before: float, limit: int) -> list[Document]:
        """Everybody's documents that were created before the instant and are not pending, oldest first."""

    async def remove(self, kind: str, document_id: str) -> None:
        """Delete a document and its parts; an unknown one is fine."""

    async def put_part(self, document_id: str, number: int, content: bytes) -> None:
        """Write one part of a document."""

    async def part(self, document_id: str, number: int) -> bytes | None:
        """One part, None when there is no such."""

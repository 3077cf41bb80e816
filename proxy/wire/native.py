"""Batches that clients make by hand: which of them have ended, and what they say that they used."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from proxy.domain.money import Usage
from proxy.wire.usage import read_usage

ENDED = frozenset({"completed", "expired", "cancelled"})
"""A `failed` batch has done nothing."""
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """A batch at its end. `model` and `usage` are None where the provider does not say."""

    id: str
    endpoint: str
    model: str | None
    usage: Usage | None
    metadata: Mapping[str, object]


class _Seen(msgspec.Struct, rename={"kind": "object"}):
    kind: str = ""
    id: str = ""
    status: str = ""
    endpoint: str = ""
    metadata: Mapping[str, object] | None = None


class _Page(msgspec.Struct, rename={"kind": "object"}):
    kind: str = ""
    data: list[msgspec.Raw] = []


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_batch = msgspec.json.Decoder(_Seen).decode


def read_ended(content: bytes) -> list[EndedBatch]:
    """The batches of an answer, one or a page of them, that have ended. Never raises: what makes no sense is none."""
    try:
        page = _decode_page(content)
    except _UNREADABLE:
        return []
    found = (_read(one) for one in (page.data if page.kind == "list" else [content]))
    return [batch for batch in found if batch is not None]


def _read(content: bytes | msgspec.Raw) -> EndedBatch | None:
    try:
        seen = _decode_batch(content)
    except _UNREADABLE:
        return None
    if seen.kind != "batch" or not seen.id or seen.status not in ENDED:
        return None
    reading = read_usage(bytes(content))
    return EndedBatch(seen.id, seen.endpoint, reading.model, reading.usage, seen.metadata or {})

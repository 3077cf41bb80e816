"""What a JSON body says that the decision needs, read in one lenient pass. Judging the body is upstream's business."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from proxy.domain.errors import ClientFault

BYTES_PER_TOKEN = 4
OWN_METADATA = ("deadline", "priority")
_POSITION = re.compile(r"\(byte (\d+)\)")


@dataclass(frozen=True, slots=True)
class BodyHints:
    """The fields that matter here. One that is absent or of another type than it should be is None or False.

    `metadata_deadline` and `metadata_priority` are Standby's own words; `metadata` has every string value.
    """

    model: str | None = None
    stream: bool = False
    include_usage: bool = False
    service_tier: str | None = None
    metadata_deadline: str | int | None = None
    metadata_priority: str | int | None = None
    has_tools: bool = False
    max_output_tokens: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class _Loose(msgspec.Struct):
    """Every wanted field as raw bytes: a wrong type is then no error."""

    model: msgspec.Raw = msgspec.Raw()
    stream: msgspec.Raw = msgspec.Raw()
    stream_options: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    max_tokens: msgspec.Raw = msgspec.Raw()
    max_completion_tokens: msgspec.Raw = msgspec.Raw()
    max_output_tokens: msgspec.Raw = msgspec.Raw()


_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_hints(body: bytes) -> BodyHints:
    """Read the hints. Raises `ClientFault` 400 for a body that is not JSON, or not an object."""
    try:
        loose = _decode_loose(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _no_json(body, error) from error
    metadata = _value(loose.metadata)
    tools = _value(loose.tools)
    options = _value(loose.stream_options)
    words = metadata if isinstance(metadata, dict) else {}
    return BodyHints(
        model=_text(_value(loose.model)),
        stream=_value(loose.stream) is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        service_tier=_text(_value(loose.service_tier)),
        metadata_deadline=_word(words.get("deadline")),
        metadata_priority=_word(words.get("priority")),
        has_tools=isinstance(tools, list) and bool(tools),
        max_output_tokens=_first_count(loose.max_output_tokens, loose.max_completion_tokens, loose.max_tokens),
        metadata={name: value for name, value in words.items() if isinstance(value, str)},
    )


def without_own_metadata(body: bytes) -> bytes:
    """The body without `metadata.deadline` and `metadata.priority`; the very same object when they are not there.

    Every other value keeps its bytes and every field its place; white space between top-level fields is lost, and a
    `metadata` that is left empty goes too.
    """
    fields = _decode_fields(body)
    metadata = _value(fields.get("metadata", msgspec.Raw()))
    if not isinstance(metadata, dict) or not any(name in metadata for name in OWN_METADATA):
        return body
    kept = {name: raw for name, raw in _decode_fields(fields["metadata"]).items() if name not in OWN_METADATA}
    if kept:
        fields["metadata"] = msgspec.Raw(msgspec.json.encode(kept))
    else:
        del fields["metadata"]
    return msgspec.json.encode(fields)


def estimate_tokens(body: bytes) -> int:
    """The prompt's size, roughly: a token for every four bytes of the whole body, at least one.

    English runs at about four characters a token; the JSON around the text makes this an over-estimate for short
    prompts, which is the safe side for a budget.
    """
    return max(1, math.ceil(len(body) / BYTES_PER_TOKEN))


def _no_json(body: bytes, error: Exception) -> ClientFault:
    position = _POSITION.search(str(error))
    where = f" at byte {position[1]}" if position else ""
    if body.lstrip()[:1] not in (b"{", b""):
        return ClientFault("The body must be a JSON object.", code="invalid_json")
    return ClientFault(f"We could not parse the JSON body of your request{where}: {error}.", code="invalid_json")


def _value(raw: msgspec.Raw) -> object:
    """The value behind raw bytes; None for an absent field and for what cannot be decoded (a lone surrogate)."""
    if not bytes(raw):
        return None
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _word(value: object) -> str | int | None:
    if isinstance(value, bool):
        return None
    return value if isinstance(value, str | int) else None


def _first_count(*raws: msgspec.Raw) -> int | None:
    for raw in raws:
        value = _value(raw)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None

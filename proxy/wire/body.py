"""What a JSON body says that the decision needs, read in one lenient pass. Judging the body is upstream's business.

On the way of every urgent call, so the reading is measured: 1.5 kB in about 2 us, 100 kB in about 30 us, most of which
is the JSON parser skipping what is not wanted. That is why the hints are a `msgspec.Struct` and no dataclass: building
a frozen dataclass of nine fields took longer than parsing the body.

A body is JSON in UTF-8 as of RFC 8259, without a byte order mark; half a surrogate pair is no string. Of a key that
comes twice the last one counts, as in every common parser; rewriting a body keeps only that one.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import msgspec

from proxy.domain.errors import ClientFault

BYTES_PER_TOKEN = 4
OWN_METADATA = ("deadline", "priority")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FILLED_ARRAY = re.compile(rb"\[\s*[^\]\s]")
_HALF_PAIR = re.compile(
    rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\)(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


class BodyHints(msgspec.Struct, frozen=True):
    """The fields that matter here. One that is absent or of another type than it should be is None or False.

    `metadata_deadline` and `metadata_priority` are Standby's own words. One that is neither string nor whole number is
    given as its JSON text, so that it can be refused by name; null is silence. `metadata` has every string value.
    """

    model: str | None = None
    stream: bool = False
    include_usage: bool = False
    service_tier: str | None = None
    metadata_deadline: str | int | None = None
    metadata_priority: str | int | None = None
    has_tools: bool = False
    max_output_tokens: int | None = None
    metadata: Mapping[str, str] = {}


class _Wanted(msgspec.Struct):
    """The wanted fields, of any type; `tools` may be long, and only whether there are some matters."""

    model: object = None
    stream: object = None
    stream_options: object = None
    service_tier: object = None
    metadata: object = None
    tools: msgspec.Raw = msgspec.Raw()
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None


_decode_wanted = msgspec.json.Decoder(_Wanted).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_digits = msgspec.json.Decoder(dict[str, object], float_hook=Decimal).decode
_encode_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def read_hints(body: bytes) -> BodyHints:
    """Read the hints. Raises `ClientFault` 400 for a body that is not JSON, or not an object."""
    try:
        wanted = _decode_wanted(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from error
    words, options = wanted.metadata, wanted.stream_options
    if not isinstance(words, dict):
        words = {}
    return BodyHints(
        model=_text(wanted.model),
        stream=wanted.stream is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        service_tier=_text(wanted.service_tier),
        metadata_deadline=_word(words.get("deadline")),
        metadata_priority=_word(words.get("priority")),
        has_tools=_FILLED_ARRAY.match(wanted.tools) is not None,
        max_output_tokens=_first_count(wanted.max_output_tokens, wanted.max_completion_tokens, wanted.max_tokens),
        metadata={name: value for name, value in words.items() if isinstance(value, str)},
    )


def top_level_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a body, each value in its own bytes. Raises `ClientFault` 400 where `read_hints` would."""
    try:
        return _decode_fields(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from error


def without_own_metadata(body: bytes) -> bytes:
    """The body without `metadata.deadline` and `metadata.priority`; the very same object when they are not there.

    Every other value keeps its bytes and every field its place; white space between top-level fields is lost, and a
    `metadata` that is left empty goes too. Raises `ClientFault` 400 for what is no JSON object.
    """
    fields = top_level_fields(body)
    metadata = bytes(fields.get("metadata", b""))
    if not metadata.startswith(b"{"):
        return body
    words = top_level_fields(metadata)
    if not any(name in words for name in OWN_METADATA):
        return body
    kept = {name: value for name, value in words.items() if name not in OWN_METADATA}
    if kept:
        fields["metadata"] = msgspec.Raw(msgspec.json.encode(kept))
    else:
        del fields["metadata"]
    return msgspec.json.encode(fields)


def fingerprint(body: bytes) -> bytes:
    """The SHA-256 of what the body says: the same for any order of keys, white space and spelling of strings.

    Standby's own metadata is no part of it. Numbers are what is written: 1, 1.0 and "1" are three values. Raises
    `ClientFault` 400 for what is no JSON object.
    """
    try:
        content = _decode_digits(without_own_metadata(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidOperation) as error:
        raise not_json(body, error) from error
    return hashlib.sha256(_encode_sorted(content)).digest()


def estimate_tokens(body: bytes) -> int:
    """The prompt's size, roughly: a token for every four bytes of the whole body, at least one.

    English runs at about four characters a token; the JSON around the text makes this an over-estimate for short
    prompts, which is the safe side for a budget.
    """
    return max(1, math.ceil(len(body) / BYTES_PER_TOKEN))


def not_json(body: bytes, error: Exception) -> ClientFault:
    """What to tell the client of a body that `error` was raised for."""
    return ClientFault(_complaint(body, error), code="invalid_json")


def _complaint(body: bytes, error: Exception) -> str:
    if body.startswith(BYTE_ORDER_MARK):
        return "The body must not begin with a byte order mark."
    first = body.lstrip()[:1]
    if not first:
        return "The body is empty; it must be a JSON object."
    if first != b"{":
        return "The body must be a JSON object."
    if isinstance(error, RecursionError):
        return "The JSON body of your request is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return "The JSON body of your request is not UTF-8."
    if _HALF_PAIR.search(body):
        return "The JSON body of your request has half a surrogate pair in a string, such as a cut emoji."
    return f"We could not parse the JSON body of your request: {error}."


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _word(value: object) -> str | int | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return msgspec.json.encode(value).decode()


def _first_count(*values: object) -> int | None:
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None

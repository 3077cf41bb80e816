"""What an answer says that it cost: tokens, model and service tier, for every endpoint that sells tokens."""

from dataclasses import dataclass

import msgspec

from proxy.domain.money import Usage
from proxy.domain.tier import Tier

_TIERS = {"flex": Tier.FLEX, "priority": Tier.PRIORITY, "fast": Tier.PRIORITY, "ultrafast": Tier.PRIORITY}
_DATA = b"data:"
_DONE = b"[DONE]"
_USAGE_KEY = b'"usage"'
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_TOKENS_MAX = 10**12
"""More than any answer can have cost: a count beyond it is nonsense."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read; None where the answer does not say."""

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None


class _Body(msgspec.Struct):
    """A complete answer, or a chunk of a chat stream. A field of an unexpected type is as good as absent."""

    usage: object = None
    model: object = None
    service_tier: object = None


class _Event(_Body):
    """An event of a stream: those of the responses API carry a whole response."""

    response: _Body | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def read_usage(body: bytes) -> Reading:
    """Read a complete JSON answer. Never raises: what makes no sense was not said."""
    try:
        return _reading(_decode_body(body))
    except _UNREADABLE:
        return Reading()


def read_stream_usage(tail: bytes) -> Reading:
    """Read the last bytes of a server-sent event stream; its beginning may be cut off. Never raises.

    The usage is in the last event that has one; model and tier may be in another.
    """
    found = Reading()
    has_usage = _USAGE_KEY in tail
    for line in reversed(tail.split(b"\n")):
        if not line.startswith(_DATA):
            continue
        content = line[len(_DATA) :].strip()
        if content == _DONE:
            continue
        reading = _event(content)
        found = Reading(
            found.usage or reading.usage, found.model or reading.model, found.service_tier or reading.service_tier
        )
        if found.model is not None and (found.usage is not None or not has_usage):
            return found
    return found


def served_tier(service_tier: str | None) -> Tier:
    """The tier behind the provider's word. Silence, `auto`, `default` and `scale` are the standard tier."""
    return _TIERS.get(service_tier or "", Tier.STANDARD)


def _event(content: bytes) -> Reading:
    try:
        event = _decode_event(content)
    except _UNREADABLE:
        return Reading()
    return _reading(event.response or event)


def _reading(body: _Body) -> Reading:
    return Reading(_usage(body.usage), _word(body.model), _word(body.service_tier))


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _usage(said: object) -> Usage | None:
    """The responses API says input and output, the older ones prompt and completion. Cached tokens are input tokens."""
    if not isinstance(said, dict):
        return None
    given = _count(said, "input_tokens", "prompt_tokens")
    if given is None:
        return None
    made = _count(said, "output_tokens", "completion_tokens") or 0
    details = said.get("input_tokens_details") or said.get("prompt_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
    return Usage(given, made, min(cached or 0, given))


def _count(said: dict[object, object], *names: str) -> int | None:
    """The first of the names that is a possible number of tokens."""
    for name in names:
        value = said.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _TOKENS_MAX:
            return value
    return None

"""What an answer says that it cost: tokens, model and service tier, for every endpoint that sells tokens."""

from dataclasses import dataclass

import msgspec

from proxy.domain.money import Usage
from proxy.domain.tier import Tier

_TIERS = {"flex": Tier.FLEX, "priority": Tier.PRIORITY, "fast": Tier.PRIORITY, "ultrafast": Tier.PRIORITY}
_DATA = b"data:"
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read; None where the answer does not say."""

    usage: Usage | None = None
    model: str | None = None
    service_tier: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


class _Body(msgspec.Struct):
    usage: _Usage | None = None
    model: str | None = None
    service_tier: str | None = None


class _Event(msgspec.Struct):
    """A stream's event: chat chunks carry the fields themselves, responses events carry a whole response."""

    usage: _Usage | None = None
    model: str | None = None
    service_tier: str | None = None
    response: _Body | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def read_usage(body: bytes) -> Reading:
    """Read a complete JSON answer. Never raises: what makes no sense was not said."""
    try:
        return _reading(_decode_body(body))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Reading()


def read_stream_usage(tail: bytes) -> Reading:
    """Read the last bytes of a server-sent event stream; its beginning may be cut off. Never raises.

    The usage is in the last event that has one; model and tier may be in another.
    """
    found = Reading()
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
        if found.usage is not None and found.model is not None:
            return found
    return found


def served_tier(service_tier: str | None) -> Tier:
    """The tier behind the provider's word. Silence, `auto`, `default` and `scale` are the standard tier."""
    return _TIERS.get(service_tier or "", Tier.STANDARD)


def _event(content: bytes) -> Reading:
    try:
        event = _decode_event(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Reading()
    return _reading(event.response or _Body(event.usage, event.model, event.service_tier))


def _reading(body: _Body) -> Reading:
    return Reading(_usage(body.usage), body.model, body.service_tier)


def _usage(counted: _Usage | None) -> Usage | None:
    if counted is None:
        return None
    given = counted.prompt_tokens if counted.input_tokens is None else counted.input_tokens
    made = counted.completion_tokens if counted.output_tokens is None else counted.output_tokens
    if given is None or given < 0:
        return None
    details = counted.input_tokens_details or counted.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    return Usage(given, max(0, made or 0), min(max(0, cached), given))

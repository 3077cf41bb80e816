"""Rate-limit headers, as OpenAI and those who follow it send them."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from proxy.domain.limits import RateReading

_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9}
_GO_PART = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(ms|us|\u00b5s|\u03bcs|ns|h|m|s)", re.ASCII)
_GO_WHOLE = re.compile(rf"(?:{_GO_PART.pattern})+", re.ASCII)
_ENQUEUED = re.compile(r"limit:\s*(\d[\d,]{0,18})\s*enqueued tokens", re.ASCII | re.IGNORECASE)
_DIGITS_MAX = 15


def read_rate(headers: Mapping[str, str], *, now: float) -> RateReading:
    """The limits that an answer tells of. `headers` must ignore case. Nonsense reads as silence."""
    return RateReading(
        limit_requests=_count(headers.get("x-ratelimit-limit-requests")),
        remaining_requests=_count(headers.get("x-ratelimit-remaining-requests")),
        reset_requests_seconds=go_duration(headers.get("x-ratelimit-reset-requests")),
        limit_tokens=_count(headers.get("x-ratelimit-limit-tokens")),
        remaining_tokens=_count(headers.get("x-ratelimit-remaining-tokens")),
        reset_tokens_seconds=go_duration(headers.get("x-ratelimit-reset-tokens")),
        retry_after_seconds=_retry_after(headers, now),
    )


def enqueued_limit(message: str) -> int | None:
    """The limit that a refusal for too many enqueued tokens names, such as `... Limit: 90,000 enqueued tokens.`"""
    found = _ENQUEUED.search(message)
    return int(found[1].replace(",", "")) or None if found else None


def go_duration(text: str | None) -> float | None:
    """Seconds of a Go-style duration (`1s`, `6m0s`, `12ms`, `1h2m`); a bare number is seconds. None for all else."""
    if text is None:
        return None
    text = text.strip()
    bare = _number(text)
    if bare is not None:
        return bare
    if not _GO_WHOLE.fullmatch(text):
        return None
    return sum(float(amount) * _GO_UNITS[unit] for amount, unit in _GO_PART.findall(text))


def _count(text: str | None) -> int | None:
    """A whole number that is not negative: Azure has answered -1."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > _DIGITS_MAX:
        return None
    return int(text)


def _number(text: str) -> float | None:
    if not text.isascii() or not text.replace(".", "", 1).isdecimal() or len(text) > _DIGITS_MAX:
        return None
    return float(text)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`retry-after-ms`, else `retry-after` as seconds or as an HTTP date."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    return _until_date(text, now) if seconds is None else seconds


def _until_date(text: str, now: float) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now)

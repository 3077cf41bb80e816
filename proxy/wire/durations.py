"""Durations as people write them: `90s`, `15m`, `1h30m`, `2d`, `250ms`, or a bare number of seconds."""

import re

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[smhdw])", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_BARE = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)
DURATION = r"[0-9]{1,9}(?:\.[0-9]{1,6})?|(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:[mM][sS]|[smhdwSMHDW]))+"  # in every dialect
"""What `parse_duration` takes, as a pattern for a schema."""


def parse_duration(text: str) -> float | None:
    """Seconds, or None when the text is no duration. A bare number counts seconds.

    Case does not matter, so `M` are minutes. Ten digits and more are no duration: they look like an instant.
    """
    text = text.strip().lower()
    if _BARE.fullmatch(text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        return None
    return sum(float(amount) * _UNIT_SECONDS[unit] for amount, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """A text that `parse_duration` reads back to the same number of whole milliseconds. `seconds` is not negative."""
    left = round(seconds * 1000)
    if left < 0:
        raise ValueError(f"{seconds} s is no duration")
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"

"""Times of day and weekdays, as policies write them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Annotated

from proxy.routing.shape import Shape

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_DAYS = "mon|tue|wed|thu|fri|sat|sun"
_HOURS = re.compile(rf"({_CLOCK})-({_CLOCK}|24:00)")
_LOCAL = re.compile(rf"(?:({_DAYS})(?: ({_CLOCK}))?|({_CLOCK}))")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}.*(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
_MONDAY = datetime(2025, 1, 6, tzinfo=UTC)
"""The week of local times without a date: no zone changes its clocks in it."""
_NOON = "12:00"


class Weekday(StrEnum):
    """Days as policies write them, in the order of `datetime.weekday`."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


Hours = Annotated[str, Shape("Written 22:00-06:00; the day ends at 24:00.", _HOURS.pattern)]
At = Annotated[
    str,
    Shape(
        "A local time (mon 23:00; without a day: Monday; without a time: noon), or an instant with its zone "
        "(2026-11-23T23:00:00Z).",
        f"{_LOCAL.pattern}|{_INSTANT.pattern}",
    ),
]


def read_hours(hours: str) -> tuple[time, time]:
    """Begin and end; the end of the day is its beginning. Raises ValueError for what is no span."""
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise ValueError(f"hours: {hours!r} is no span of time; write 22:00-06:00")
    begin, end = (time.fromisoformat("00:00" if part == "24:00" else part) for part in found.groups())
    if begin == end:
        raise ValueError(f"hours: {hours!r} is the whole day or nothing of it; leave it out for the whole day")
    return begin, end


def is_within(now: time, begin: time, end: time) -> bool:
    """Whether a time of day is in a span, which may pass midnight."""
    return begin <= now < end if begin < end else now >= begin or now < end


def read_at(at: str) -> Callable[[tzinfo], datetime]:
    """What an `At` means in a zone. Raises ValueError for what is none."""
    local = _LOCAL.fullmatch(at)
    if local is not None:
        day, day_clock, clock = local.groups()
        date = _MONDAY + timedelta(days=list(Weekday).index(Weekday(day)) if day else 0)
        then = datetime.combine(date, time.fromisoformat(day_clock or clock or _NOON))
        return lambda zone: then.replace(tzinfo=zone)
    try:
        instant = datetime.fromisoformat(at.upper()) if _INSTANT.fullmatch(at) else None
    except ValueError:
        instant = None
    if instant is None:
        raise ValueError(f"at: {at!r} is no time; write mon 23:00, 23:00 or 2026-11-23T23:00:00Z")
    return instant.astimezone

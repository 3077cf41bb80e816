"""Spans of time as a person says them, and the days and months in them, in a time zone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum

from proxy.wire.durations import parse_duration

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Unit(StrEnum):
    """What a span is divided into."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Period:
    """A day, `2026-11-25`, or a month, `2026-11`, or what of it is in a span: `since <= instant < until`."""

    label: str
    since: float
    until: float


def instant(text: str, now: float, zone: tzinfo, *, ends: bool) -> float:
    """A date (its beginning, or its end where a span `ends`), a timestamp, or a duration before now, in unix seconds.

    Raises ValueError for anything else, saying what would be right.
    """
    try:
        if _DATE.fullmatch(text):
            return midnight(date.fromisoformat(text) + timedelta(days=ends), zone)
        ago_seconds = parse_duration(text)
        if ago_seconds is not None:
            return datetime.fromtimestamp(now - ago_seconds, zone).timestamp()
        said = datetime.fromisoformat(text)
        return (said if said.tzinfo else said.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no instant; write a date such as 2026-11-25, a timestamp such as 2026-11-25T06:00, or how "
            "long ago it is, such as 36h"
        ) from None


def midnight(day: date, zone: tzinfo) -> float:
    """When a day begins, in unix seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def day_of(at: float, zone: tzinfo) -> date:
    """The day that an instant is in."""
    return datetime.fromtimestamp(at, zone).date()


def periods(since: float, until: float, unit: Unit, zone: tzinfo) -> Iterator[Period]:
    """Every day or month that has a part in a span, the first and the last cut to it."""
    first = day_of(since, zone)
    begins = first if unit is Unit.DAY else first.replace(day=1)
    begins_at = since
    while begins_at < until:
        ends = _next(begins, unit)
        ends_at = min(until, midnight(ends, zone))
        if ends_at > begins_at:  # a zone that has crossed the date line has left a day out
            yield Period(begins.isoformat() if unit is Unit.DAY else begins.isoformat()[:7], begins_at, ends_at)
        begins, begins_at = ends, ends_at


def _next(begins: date, unit: Unit) -> date:
    if unit is Unit.DAY:
        return begins + timedelta(days=1)
    return (begins + timedelta(days=31)).replace(day=1)

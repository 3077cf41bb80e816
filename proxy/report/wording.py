"""Figures for a person: dollars, durations, times of day. What is not there is a dash."""

from datetime import datetime, tzinfo
from decimal import Decimal

DASH = "-"
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def places_for(largest: Decimal) -> int:
    """How many decimal places of dollars are worth showing beside an amount of this size."""
    return 2 if largest >= 1000 else 4 if largest >= 1 else 6  # noqa: PLR2004  thousands of dollars, and less than one


def dollars(amount: Decimal | None, places: int = 6) -> str:
    """`$1,234.50`, `-$0.25`, or a dash."""
    if amount is None:
        return DASH
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{places}f}"


def percent(share: Decimal | None) -> str:
    """`48.3 %`, or a dash."""
    return DASH if share is None else f"{share:.1f} %"


def duration(seconds: float) -> str:
    """The two largest units, `3h12m`, with a minus for what is over."""
    left = round(abs(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    shown = "".join(part for part in parts[:2] if not part.startswith("0")) or "0s"
    return f"-{shown}" if seconds < 0 and shown != "0s" else shown


def at(instant: float | None, zone: tzinfo, *, now: float) -> str:
    """A time of day, with its date where that is another day than now's; or a dash."""
    if instant is None:
        return DASH
    then, today = datetime.fromtimestamp(instant, zone), datetime.fromtimestamp(now, zone)
    return f"{then:%H:%M:%S}" if then.date() == today.date() else minute(instant, zone)


def minute(instant: float, zone: tzinfo) -> str:
    """A date and a time of day."""
    return f"{datetime.fromtimestamp(instant, zone):%Y-%m-%d %H:%M}"


def timestamp(instant: float | None, zone: tzinfo) -> str | None:
    """RFC 3339 to the millisecond, for other programs."""
    return None if instant is None else datetime.fromtimestamp(instant, zone).isoformat(timespec="milliseconds")

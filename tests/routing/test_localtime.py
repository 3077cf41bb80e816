"""Hours, weekdays and instants as policies write them."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.localtime import At, Hours, Weekday, is_within, read_at, read_hours
from proxy.routing.shape import Shape

BERLIN = ZoneInfo("Europe/Berlin")


def pattern(annotated: object) -> str:
    _, shape = get_args(annotated)
    assert isinstance(shape, Shape)
    assert shape.pattern is not None
    return shape.pattern


@pytest.mark.parametrize(
    ("at", "day", "clock"),
    [
        ("mon 23:00", "mon", time(23)),
        ("sun 00:00", "sun", time(0)),
        ("23:59", "mon", time(23, 59)),
        ("wed", "wed", time(12)),
    ],
)
def test_a_local_time_is_local_wherever_it_is_read(at: str, day: str, clock: time) -> None:
    for zone in (UTC, BERLIN, ZoneInfo("Pacific/Auckland")):
        read = read_at(at)(zone)
        assert (read.strftime("%a").lower(), read.time(), read.tzinfo) == (day, clock, zone)


def test_an_instant_is_the_same_moment_everywhere() -> None:
    read = read_at("2026-11-23T23:00:00Z")(BERLIN)
    assert read == datetime(2026, 11, 23, 23, tzinfo=UTC)
    assert read.time() == time(0)
    assert read_at("2026-11-23 23:00+01:00")(UTC).time() == time(22)


@pytest.mark.parametrize(
    "at",
    ["", "monday", "mon 9:00", "24:00", "2026-11-23", "2026-11-23T23:00", "2026-13-23T23:00Z", "mon  09:00", "now"],
)
def test_a_time_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match=r"^at: .* is no time; write mon 23:00, 23:00 or 2026-11-23T23:00:00Z$"):
        read_at(at)


@given(at=st.from_regex(pattern(At), fullmatch=True) | st.text(max_size=20))
def test_every_time_that_is_taken_looks_as_its_pattern_says(at: str) -> None:
    try:
        read_at(at)
    except ValueError:
        return
    assert re.fullmatch(pattern(At), at)


@given(hours=st.from_regex(pattern(Hours), fullmatch=True), now=st.times())
def test_a_span_holds_its_begin_and_not_its_end(hours: str, now: time) -> None:
    begin_text, end_text = hours.split("-")
    if begin_text == end_text or (begin_text, end_text) == ("00:00", "24:00"):
        return
    begin, end = read_hours(hours)
    assert is_within(begin, begin, end)
    assert not is_within(end, begin, end)
    assert is_within(now, begin, end) is not is_within(now, end, begin)


def test_the_week_of_local_times_has_no_change_of_clocks() -> None:
    for zone in (BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Sydney")):
        first, last = read_at("mon 00:00")(zone), read_at("sun 23:59")(zone)
        assert last.timestamp() - first.timestamp() == (last - first).total_seconds()
        assert last - first == timedelta(days=6, hours=23, minutes=59)
    assert [day for day in Weekday if read_at(day)(UTC).strftime("%a").lower() != day] == []


@pytest.mark.parametrize(
    ("hours", "words"), [("22-6", "is no span of time"), ("06:00-06:00", "whole day"), ("00:00-24:00", "whole day")]
)
def test_a_span_that_is_none_or_all_is_refused(hours: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^hours: '{hours}' .*{words}"):
        read_hours(hours)

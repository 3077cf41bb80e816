from datetime import UTC
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report.periods import Unit, instant, periods

NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC."""
BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
HOUR = 3600.0


@pytest.mark.parametrize(
    ("text", "ends", "hours"),
    [
        ("36h", False, -36),
        ("2d", True, -48),
        ("2027-01-15", False, -12),
        ("2027-01-15", True, 12),
        ("2027-01-15T06:00", False, -6),
        ("2027-01-15 06:00", True, -6),
        ("2027-01-15T06:00:00Z", False, -6),
        ("2027-01-15T06:00+02:00", False, -8),
    ],
)
def test_dates_timestamps_and_durations_are_instants(text: str, ends: bool, hours: float) -> None:  # noqa: FBT001  a parameter of the test
    assert instant(text, NOON, UTC, ends=ends) == NOON + hours * HOUR


def test_dates_and_bare_timestamps_are_of_the_time_zone() -> None:
    assert instant("2027-01-15", NOON, KOLKATA, ends=False) == NOON - 17.5 * HOUR
    assert instant("2027-01-15T06:00", NOON, BERLIN, ends=False) == NOON - 7 * HOUR


@pytest.mark.parametrize("text", ["", "soon", "2027-13-01", "2027-02-30", "9999-12-31", "-3d", "99999999d", "15:00"])
def test_anything_else_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="write a date such as"):
        instant(text, NOON, UTC, ends=True)


def test_the_first_and_the_last_day_are_cut_to_the_span() -> None:
    found = list(periods(NOON - 30 * HOUR, NOON, Unit.DAY, UTC))
    assert [(day.label, (day.until - day.since) / HOUR) for day in found] == [
        ("2027-01-14", 18.0),
        ("2027-01-15", 12.0),
    ]


def test_a_day_has_the_hours_that_its_time_zone_gives_it() -> None:
    begins = instant("2027-03-27", NOON, BERLIN, ends=False)
    ends = instant("2027-03-29", NOON, BERLIN, ends=True)
    assert [(day.until - day.since) / HOUR for day in periods(begins, ends, Unit.DAY, BERLIN)] == [24, 23, 24]


def test_months_are_months() -> None:
    begins = instant("2026-11-30", NOON, UTC, ends=False)
    found = list(periods(begins, NOON, Unit.MONTH, UTC))
    assert [month.label for month in found] == ["2026-11", "2026-12", "2027-01"]


def test_a_day_that_a_time_zone_has_left_out_is_no_day() -> None:
    apia = ZoneInfo("Pacific/Apia")
    begins, ends = (instant(day, NOON, apia, ends=False) for day in ("2011-12-29", "2012-01-01"))
    assert [day.label for day in periods(begins, ends, Unit.DAY, apia)] == ["2011-12-29", "2011-12-31"]


def test_an_empty_span_has_no_days() -> None:
    assert list(periods(NOON, NOON - 1, Unit.DAY, UTC)) == []


@given(
    st.floats(0, 4e9),
    st.floats(0.001, 4e7),
    st.sampled_from(Unit),
    st.sampled_from([UTC, BERLIN, KOLKATA, ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Apia")]),
)
def test_periods_cover_a_span_without_a_gap_and_without_an_overlap(
    since: float, seconds: float, unit: Unit, zone: ZoneInfo
) -> None:
    found = list(periods(since, since + seconds, unit, zone))
    assert (found[0].since, found[-1].until) == (since, since + seconds)
    assert all(before.until == after.since for before, after in pairwise(found))
    assert all(period.since < period.until for period in found)
    assert len({period.label for period in found}) == len(found)

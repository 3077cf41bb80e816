from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from proxy.report.wording import at, dollars, duration, percent, places_for, timestamp

NOON = 1_800_014_400.0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (-0.4, "0s"),
        (59.6, "1m"),
        (61, "1m1s"),
        (3600, "1h"),
        (11_530, "3h12m"),
        (-90, "-1m30s"),
    ],
)
def test_durations_are_their_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_days_are_the_largest_unit() -> None:
    assert duration(3 * 86_400 + 59) == "3d"
    assert duration(40 * 86_400 + 7200) == "40d2h"


def test_dollars_have_the_places_that_are_asked_for() -> None:
    assert dollars(Decimal("1234.5"), 2) == "$1,234.50"
    assert dollars(Decimal("-0.25"), 4) == "-$0.2500"
    assert dollars(None) == "-"
    assert [places_for(Decimal(amount)) for amount in ("0.2", "1", "999", "1000")] == [6, 4, 4, 2]


def test_a_share_has_one_place() -> None:
    assert percent(Decimal("48.3")) == "48.3 %"
    assert percent(None) == "-"


def test_a_time_of_day_has_its_date_on_another_day() -> None:
    assert at(NOON + 90, UTC, now=NOON) == "12:01:30"
    assert at(NOON + 13 * 3600, UTC, now=NOON) == "2027-01-16 01:00"
    assert at(NOON, ZoneInfo("Asia/Kolkata"), now=NOON) == "17:30:00"
    assert at(None, UTC, now=NOON) == "-"


def test_programs_get_rfc_3339() -> None:
    assert timestamp(NOON + 0.25, ZoneInfo("Europe/Berlin")) == "2027-01-15T13:00:00.250+01:00"
    assert timestamp(None, UTC) is None

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("1m1ms", 60.001),
        ("2H", 7200),
        (" 90s ", 90),
        ("0", 0),
        ("0s", 0),
        ("90", 90),
        ("0.5", 0.5),
        ("999999999", 999_999_999),
        ("30m1h", 5400),
        ("1m1m", 120),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "s", "h1", "1x", "1 h", "1h 30m", "-5s", "-5", "+5s", "1e3", "1e3s", ".5h", "5.h", "1,5h"),
        *(
            "1234567890",
            "1234567890s",
            "9" * 400 + "d",
            "0.1234567",
            "nan",
            "inf",
            "infinity",
            "\u0661\u0662s",
            "\uff11s",
            "1_0s",
        ),
        *("1h\n30m", "1h;2m", "P1D", "PT15M", "1:30", "tomorrow", "2030-01-01T00:00:00Z"),
    ],
)
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "0s"),
        (-0.0004, "0s"),
        (0.25, "250ms"),
        (59.9996, "1m"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (86_400, "1d"),
        (8 * 86_400 + 1.001, "8d1s1ms"),
    ],
)
def test_durations_are_written_from_the_largest_unit_down(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_negative_duration_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="-5 s is no duration"):
        format_duration(-5)


@given(st.integers(0, 10**12))
def test_what_is_written_reads_back_to_the_same_millisecond(milliseconds: int) -> None:
    read = parse_duration(format_duration(milliseconds / 1000))
    assert read is not None
    assert round(read * 1000) == milliseconds


@given(st.text() | st.text("0123456789.smhdw "))
def test_any_text_is_a_finite_duration_or_none(text: str) -> None:
    read = parse_duration(text)
    assert read is None or 0 <= read < float("inf")

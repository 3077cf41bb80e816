import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.domain.limits import RateReading
from proxy.wire.limits import enqueued_limit, go_duration, read_rate

NOW = 1_445_412_470.0
"""Ten seconds before the example date of RFC 9110."""


def retry_after(**headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_rate(CIMultiDict(named), now=NOW).retry_after_seconds


def test_openais_headers_are_read_whatever_their_case() -> None:
    headers = CIMultiDict(
        {
            "X-RateLimit-Limit-Requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": "200000",
            "x-ratelimit-remaining-tokens": "199953",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    assert read_rate(headers, now=NOW) == RateReading(10_000, 9999, 0.006, 200_000, 199_953, 360.0, None)


def test_an_answer_without_limits_says_nothing() -> None:
    assert read_rate({}, now=NOW) == RateReading()


@pytest.mark.parametrize("value", ["-1", "", "many", "1.5", "1e3", "\uff11\uff12", "\u00b2", "9" * 16, " 5"])
def test_a_count_that_makes_no_sense_was_not_said(value: str) -> None:
    headers = {"x-ratelimit-limit-requests": value, "x-ratelimit-remaining-tokens": value}
    assert read_rate(headers, now=NOW) == RateReading()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("12ms", 0.012),
        ("1h2m", 3720),
        ("1.5s", 1.5),
        ("250us", 0.000_25),
        ("250\u00b5s", 0.000_25),
        ("250\u03bcs", 0.000_25),
        ("5ns", 5e-9),
        ("17", 17),
        ("0.25", 0.25),
        (".5", 0.5),
        (" 1s ", 1),
        ("0", 0),
    ],
)
def test_resets_are_gos_durations_or_bare_seconds(text: str, seconds: float) -> None:
    assert go_duration(text) == pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize(
    "text",
    [None, "", ".", "s", "1d", "-1s", "1.2.3", "1 s", "9" * 16, "9" * 400 + "h", "\u0661s", "2030-01-01T00:00:00Z"],
)
def test_what_is_no_reset_is_none(text: str | None) -> None:
    assert go_duration(text) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("20", 20.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10.0),
        ("Wed, 21 Oct 2015 07:28:00", 10.0),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 10.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, seconds: float) -> None:
    assert retry_after(retry_after=said) == seconds


@pytest.mark.parametrize(
    "said",
    ["", "soon", "-5", "1e3", "Mon, 01 Jan 99999 00:00:00 GMT", "Wed, 21 Oct 2015 07:28:00 -9999", "1 2 3", "\ud800"],
)
def test_a_retry_after_that_makes_no_sense_was_not_said(said: str) -> None:
    assert retry_after(retry_after=said) is None


def test_milliseconds_come_before_seconds() -> None:
    assert retry_after(retry_after_ms="1500", retry_after="60") == 1.5
    assert retry_after(retry_after_ms="soon", retry_after="60") == 60


@given(st.text() | st.text("0123456789.hmsuµn :,+-JanGMT"))
def test_any_header_is_read_without_an_error(value: str) -> None:
    names = (
        "limit-requests",
        "remaining-requests",
        "reset-requests",
        "limit-tokens",
        "remaining-tokens",
        "reset-tokens",
    )
    headers = {f"x-ratelimit-{name}": value for name in names} | {"retry-after": value, "retry-after-ms": value}
    reading = read_rate(headers, now=NOW)
    for seconds in (reading.reset_requests_seconds, reading.reset_tokens_seconds, reading.retry_after_seconds):
        assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        (
            "Enqueued token limit reached for gpt-4o in organization org-1. Limit: 90,000 enqueued tokens. Please",
            90_000,
        ),
        ("limit: 5000000 enqueued tokens", 5_000_000),
        ("Limit: 0 enqueued tokens", None),
        ("Limit: 90,000 requests per minute", None),
        ("Limit: ,,, enqueued tokens", None),
        ("", None),
    ],
)
def test_the_limit_on_enqueued_tokens_is_read_from_the_refusal(message: str, limit: int | None) -> None:
    assert enqueued_limit(message) == limit

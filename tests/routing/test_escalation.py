import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.escalation import Settings, calls_needed, cancel_first, horizon_seconds, latest_start_at

NOW = 1_800_000_000.0
SETTINGS = Settings(margin_seconds=60, service_seconds=40, cancel_lead_seconds=600, cancel_share=0.5)
ONE_CALL = 100.0
"""Margin and service time."""


def needed(times_left: list[float], rate: float, now: float = NOW) -> int:
    """`times_left` count to the latest starts, not to the deadlines."""
    deadlines = [NOW + ONE_CALL + left for left in times_left]
    return calls_needed(deadlines, now=now, settings=SETTINGS, rate_per_second=rate)


@pytest.mark.parametrize(
    ("times_left", "rate", "expected"),
    [
        ([], 1.0, 0),
        ([], 0.0, 0),
        # one call a second: the second one has to wait for the first
        ([1], 1.0, 0),
        ([0.5], 1.0, 1),
        ([1, 1], 1.0, 1),
        ([1, 2], 1.0, 0),
        ([2, 2], 1.0, 0),
        ([2, 2, 2, 2, 2], 1.0, 3),
        # a crowd behind a lone one: the crowd decides
        ([1] + [10] * 30, 1.0, 21),
        # a lone one before an easy crowd
        ([0.5] + [1000] * 30, 1.0, 1),
        # overdue: all of them now, but no others
        ([-100], 1.0, 1),
        ([-100, -50, 1000], 1.0, 2),
        ([0], 1.0, 1),
        # no limit known: only what is at its latest start
        ([0.001, 5], math.inf, 0),
        ([0, 5], math.inf, 1),
        ([-5, 0, 5], math.inf, 2),
        # no rate at all
        ([1000, 2000], 0.0, 2),
    ],
)
def test_as_many_are_called_as_the_rate_cannot_carry_later(times_left: list[float], rate: float, expected: int) -> None:
    assert needed(times_left, rate) == expected


def test_fifty_thousand_at_five_hundred_a_minute_begin_to_move_a_hundred_minutes_ahead() -> None:
    rate = 500 / 60
    assert needed([6010.0] * 50_000, rate) == 0
    assert needed([5990.0] * 50_000, rate) == math.ceil(10 * rate)


TIMES_LEFT = st.lists(st.integers(-300, 3000), max_size=60).map(sorted)
RATES = st.sampled_from([1 / 60, 0.1, 0.5, 1.0, 500 / 60, 100.0])


@given(times_left=TIMES_LEFT, rate=RATES)
def test_calling_that_many_now_and_the_rest_at_the_rate_starts_each_in_time(times_left: list[int], rate: float) -> None:
    count = needed([float(left) for left in times_left], rate)
    starts = [0.0] * count + [number / rate for number in range(1, len(times_left) - count + 1)]
    for start, left in zip(starts, times_left, strict=True):
        assert start <= max(left, 0) + 1e-6


@given(times_left=TIMES_LEFT, rate=RATES)
def test_calling_one_less_starts_one_too_late(times_left: list[int], rate: float) -> None:
    count = needed([float(left) for left in times_left], rate) - 1
    if count < 0:
        return
    starts = [0.0] * count + [number / rate for number in range(1, len(times_left) - count + 1)]
    assert any(start > left for start, left in zip(starts, times_left, strict=True))


@given(times_left=TIMES_LEFT, rate=RATES)
def test_asked_again_every_second_each_call_starts_in_time_and_none_before_the_rate_demands_it(
    times_left: list[int], rate: float
) -> None:
    waiting = [float(left) for left in times_left]
    allowed = needed(waiting, rate)
    started = 0
    for second in range(3002):
        count = needed(waiting, rate, now=NOW + second)
        assert count <= allowed + rate * second + 1 - started + 1e-6
        late = [second - left for left in waiting[:count] if left >= 0]
        assert all(seconds <= 1 for seconds in late)
        started += count
        waiting = waiting[count:]
        if not waiting:
            return
    raise AssertionError(f"{len(waiting)} were never called")


@given(times_left=TIMES_LEFT, rate=RATES)
def test_nobody_is_needed_until_the_latest_start_and_somebody_right_after(times_left: list[int], rate: float) -> None:
    deadlines = [NOW + ONE_CALL + left for left in times_left]
    at = latest_start_at(deadlines, settings=SETTINGS, rate_per_second=rate)
    if not deadlines:
        assert at == math.inf
        return
    assert calls_needed(deadlines, now=at - 0.01, settings=SETTINGS, rate_per_second=rate) == 0
    assert calls_needed(deadlines, now=at + 0.01, settings=SETTINGS, rate_per_second=rate) > 0


def test_without_a_known_limit_the_latest_start_is_the_tightest_ones() -> None:
    deadlines = [NOW + 150, NOW + 200]
    assert latest_start_at(deadlines, settings=SETTINGS, rate_per_second=math.inf) == NOW + 50


def test_at_no_rate_waiting_was_never_an_option() -> None:
    assert latest_start_at([NOW + 10**6], settings=SETTINGS, rate_per_second=0.0) == -math.inf


@given(times_left=TIMES_LEFT, rate=RATES)
def test_what_is_beyond_the_horizon_does_not_matter(times_left: list[int], rate: float) -> None:
    waiting = [float(left) for left in times_left]
    horizon = horizon_seconds(len(waiting), settings=SETTINGS, rate_per_second=rate)
    near = [left for left in waiting if left + ONE_CALL < horizon]
    assert needed(near, rate) == needed(waiting, rate)
    lead = SETTINGS.cancel_lead_seconds
    assert needed(near, rate, now=NOW + lead) == needed(waiting, rate, now=NOW + lead)


def test_the_horizon_of_nothing_is_one_call_and_of_no_rate_infinite() -> None:
    assert horizon_seconds(0, settings=SETTINGS, rate_per_second=0.0) == 700
    assert horizon_seconds(1, settings=SETTINGS, rate_per_second=0.0) == math.inf
    assert horizon_seconds(10, settings=SETTINGS, rate_per_second=math.inf) == 700


@pytest.mark.parametrize(
    ("lines_due", "lines_live", "cancelled"),
    [(0, 0, False), (0, 10, False), (4, 10, False), (5, 10, True), (10, 10, True), (1, 1, True)],
)
def test_a_batch_is_cancelled_first_when_enough_of_its_lines_are_due(
    lines_due: int,
    lines_live: int,
    cancelled: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    found = cancel_first(
        lines_due, lines_live, now=NOW, submitted_at=NOW - 80_000, deadline_at=NOW + 700, settings=SETTINGS
    )
    assert found is cancelled


@pytest.mark.parametrize(("age", "cancelled"), [(0, False), (499, False), (500, True), (999, True), (2000, True)])
def test_no_batch_is_cancelled_in_the_first_half_of_its_time(
    age: float,
    cancelled: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    found = cancel_first(1, 1, now=NOW + age, submitted_at=NOW, deadline_at=NOW + 1100, settings=SETTINGS)
    assert found is cancelled


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(margin_seconds=-1), "margin_seconds: -1 is not a time; give 0 s or more"),
        (lambda: Settings(service_seconds=math.nan), "service_seconds: nan"),
        (lambda: Settings(cancel_lead_seconds=math.inf), "cancel_lead_seconds: inf"),
        (lambda: Settings(overtime_seconds=-0.1), "overtime_seconds: -0.1"),
        (lambda: Settings(cancel_share=0), "cancel_share: 0 is no share"),
        (lambda: Settings(cancel_share=1.01), "cancel_share: 1.01 is no share"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(build: Callable[[], Settings], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_fractions_of_a_second_are_settings() -> None:
    tiny = Settings(margin_seconds=0.05, service_seconds=0, overtime_seconds=0.5, cancel_share=1)
    assert tiny.margin_seconds == 0.05

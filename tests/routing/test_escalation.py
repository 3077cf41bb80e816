import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.routing import ratelimit
from proxy.routing.escalation import Prospects, Settings, cancel_pays, move_times, stop_pays
from proxy.routing.ratelimit import Bucket, Pace, RateLimits

NOW = 1_800_000_000.0
HOUR = 3600.0
SETTINGS = Settings(margin_seconds=60, service_seconds=40, cancel_lead_seconds=600, cancel_share=0.5)
ONE_CALL = 100.0
"""Margin and service time."""


def needed(times_left: list[float], rate: float, now: float = NOW) -> int:
    """`times_left` count to the latest starts, not to the deadlines."""
    deadlines = [NOW + ONE_CALL + left for left in times_left]
    return bisect_right(move_times(deadlines, settings=SETTINGS, pace=Pace(rate)), now)


@pytest.mark.parametrize(
    ("times_left", "rate", "expected"),
    [
        ([], 1.0, 0),
        # one call a second: the second one has to wait for the first
        ([1.01], 1.0, 0),
        ([0.5], 1.0, 1),
        ([1.01, 1.01], 1.0, 1),
        ([1.01, 2.01], 1.0, 0),
        ([2.01, 2.01], 1.0, 0),
        ([2.01] * 5, 1.0, 3),
        # a crowd behind a lone one: the crowd decides
        ([1.01] + [10.01] * 30, 1.0, 21),
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
def test_each_moves_by_its_latest_start_and_no_two_closer_than_the_rate(times_left: list[int], rate: float) -> None:
    deadlines = [NOW + ONE_CALL + left for left in times_left]
    times = move_times(deadlines, settings=SETTINGS, pace=Pace(rate))
    for at, left in zip(times, times_left, strict=True):
        assert at <= NOW + left - 1 / rate + 1e-6
    for at, following in pairwise(times):
        assert following - at >= 1 / rate - 1e-6


@given(times_left=TIMES_LEFT, rate=RATES)
def test_nobody_could_move_later(times_left: list[int], rate: float) -> None:
    """From each one on, some later one would miss its latest start if this one moved any later."""
    times = move_times([NOW + ONE_CALL + left for left in times_left], settings=SETTINGS, pace=Pace(rate))
    for first, at in enumerate(times):
        starts = [at + (number + 1) / rate for number in range(len(times) - first)]
        lateness = [start - NOW - left for start, left in zip(starts, times_left[first:], strict=True)]
        assert max(lateness) == pytest.approx(0, abs=1e-5)


def test_without_a_known_limit_each_moves_at_its_own_latest_start() -> None:
    assert move_times([NOW + 150, NOW + 200], settings=SETTINGS, pace=Pace()) == [NOW + 50, NOW + 100]


def test_a_large_request_moves_as_much_earlier_as_its_tokens_take() -> None:
    """A thousand tokens a second: the first, of a hundred thousand, holds up the second, which is due with it."""
    deadlines = [NOW + ONE_CALL + 1000] * 3
    pace = Pace(calls_per_second=1.0, tokens_per_second=1000.0)
    times = move_times(deadlines, settings=SETTINGS, pace=pace, tokens=[100_000, 10, 3000])
    assert times == [NOW + 1000 - 104, NOW + 1000 - 4, NOW + 1000 - 3]


def test_while_urgent_traffic_takes_half_of_the_limit_calls_take_twice_as_long() -> None:
    deadlines = [NOW + ONE_CALL + left for left in (100.0, 610.0, 610.0, 2000.0)]
    pace = Pace(calls_per_second=0.05, present_share=0.5, present_until=NOW + 600.0)
    times = move_times(deadlines, settings=SETTINGS, pace=pace)
    assert times == [NOW + 60, NOW + 540, NOW + 580, NOW + 1980]


LOOK_SECONDS = 5


CROWDS = st.lists(
    st.tuples(st.integers(0, 3600), st.sampled_from([10, 3000, 20_000]), st.integers(1, 60)), min_size=1, max_size=3
)
"""Seconds until their latest start, the tokens of each, how many they are."""


@given(
    crowds=CROWDS,
    rpm=st.sampled_from([6, 20, 60]),
    tpm=st.sampled_from([30_000, 200_000, None]),
    urgent_share=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_what_is_feasible_is_met_within_both_limits_beside_urgent_traffic_that_is_never_refused(
    crowds: list[tuple[int, int, int]], rpm: int, tpm: int | None, urgent_share: float
) -> None:
    """Feasible: nothing has to move at once."""
    began = NOW - 5 * HOUR
    limits = RateLimits(ratelimit.Settings(requests_per_minute=rpm, tokens_per_minute=tpm), began)
    theirs = [Bucket(rpm, began), Bucket(tpm or 1e12, began)]
    apart = math.inf if urgent_share == 0 else 60 / (rpm * urgent_share)
    size = min(100, (tpm or 1e12) // rpm)

    def call(tokens: int, now: float, *, urgent: bool) -> None:
        limits.spend(tokens, now, urgent=urgent)
        for bucket, amount in zip(theirs, (1, tokens), strict=True):
            assert bucket.level(now) >= min(amount, bucket.per_minute) - 1e-6
            bucket.take(amount, now)

    waiting = sorted((NOW + ONE_CALL + left, tokens) for left, tokens, count in crowds for _ in range(count))
    next_urgent_at = began + apart
    for now in range(int(NOW), int(NOW) + 3700, LOOK_SECONDS):
        while next_urgent_at <= now:
            call(int(size), next_urgent_at, urgent=True)
            next_urgent_at += apart
        deadlines, tokens = [at for at, _ in waiting], [size for _, size in waiting]
        times = move_times(deadlines, settings=SETTINGS, pace=limits.pace(now), tokens=tokens)
        if now == NOW:
            assume(not times or times[0] > NOW)
        for _ in range(bisect_right(times, now)):
            deadline_at, amount = waiting[0]
            if limits.ready_at(amount, now) > now:
                break
            call(amount, now, urgent=False)
            assert now <= deadline_at - ONE_CALL + LOOK_SECONDS
            waiting.pop(0)
    assert waiting == []


def never(within_seconds: float) -> float:
    return 0.0 * within_seconds


def surely(within_seconds: float) -> float:
    return 1.0 if within_seconds > 0 else 0.0


def soon(within_seconds: float) -> float:
    return min(1.0, within_seconds / 1200)


BATCH = Prospects(
    move_times=[NOW + 3600.0] * 10,
    done_share=0.0,
    age_seconds=1800.0,
    price_share=0.5,
    chance_kept=never,
    chance_anew=soon,
)


@pytest.mark.parametrize(
    ("batch", "pays"),
    [
        # stuck, and a new one would make it
        (BATCH, True),
        # a new one would be stuck as well: nothing is lost by waiting on
        (replace(BATCH, chance_anew=never), False),
        # this one is as likely to make it
        (replace(BATCH, chance_kept=soon), False),
        # half done and hopeless, with just the time that cancelling takes: harvest it
        (replace(BATCH, chance_anew=never, done_share=0.5, move_times=[NOW + 650.0] * 10), True),
        # the same with more time: the harvest can wait
        (replace(BATCH, chance_anew=never, done_share=0.5, move_times=[NOW + 3600.0] * 10), False),
        # nothing done: there is nothing to harvest
        (replace(BATCH, chance_anew=never, move_times=[NOW + 650.0] * 10), False),
        # half done, and it will make it
        (replace(BATCH, chance_anew=never, done_share=0.5, move_times=[NOW + 650.0] * 10, chance_kept=surely), False),
        # it is too late already
        (replace(BATCH, move_times=[NOW - 1.0] * 10), False),
        # what is not cheaper cannot be worth another try
        (replace(BATCH, price_share=1.0), False),
        # for one line of ten it is too late, for the others not
        (replace(BATCH, move_times=[NOW - 1.0] + [NOW + 3600.0] * 9), True),
        (replace(BATCH, move_times=[]), False),
    ],
)
def test_a_batch_is_cancelled_ahead_of_time_when_its_lines_can_be_expected_to_cost_less_so(
    batch: Prospects,
    pays: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    assert cancel_pays(batch, now=NOW, settings=SETTINGS) is pays


@given(
    done=st.floats(0, 1),
    left=st.floats(-100, 20_000),
    price=st.floats(0.1, 1.5),
    odds=st.floats(0, 1),
)
def test_a_batch_that_is_certain_to_complete_in_time_is_never_cancelled(
    done: float, left: float, price: float, odds: float
) -> None:
    certain = replace(
        BATCH,
        move_times=[NOW + left],
        done_share=done,
        price_share=min(price, 1.0),
        chance_kept=lambda _: 1.0,
        chance_anew=lambda _: odds,
    )
    assert not cancel_pays(certain, now=NOW, settings=SETTINGS)


@pytest.mark.parametrize(
    ("moving", "live", "stopped"),
    [(0, 0, False), (0, 10, False), (4, 10, False), (5, 10, True), (10, 10, True), (1, 1, True)],
)
def test_a_batch_is_stopped_when_enough_of_its_lines_are_being_bought(
    moving: int,
    live: int,
    stopped: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    assert stop_pays(moving, live, settings=SETTINGS) is stopped


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(margin_seconds=-1), "margin_seconds: -1 is not a time; give 0 s or more"),
        (lambda: Settings(service_seconds=math.nan), "service_seconds: nan"),
        (lambda: Settings(cancel_lead_seconds=math.inf), "cancel_lead_seconds: inf"),
        (lambda: Settings(overtime_seconds=-0.1), "overtime_seconds: -0.1"),
        (lambda: Settings(cancel_notice_seconds=-1), "cancel_notice_seconds: -1"),
        (lambda: Settings(cancel_gain_min=1), "cancel_gain_min: 1 is no share"),
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

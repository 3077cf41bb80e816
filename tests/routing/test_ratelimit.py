import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.labels import LimitKind
from proxy.domain.limits import RateReading
from proxy.routing.ratelimit import Bucket, Pace, RateLimits, Settings

NOW = 1_800_000_000.0
NOTHING = RateReading()


def limits(
    rpm: float | None = None, tpm: float | None = None, headroom: float = 0.0, refused_seconds: float = 1.0
) -> RateLimits:
    return RateLimits(Settings(rpm, tpm, headroom=headroom, refused_seconds=refused_seconds), NOW)


def test_without_any_limit_nothing_waits() -> None:
    free = limits()
    for _ in range(1000):
        free.spend(10**6, NOW)
    assert free.ready_at(10**9, NOW) == NOW
    assert free.available_rate_per_second() == math.inf
    assert free.used_ratios(NOW) == {}
    assert free.provider_limit(LimitKind.REQUESTS) is None


def test_a_default_paces_while_nothing_is_known_but_is_not_taken_for_the_providers_limit() -> None:
    paced = RateLimits(Settings(default_requests_per_minute=60, default_tokens_per_minute=6000, headroom=0), NOW)
    assert paced.available_rate_per_second() == 1
    assert paced.provider_limit(LimitKind.REQUESTS) is None
    paced.observe(RateReading(limit_requests=600), NOW)
    assert paced.available_rate_per_second() == 10
    assert paced.provider_limit(LimitKind.REQUESTS) == 600


@pytest.mark.parametrize(
    ("ceiling", "said", "holds", "providers"),
    [(60, None, 60, 60), (60, 600, 60, 600), (600, 60, 60, 60), (None, 60, 60, 60), (60, 0, 60, 60), (60, -1, 60, 60)],
)
def test_the_lower_of_ceiling_and_reading_holds(
    ceiling: float | None, said: int | None, holds: float, providers: float
) -> None:
    found = limits(ceiling)
    found.observe(RateReading(limit_requests=said, remaining_requests=said), NOW)
    assert found.available_rate_per_second() * 60 == holds
    assert found.provider_limit(LimitKind.REQUESTS) == providers


def test_a_full_minute_may_go_at_once_and_the_rest_at_the_rate() -> None:
    paced = limits(rpm=60)
    for _ in range(60):
        assert paced.ready_at(0, NOW) == NOW
        paced.spend(0, NOW)
    assert paced.ready_at(0, NOW) == NOW + 1
    assert paced.ready_at(0, NOW + 0.25) == NOW + 1
    assert paced.ready_at(0, NOW + 5) == NOW + 5


def test_tokens_hold_back_as_requests_do() -> None:
    paced = limits(tpm=6000)
    paced.spend(6000, NOW)
    assert paced.ready_at(100, NOW) == NOW + 1
    assert paced.ready_at(3000, NOW) == NOW + 30


def test_the_scarcer_limit_decides() -> None:
    paced = limits(rpm=60, tpm=6000)
    paced.spend(3000, NOW)
    assert paced.ready_at(100, NOW) == NOW
    assert paced.ready_at(3100, NOW) == NOW + 1


def test_deferred_calls_leave_the_headroom_to_urgent_ones() -> None:
    paced = limits(rpm=100, headroom=0.1)
    sent = 0
    while paced.ready_at(0, NOW) == NOW:
        paced.spend(0, NOW)
        sent += 1
    assert sent == 90
    assert paced.available_rate_per_second() * 60 == 90


def test_urgent_calls_are_never_held_back_and_deferred_ones_wait_for_what_they_overdrew() -> None:
    paced = limits(rpm=60)
    for _ in range(120):
        paced.spend(0, NOW)
    assert paced.ready_at(0, NOW) == NOW + 61
    assert paced.used_ratios(NOW)[LimitKind.REQUESTS] == 2


@pytest.mark.parametrize("headroom", [0.0, 0.1, 0.9])
def test_a_call_that_is_larger_than_a_minute_goes_when_the_bucket_is_full(headroom: float) -> None:
    paced = limits(tpm=6000, headroom=headroom)
    assert paced.ready_at(10**6, NOW) == NOW
    paced.spend(10, NOW)
    assert paced.ready_at(10**6, NOW) == pytest.approx(NOW + 0.1)


def test_what_the_provider_says_is_left_lowers_ours_and_never_raises_it() -> None:
    paced = limits(rpm=60)
    paced.observe(RateReading(limit_requests=60, remaining_requests=0), NOW)
    assert paced.ready_at(0, NOW) == NOW + 1
    paced.observe(RateReading(limit_requests=60, remaining_requests=60), NOW)
    assert paced.ready_at(0, NOW) == NOW + 1


def test_what_is_left_of_an_unknown_limit_says_nothing() -> None:
    free = limits()
    free.observe(RateReading(remaining_requests=0, remaining_tokens=0), NOW)
    assert free.ready_at(5, NOW) == NOW


def test_a_changed_limit_keeps_what_was_spent() -> None:
    paced = limits(tpm=6000)
    paced.spend(6000, NOW)
    paced.observe(RateReading(limit_tokens=3000), NOW)
    assert paced.ready_at(50, NOW) == NOW + 1
    grown = limits()
    grown.observe(RateReading(limit_tokens=3000), NOW)
    grown.spend(3000, NOW)
    grown.observe(RateReading(limit_tokens=6000), NOW)
    assert grown.ready_at(3000, NOW) == NOW
    assert grown.ready_at(3100, NOW) == NOW + 1


def test_a_refusal_holds_deferred_calls_back_as_long_as_it_says() -> None:
    paced = limits()
    assert paced.refused(RateReading(retry_after_seconds=7), 10, NOW) is LimitKind.REQUESTS
    assert paced.ready_at(0, NOW) == NOW + 7
    assert paced.refused(RateReading(retry_after_seconds=2), 10, NOW + 1) is LimitKind.REQUESTS
    assert paced.ready_at(0, NOW + 1) == NOW + 7
    assert paced.ready_at(0, NOW + 8) == NOW + 8


def test_a_refusal_that_names_no_time_pauses_as_configured() -> None:
    paced = limits(refused_seconds=0.25)
    paced.refused(NOTHING, 10, NOW)
    assert paced.ready_at(0, NOW) == NOW + 0.25


@pytest.mark.parametrize(
    ("reading", "kind"),
    [
        (NOTHING, LimitKind.REQUESTS),
        (RateReading(remaining_requests=0, remaining_tokens=0), LimitKind.REQUESTS),
        (RateReading(remaining_requests=5, remaining_tokens=0), LimitKind.TOKENS),
        # a few tokens are left, fewer than were asked for
        (RateReading(remaining_requests=5, remaining_tokens=90), LimitKind.TOKENS),
        (RateReading(remaining_tokens=0), LimitKind.TOKENS),
        (RateReading(remaining_requests=5), LimitKind.REQUESTS),
    ],
)
def test_a_refusal_names_the_limit_that_was_hit_and_empties_it(reading: RateReading, kind: LimitKind) -> None:
    paced = limits(rpm=60, tpm=6000, refused_seconds=0)
    assert paced.refused(reading, 0, NOW) is kind
    assert paced.used_ratios(NOW)[kind] == 1
    assert paced.ready_at(200, NOW) == NOW + (1 if kind is LimitKind.REQUESTS else 2)


def test_a_crowd_of_refused_urgent_calls_runs_up_no_debt() -> None:
    paced = limits(rpm=60, tpm=6000, refused_seconds=0)
    for second in range(600):
        for _ in range(20):
            paced.spend(500, NOW + second)
            paced.refused(RateReading(remaining_requests=0, remaining_tokens=6000), 500, NOW + second)
    assert paced.ready_at(100, NOW + 600) <= NOW + 600 + 1


def test_a_limit_is_learned_from_a_refusal_too() -> None:
    paced = limits()
    paced.refused(RateReading(limit_requests=60, remaining_requests=0, retry_after_seconds=0), 10, NOW)
    assert paced.ready_at(0, NOW) == NOW + 1


def test_the_rate_is_what_tokens_allow_for_calls_of_this_size() -> None:
    paced = limits(rpm=600, tpm=6000)
    assert paced.available_rate_per_second() == 10
    paced.spend(100, NOW)
    assert paced.available_rate_per_second() == 1
    assert paced.available_rate_per_second(tokens_per_call=1000) == 0.1
    assert paced.available_rate_per_second(tokens_per_call=0) == 10


def test_the_mean_size_follows_the_calls() -> None:
    paced = limits(tpm=6000)
    paced.spend(100, NOW)
    for _ in range(200):
        paced.spend(200, NOW)
    assert paced.available_rate_per_second() == pytest.approx(0.5, rel=0.01)


def test_used_is_a_share_of_each_limit_that_is_known() -> None:
    paced = limits(rpm=100, tpm=1000)
    paced.spend(500, NOW)
    assert paced.used_ratios(NOW) == pytest.approx({LimitKind.REQUESTS: 0.01, LimitKind.TOKENS: 0.5})
    assert paced.used_ratio(NOW) == 0.5, "the scarcer one"
    assert paced.used_ratios(NOW + 12) == pytest.approx({LimitKind.REQUESTS: 0, LimitKind.TOKENS: 0.3})
    assert paced.used_ratios(NOW + 100) == {LimitKind.REQUESTS: 0, LimitKind.TOKENS: 0}


def test_a_clock_that_steps_back_refills_nothing() -> None:
    bucket = Bucket(60, NOW)
    bucket.take(60, NOW)
    assert bucket.level(NOW - 100) == 0
    assert bucket.level(NOW + 1) == 1


def test_limits_show_what_is_left() -> None:
    paced = limits(rpm=60)
    paced.spend(0, NOW)
    assert repr(paced) == "RateLimits(requests=Bucket(59.0 of 60.0, at=1800000000.000))"


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=200),
    gaps=st.lists(st.floats(0, 5), min_size=200, max_size=200),
    headroom=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_deferred_calls_that_wait_until_ready_never_exceed_either_limit(
    sizes: list[int], gaps: list[float], headroom: float
) -> None:
    rpm, tpm = 60.0, 1000.0
    paced = limits(rpm, tpm, headroom)
    now = NOW
    sent: list[tuple[float, int]] = []
    for size, gap in zip(sizes, gaps, strict=False):
        now = paced.ready_at(size, now + gap)
        paced.spend(size, now)
        sent.append((now, size))
    for first in range(len(sent)):
        calls, tokens = 0, 0
        for at, size in sent[first:]:
            calls, tokens = calls + 1, tokens + size
            minutes = (at - sent[first][0]) / 60
            assert calls <= rpm * (1 - headroom + minutes) + 1e-3
            assert tokens <= tpm * (1 - headroom + minutes) + 1e-3


@given(sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=100))
def test_a_call_that_waited_until_ready_is_ready_then(sizes: list[int]) -> None:
    paced = limits(60, 1000, 0.1)
    now = NOW
    for size in sizes:
        at = paced.ready_at(size, now)
        assert at >= now
        assert paced.ready_at(size, at) <= at + 1e-5
        now = at
        paced.spend(size, now)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(requests_per_minute=0), "requests_per_minute: 0 is no limit; give more than 0, or leave"),
        (lambda: Settings(tokens_per_minute=-1), "tokens_per_minute: -1"),
        (lambda: Settings(default_requests_per_minute=math.nan), "default_requests_per_minute: nan"),
        (lambda: Settings(default_tokens_per_minute=math.inf), "default_tokens_per_minute: inf"),
        (lambda: Settings(headroom=1), "headroom: 1 is not a share; give 0 or more, under 1, such as 0.1"),
        (lambda: Settings(headroom=-0.1), "headroom: -0.1"),
        (lambda: Settings(refused_seconds=-1), "refused_seconds: -1 is no duration; give 0 s or more"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(build: Callable[[], Settings], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_there_is_room_for_what_the_limit_leaves_after_the_headroom() -> None:
    limits = RateLimits(Settings(requests_per_minute=60.0, headroom=0.1), 0.0)
    assert limits.room(600.0, 0.0) == pytest.approx(540.0)
    assert RateLimits(Settings(), 0.0).room(600.0, 0.0) == math.inf


def test_urgent_traffic_of_the_moment_takes_its_room_for_half_an_hour_and_that_of_hours_from_then_on() -> None:
    limits = RateLimits(Settings(requests_per_minute=60.0, headroom=0.1), 0.0)
    for second in range(3600):
        limits.spend(10, float(second), urgent=True)
    assert limits.room(900.0, 3600.0) == pytest.approx(0.0, abs=5.0)
    of_the_last_hour = 1 - math.exp(-1)
    assert limits.room(1800.0 + 600.0, 3600.0) == pytest.approx((1 - of_the_last_hour) * 600.0, abs=10.0)


def test_the_pace_is_what_urgent_traffic_leaves_but_never_nothing() -> None:
    limits = RateLimits(Settings(requests_per_minute=60.0, tokens_per_minute=6000.0, headroom=0.1), 0.0)
    assert limits.pace(0.0) == Pace(0.9, 90.0, present_share=1.0, present_until=1800.0)
    for second in range(0, 7200, 2):
        limits.spend(10, float(second), urgent=True)
    half = limits.pace(7200.0)
    assert half.calls_per_second * half.present_share == pytest.approx(0.5, rel=0.02)
    assert half.tokens_per_second == pytest.approx(100 * half.calls_per_second)
    assert half.calls_per_second == pytest.approx(1 - 0.5 * (1 - math.exp(-2)), rel=0.02)
    for second in range(7200, 36_000):
        limits.spend(10, float(second), urgent=True)
    assert limits.pace(36_000.0).calls_per_second == pytest.approx(0.09)
    assert not RateLimits(Settings(), 0.0).pace(0.0).is_limited


def test_urgent_traffic_that_has_ended_is_forgotten() -> None:
    limits = RateLimits(Settings(requests_per_minute=60.0, headroom=0.1), 0.0)
    for second in range(3600):
        limits.spend(10, float(second), urgent=True)
    assert limits.room(600.0, 7200.0) == pytest.approx(540.0, abs=1.0)
    assert limits.room(7200.0, 36_000.0) == pytest.approx(6480.0, abs=5.0)


def test_deferred_calls_take_no_room_from_each_other() -> None:
    limits = RateLimits(Settings(requests_per_minute=60.0, headroom=0.1), 0.0)
    for second in range(3600):
        limits.spend(10, float(second))
    assert limits.room(600.0, 3600.0) == pytest.approx(540.0)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.labels import LimitKind
from proxy.domain.limits import RateReading
from proxy.routing.ratelimit import RateLimits, Settings
from proxy.routing.shadow import Shadow

NOW = 1_800_000_000.0


def shadow(rpm: float | None = None, tpm: float | None = None) -> Shadow:
    return Shadow(RateLimits(Settings(rpm, tpm), NOW), NOW)


def test_without_a_known_limit_nothing_is_over_it_and_nobody_waits() -> None:
    free = shadow()
    assert [free.arrive(10**9, NOW) for _ in range(100)] == [None] * 100
    assert free.virtual_wait_seconds(NOW) == 0


def test_a_default_pace_of_our_own_is_not_a_limit_that_anybody_would_have_hit() -> None:
    actual = RateLimits(Settings(default_requests_per_minute=1, default_tokens_per_minute=1), NOW)
    assert [Shadow(actual, NOW).arrive(100, NOW) for _ in range(3)] == [None] * 3


def test_what_comes_over_the_limit_on_requests_would_have_been_refused() -> None:
    over = shadow(rpm=60)
    assert [over.arrive(1, NOW) for _ in range(60)] == [None] * 60
    assert over.arrive(1, NOW) is LimitKind.REQUESTS
    assert over.arrive(1, NOW + 0.9) is LimitKind.REQUESTS
    assert over.arrive(1, NOW + 1) is None
    assert over.arrive(1, NOW + 1) is LimitKind.REQUESTS


def test_what_comes_over_the_limit_on_tokens_would_have_been_refused() -> None:
    over = shadow(rpm=60, tpm=1000)
    assert over.arrive(900, NOW) is None
    assert over.arrive(101, NOW) is LimitKind.TOKENS
    assert over.arrive(100, NOW) is None


def test_what_is_refused_consumes_nothing() -> None:
    over = shadow(rpm=2, tpm=1000)
    assert over.arrive(1000, NOW) is None
    for _ in range(10):
        assert over.arrive(1, NOW) is LimitKind.TOKENS
    assert over.arrive(100, NOW + 6) is None
    assert over.arrive(100, NOW + 6) is LimitKind.REQUESTS


def test_a_request_of_more_than_a_minutes_tokens_needs_them_all() -> None:
    over = shadow(tpm=1000)
    assert over.arrive(5000, NOW) is None
    assert over.arrive(1, NOW + 239) is LimitKind.TOKENS
    assert over.arrive(5000, NOW + 299) is LimitKind.TOKENS
    assert over.arrive(5000, NOW + 300) is None


def test_the_shadow_follows_the_providers_limit_not_our_lower_ceiling() -> None:
    actual = RateLimits(Settings(requests_per_minute=1), NOW)
    over = Shadow(actual, NOW)
    assert over.arrive(1, NOW) is None
    assert over.arrive(1, NOW) is LimitKind.REQUESTS
    actual.observe(RateReading(limit_requests=3, remaining_requests=0), NOW)
    assert [over.arrive(1, NOW) for _ in range(3)] == [None, None, LimitKind.REQUESTS]


def test_real_spending_and_refusals_do_not_touch_the_shadow() -> None:
    actual = RateLimits(Settings(), NOW)
    over = Shadow(actual, NOW)
    actual.refused(RateReading(limit_requests=60, remaining_requests=0, retry_after_seconds=100), 10, NOW)
    for _ in range(100):
        actual.spend(1, NOW)
    assert [over.arrive(1, NOW) for _ in range(60)] == [None] * 60


def test_the_share_in_use_is_that_of_all_synchronous_traffic() -> None:
    over = shadow(rpm=60)
    assert over.used_ratios(NOW) == {LimitKind.REQUESTS: 0}
    for _ in range(45):
        over.arrive(1, NOW)
    assert over.used_ratios(NOW) == {LimitKind.REQUESTS: 0.75}
    assert over.used_ratios(NOW + 15) == {LimitKind.REQUESTS: 0.5}
    assert shadow().used_ratios(NOW) == {}, "no limit is known"


def test_the_virtual_wait_grows_with_each_arrival_and_shrinks_with_time() -> None:
    over = shadow(rpm=60)
    for _ in range(100):
        over.arrive(1, NOW)
    assert over.virtual_wait_seconds(NOW) == 100
    assert over.virtual_wait_seconds(NOW + 30) == 70
    over.arrive(1, NOW + 30)
    assert over.virtual_wait_seconds(NOW + 30) == 71
    assert over.virtual_wait_seconds(NOW + 1000) == 0
    assert over.virtual_wait_seconds(NOW - 1000) == 71


def test_the_virtual_wait_is_the_scarcer_limits() -> None:
    over = shadow(rpm=60, tpm=600)
    over.arrive(100, NOW)
    assert over.virtual_wait_seconds(NOW) == 10
    over.arrive(1, NOW)
    assert over.virtual_wait_seconds(NOW) == 11


def test_a_clock_that_steps_back_changes_no_wait() -> None:
    over = shadow(rpm=60)
    over.arrive(1, NOW)
    over.arrive(1, NOW - 50)
    assert over.virtual_wait_seconds(NOW) == 2


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 300)), min_size=1, max_size=150),
    rpm=st.sampled_from([6.0, 30.0, 600.0]),
    tpm=st.sampled_from([None, 1000.0]),
)
def test_what_the_shadow_serves_is_within_both_limits_and_what_it_refuses_would_not_be(
    arrivals: list[tuple[float, int]], rpm: float, tpm: float | None
) -> None:
    over = shadow(rpm, tpm)
    now = NOW
    requests_left, tokens_left = rpm, tpm or 0.0
    for gap, tokens in arrivals:
        now += gap
        requests_left = min(rpm, requests_left + gap * rpm / 60)
        tokens_left = min(tpm or 0.0, tokens_left + gap * (tpm or 0.0) / 60)
        refused = over.arrive(tokens, now)
        if refused is LimitKind.REQUESTS:
            assert requests_left < 1 + 1e-4
        elif refused is LimitKind.TOKENS:
            assert tpm is not None
            assert tokens_left < tokens + 1e-4
        else:
            requests_left, tokens_left = requests_left - 1, tokens_left - tokens
            assert requests_left >= -1e-4
            assert tpm is None or tokens_left >= -1e-4


@pytest.mark.parametrize("calls_per_minute", [30, 59])
def test_arrivals_below_the_limit_never_queue_up(calls_per_minute: int) -> None:
    over = shadow(rpm=60)
    for number in range(500):
        assert over.arrive(1, NOW + number * 60 / calls_per_minute) is None
    assert over.virtual_wait_seconds(NOW + 500 * 60 / calls_per_minute) == 0

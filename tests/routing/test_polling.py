import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.polling import Settings, next_poll_at

NOW = 1_800_000_000.0
FAR = NOW + 86_400
SETTINGS = Settings()


def pause(age: float, status: str | None = "in_progress", jitter: float = 0.0, left: float = 86_400.0) -> float:
    at = next_poll_at(
        submitted_at=NOW - age,
        now=NOW,
        deadline_at=NOW + left,
        settings=SETTINGS,
        provider_status=status,
        jitter=jitter,
    )
    return at - NOW


@pytest.mark.parametrize(
    ("age", "status", "jitter", "left", "expected"),
    [
        # a tenth of the age, within bounds
        (0, "validating", 0.0, 86_400, 5),
        (50, "in_progress", 0.0, 86_400, 5),
        (600, "in_progress", 0.0, 86_400, 60),
        (600, None, 0.0, 86_400, 60),
        (3000, "in_progress", 0.0, 86_400, 300),
        (50_000, "in_progress", 0.0, 86_400, 300),
        # results are about to appear
        (3000, "finalizing", 0.0, 86_400, 10),
        (3000, "cancelling", 0.0, 86_400, 10),
        (10, "finalizing", 0.0, 86_400, 5),
        # at most a fifth of what is over the minimum earlier
        (600, "in_progress", 1.0, 86_400, 60 - 11),
        (600, "in_progress", 0.5, 86_400, 60 - 5.5),
        (0, "in_progress", 1.0, 86_400, 5),
        # once when escalation has to act, two minutes before the deadline
        (3000, "in_progress", 0.0, 120 + 5, 5),
        (3000, "in_progress", 0.0, 120 + 2, 2),
        # every twentieth of what is left until the deadline, within bounds
        (3000, "in_progress", 0.0, 3000, 150),
        (3000, "in_progress", 0.0, 120, 6),
        (3000, "in_progress", 0.0, 20, 5),
        (600, "in_progress", 0.0, 3000, 60),
        # and at the usual pace when it has passed
        (3000, "in_progress", 0.0, -60, 300),
    ],
)
def test_the_pace(age: float, status: str | None, jitter: float, left: float, expected: float) -> None:
    assert pause(age, status, jitter, left) == expected


def test_a_clock_that_stepped_back_polls_at_the_fastest_pace() -> None:
    assert pause(-100) == 5


@given(
    age=st.floats(0, 200_000),
    status=st.sampled_from([None, "validating", "in_progress", "finalizing", "cancelling"]),
    jitter=st.floats(0, 1),
    left=st.floats(-10_000, 200_000),
)
def test_a_poll_is_in_the_future_within_bounds_and_not_past_the_point_to_act(
    age: float, status: str | None, jitter: float, left: float
) -> None:
    seconds = pause(age, status, jitter, left)
    assert 0 < seconds <= 300
    act_in = left - 120
    if act_in > 1e-6:
        assert seconds <= act_in + 1e-6
    if act_in <= 0 or act_in > 300:
        assert seconds >= 5


@given(total=st.floats(60, 86_400), jitter=st.floats(0, 1))
def test_the_end_of_a_batch_is_seen_within_a_tenth_of_its_time_with_few_polls(total: float, jitter: float) -> None:
    at, polls = NOW, 0
    while at < NOW + total:
        at = next_poll_at(
            submitted_at=NOW,
            now=at,
            deadline_at=NOW + 10 * 86_400,
            settings=SETTINGS,
            provider_status="in_progress",
            jitter=jitter,
        )
        polls += 1
    assert at - (NOW + total) <= max(5, min(0.1 * total, 300)) + 1e-6
    assert polls <= 60 + total / 240


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(min_seconds=0), "min_seconds: 0 is no pace; give more than 0 s, such as 5 s"),
        (lambda: Settings(min_seconds=10, max_seconds=9), "max_seconds: 9 s is under min_seconds 10; give more"),
        (lambda: Settings(max_seconds=math.inf), "max_seconds: inf"),
        (lambda: Settings(min_seconds=11), "closing_seconds: 10.0 s is under min_seconds 11; give more"),
        (lambda: Settings(deadline_lead_seconds=-1), "deadline_lead_seconds: -1 is no duration"),
        (lambda: Settings(min_seconds=math.inf, max_seconds=math.inf), "min_seconds: inf is no pace"),
        (lambda: Settings(age_share=0), "age_share: 0 is not a share"),
        (lambda: Settings(age_share=1.1), "age_share: 1.1 is not a share"),
        (lambda: Settings(left_share=0), "left_share: 0 is not a share; give more than 0, up to 1, such as 0.05"),
        (lambda: Settings(jitter_share=1), "jitter_share: 1 is not a share"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(build: Callable[[], Settings], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_a_provider_whose_day_lasts_a_minute_is_polled_in_fractions_of_a_second() -> None:
    fast = Settings(min_seconds=0.01, max_seconds=0.2, closing_seconds=0.01, deadline_lead_seconds=0.1, jitter_share=0)
    at = next_poll_at(submitted_at=0.0, now=0.5, deadline_at=60.0, settings=fast, provider_status="in_progress")
    assert at == 0.55


def test_a_share_of_the_whole_age_doubles_the_pause_each_time() -> None:
    doubling = Settings(age_share=1)
    at = next_poll_at(submitted_at=0.0, now=50.0, deadline_at=9e9, settings=doubling, provider_status="in_progress")
    assert at == 100

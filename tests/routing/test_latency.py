import json
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.routing.latency import CompletionTimes, Settings

NOW = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def lognormal(random: Random, median: float = 480.0, sigma: float = 0.8) -> float:
    return median * math.exp(random.gauss(0, sigma))


def told(times: CompletionTimes, durations: list[float], *, every: float = MINUTE, begin: float = NOW) -> float:
    """Batches one after the other, each told at its end; returns when the last has ended."""
    events = [(begin + number * every, number, 0.0) for number in range(len(durations))]
    events += [(at + durations[number], number, 1.0) for at, number, _ in events]
    for at, number, is_end in sorted(events):
        if is_end:
            times.ended(f"b{begin}-{number}", at, completed=True)
        else:
            times.submitted(f"b{begin}-{number}", at)
    return max(at for at, _, _ in events)


def test_before_there_is_experience_the_prior_speaks() -> None:
    times = CompletionTimes(Settings(prior_median_seconds=480))
    assert times.observed == 0
    assert times.chance(480, NOW) == pytest.approx(0.39, abs=0.02)
    assert times.chance(HOUR, NOW) == pytest.approx(0.85, abs=0.02)
    assert times.chance(DAY, NOW) > 0.99


def test_the_prior_is_as_long_as_it_is_told() -> None:
    short, long = CompletionTimes(Settings(prior_median_seconds=5)), CompletionTimes(Settings())
    assert short.quantile(0.5, NOW) < 10
    assert long.quantile(0.5, NOW) > 400


def test_experience_overrules_the_prior() -> None:
    random = Random(1)
    times = CompletionTimes(Settings(prior_median_seconds=480))
    durations = [lognormal(random, 3000, 0.5) for _ in range(500)]
    at = told(times, durations)
    for share, score in ((0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816)):
        assert times.quantile(share, at) == pytest.approx(3000 * math.exp(0.5 * score), rel=0.2)
    assert times.observed > 400


def test_cancelled_batches_count_as_having_taken_longer() -> None:
    """Half of them are cancelled at a random age. A mean of the completed ones would be far too short."""
    random = Random(2)
    times = CompletionTimes(Settings(prior_batches=5))
    completed: list[float] = []
    for number in range(1500):
        at, takes, cancelled = NOW + number * MINUTE, lognormal(random, 2000, 0.8), random.uniform(0, 4000)
        times.submitted(f"b{number}", at)
        if takes <= cancelled:
            completed.append(takes)
        times.ended(f"b{number}", at + min(takes, cancelled), completed=takes <= cancelled)
    assert times.quantile(0.5, NOW + 1500 * MINUTE) == pytest.approx(2000, rel=0.2)
    assert sorted(completed)[len(completed) // 2] < 1500


def test_batches_that_do_not_come_back_lower_the_odds_within_hours() -> None:
    random = Random(3)
    times = CompletionTimes(Settings())
    at = told(times, [lognormal(random) for _ in range(300)])
    before = times.chance(30 * MINUTE, at)
    for number in range(60):
        times.submitted(f"stuck{number}", at + number * MINUTE)
    assert before > 0.85
    assert times.chance(30 * MINUTE, at + HOUR) < before - 0.15
    assert times.chance(30 * MINUTE, at + 4 * HOUR) < before - 0.35


def test_after_an_outage_the_odds_recover_within_hours() -> None:
    random = Random(4)
    times = CompletionTimes(Settings())
    at = told(times, [lognormal(random) for _ in range(300)])
    for number in range(100):
        times.submitted(f"stuck{number}", at + number * MINUTE)
    for number in range(100):
        times.ended(f"stuck{number}", at + 5 * HOUR, completed=True)
    low = times.chance(30 * MINUTE, at + 5 * HOUR)
    later = told(times, [lognormal(random) for _ in range(360)], begin=at + 5 * HOUR)
    assert times.chance(30 * MINUTE, later) > low + 0.2


def test_old_experience_is_forgotten_at_the_half_life() -> None:
    times = CompletionTimes(Settings())
    at = told(times, [5.0] * 1000)
    assert times.chance(60, at) > 0.9
    assert times.chance(60, at + 30 * DAY) < 0.15


def test_congestion_halves_the_odds_until_one_completes() -> None:
    times = CompletionTimes(Settings())
    at = told(times, [480.0] * 200)
    for number in range(2):
        times.submitted(f"late{number}", at)
    assert not times.congested(at + 60)
    later = at + 12 * HOUR
    assert times.congested(later)
    halved = times.chance(HOUR, later)
    assert halved < 0.5
    times.submitted("quick", later)
    times.ended("quick", later + 1, completed=True)
    assert not times.congested(later + 1)
    assert times.chance(HOUR, later + 1) > halved * 1.5


def test_a_cancelled_batch_does_not_end_a_congestion() -> None:
    times = CompletionTimes(Settings())
    at = told(times, [480.0] * 200)
    for number in range(3):
        times.submitted(f"late{number}", at)
    times.ended("late0", at + 12 * HOUR, completed=False)
    assert times.congested(at + 12 * HOUR)


def test_what_is_left_is_judged_by_the_age() -> None:
    times = CompletionTimes(Settings())
    at = told(times, [lognormal(Random(5)) for _ in range(100)])
    for age in (60.0, 900.0, 4 * HOUR):
        for within in (60.0, 900.0, HOUR):
            begun = times.chance(age, at)
            expected = (times.chance(age + within, at) - begun) / (1 - begun)
            assert times.chance_given(within, age_seconds=age, done_share=0.0, now=at) == pytest.approx(expected)


def test_a_batch_that_is_half_done_is_expected_after_as_long_again() -> None:
    times = CompletionTimes(Settings())

    def odds(within: float, done: float) -> float:
        return times.chance_given(within, age_seconds=2 * HOUR, done_share=done, now=NOW)

    assert odds(4 * HOUR, 0.5) > odds(4 * HOUR, 0.0) + 0.05
    assert odds(HOUR, 0.5) < odds(HOUR, 0.9) - 0.2
    assert odds(HOUR, 0.01) == odds(HOUR, 0.0)


def worked_off(times: CompletionTimes, done_share: Callable[[float], float]) -> None:
    """A hundred batches, asked about every minute: how much is done by the share of their time that is over."""
    random = Random(8)
    for number in range(100):
        took = max(10 * MINUTE, lognormal(random, 2 * HOUR))
        times.submitted(f"b{number}", NOW)
        for minute in range(1, int(took / MINUTE)):
            times.progressed(f"b{number}", NOW + minute * MINUTE, done_share(minute * MINUTE / took))
        times.ended(f"b{number}", NOW + took, completed=True)


def test_where_batches_are_worked_off_evenly_their_pace_is_trusted() -> None:
    times = CompletionTimes(Settings())
    worked_off(times, lambda over: over)
    half_done_after_six_hours = {"age_seconds": 6 * HOUR, "done_share": 0.5, "now": NOW + DAY}
    assert times.chance_given(5 * HOUR, **half_done_after_six_hours) < 0.35
    assert times.chance_given(8 * HOUR, **half_done_after_six_hours) > 0.85


def test_where_batches_end_all_at_once_their_pace_says_little() -> None:
    """The first lines come after nine tenths of the time: what is left is judged by experience."""
    times = CompletionTimes(Settings())
    worked_off(times, lambda over: max(0.0, (over - 0.9) * 10))
    by_experience = times.chance_given(HOUR, age_seconds=HOUR, done_share=0.0, now=NOW + DAY)
    by_both = times.chance_given(HOUR, age_seconds=HOUR, done_share=0.1, now=NOW + DAY)
    assert by_both == pytest.approx(by_experience, abs=0.1)


def test_batches_that_hang_halfway_and_are_cancelled_end_the_trust_in_paces() -> None:
    times = CompletionTimes(Settings())
    half_done = {"age_seconds": 3 * HOUR, "done_share": 0.5, "now": NOW + 6 * HOUR}
    before = times.chance_given(2 * HOUR, **half_done)
    for number in range(50):
        times.submitted(f"b{number}", NOW)
        times.progressed(f"b{number}", NOW + 10 * MINUTE, 0.5)
        times.ended(f"b{number}", NOW + 6 * HOUR, completed=False)
    assert before < 0.3
    assert times.chance_given(2 * HOUR, **half_done) == pytest.approx(
        times.chance_given(2 * HOUR, **(half_done | {"done_share": 0.0})), abs=0.05
    )


def coverage(draw: Callable[[Random, int], float], count: int = 2000) -> float:
    random = Random(6)
    times = CompletionTimes(Settings())
    results: list[bool] = []
    running: list[tuple[float, int]] = []
    for number in range(count):
        at = NOW + number * 10 * MINUTE
        for end, other in sorted(running):
            if end <= at:
                times.ended(f"b{other}", end, completed=True)
        running = [(end, other) for end, other in running if end > at]
        times.submitted(f"b{number}", at)
        running.append((at + draw(random, number), number))
        results += [forecast.covered for forecast in times.settle_forecasts(at)]
    assert len(results) > count * 0.9
    return sum(results) / len(results)


def test_the_quoted_quantile_comes_true_as_often_as_it_says() -> None:
    assert coverage(lambda random, _: lognormal(random)) == pytest.approx(0.9, abs=0.03)


def test_it_does_even_when_the_provider_becomes_three_times_slower() -> None:
    assert coverage(lambda random, number: lognormal(random) * (3 if number > 1000 else 1)) == pytest.approx(
        0.9, abs=0.03
    )


def test_a_forecast_is_settled_once_and_a_cancelled_batch_has_none() -> None:
    times = CompletionTimes(Settings())
    for name in ("quick", "slow", "cancelled"):
        times.submitted(name, NOW)
    times.ended("quick", NOW + 60, completed=True)
    times.ended("cancelled", NOW + 60, completed=False)
    assert [forecast.covered for forecast in times.settle_forecasts(NOW + 60)] == [True]
    assert [forecast.covered for forecast in times.settle_forecasts(NOW + DAY)] == [False]
    times.ended("slow", NOW + DAY, completed=True)
    assert times.settle_forecasts(NOW + 2 * DAY) == []


def test_a_restart_forgets_nothing() -> None:
    random = Random(7)
    times = CompletionTimes(Settings())
    at = told(times, [lognormal(random, 900) for _ in range(200)])
    again = CompletionTimes.restored(Settings(), json.loads(json.dumps(times.snapshot())))
    for within in (60.0, 900.0, HOUR):
        assert again.chance(within, at + HOUR) == pytest.approx(times.chance(within, at + HOUR), abs=1e-4)
    assert again.quote(at + HOUR) == pytest.approx(times.quote(at + HOUR), rel=1e-3)
    assert again.observed == pytest.approx(times.observed, abs=1e-3)


def test_a_snapshot_on_another_grid_is_passed_over() -> None:
    times = CompletionTimes(Settings())
    at = told(times, [5.0] * 100)
    other = CompletionTimes.restored(Settings(horizon_seconds=HOUR), times.snapshot())
    assert other.observed == 0
    assert other.chance(60, at) < 0.1


@pytest.mark.parametrize(
    "broken", [{}, {"horizon_seconds": 86_400.0}, {"horizon_seconds": 86_400.0, "slow": {"at": "x"}}]
)
def test_what_is_no_snapshot_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"snapshot|missing"):
        CompletionTimes.restored(Settings(), broken)


def test_unknown_and_repeated_words_are_harmless() -> None:
    times = CompletionTimes(Settings())
    before = times.chance(900, NOW)
    times.ended("unknown", NOW, completed=True)
    assert times.chance(900, NOW) == before
    times.submitted("b", NOW)
    times.submitted("b", NOW + 500)
    times.ended("b", NOW + 600, completed=True)
    times.ended("b", NOW + 700, completed=True)
    assert times.observed == pytest.approx(1.0, abs=0.01)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    times = CompletionTimes(Settings())
    times.submitted("b", NOW)
    times.ended("b", NOW - 100, completed=True)
    assert 0 <= times.chance(900, NOW - 1000) <= 1


def test_years_of_silence_are_no_overflow() -> None:
    times = CompletionTimes(Settings(half_life_fast_seconds=1.0, half_life_slow_seconds=1.0))
    at = told(times, [5.0] * 3)
    assert times.chance(900, at + 1000 * DAY) == pytest.approx(CompletionTimes(Settings()).chance(900, at), abs=1e-3)


EVENTS = st.lists(st.tuples(st.floats(1, 2 * DAY), st.booleans()), max_size=30)


@given(events=EVENTS, within=st.lists(st.floats(0, 2 * DAY), min_size=2, max_size=5))
@settings(max_examples=50)
def test_odds_are_odds_and_grow_with_the_time_that_is_given(
    events: list[tuple[float, bool]], within: list[float]
) -> None:
    times = CompletionTimes(Settings())
    for number, (seconds, completed) in enumerate(events):
        times.submitted(f"b{number}", NOW)
        times.ended(f"b{number}", NOW + seconds, completed=completed)
    odds = [times.chance(seconds, NOW + 3 * DAY) for seconds in sorted(within)]
    assert all(0 <= chance <= 1 for chance in odds)
    assert odds == sorted(odds)


@given(events=EVENTS, share=st.floats(0.01, 0.95))
@settings(max_examples=50)
def test_a_quantile_is_the_time_with_these_odds(events: list[tuple[float, bool]], share: float) -> None:
    times = CompletionTimes(Settings())
    for number, (seconds, completed) in enumerate(events):
        times.submitted(f"b{number}", NOW)
        times.ended(f"b{number}", NOW + seconds, completed=completed)
    at = NOW + 3 * DAY
    quantile = times.quantile(share, at)
    if quantile < Settings().horizon_seconds:
        assert times.chance(quantile * 1.0001, at) >= share - 0.01
        assert times.chance(quantile * 0.9, at) <= share + 1e-9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(prior_median_seconds=0), "prior_median_seconds: 0 must be more than 0"),
        (lambda: Settings(prior_batches=-1), "prior_batches: -1"),
        (lambda: Settings(horizon_seconds=math.inf), "horizon_seconds: inf"),
        (lambda: Settings(half_life_fast_seconds=DAY * 9), "half_life_fast_seconds: .* is more than"),
        (lambda: Settings(quoted_share=1.0), "quoted_share: 1.0 is no quantile"),
        (lambda: Settings(congested_share=0.0), "congested_share: 0.0 is no quantile"),
        (lambda: Settings(calibration_step=1.0), "calibration_step: 1.0 is no step"),
        (lambda: Settings(congested_open=0), "congested_open: 0 is no crowd"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(build: Callable[[], Settings], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()

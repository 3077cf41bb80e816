"""From what is known of a model to what the planner asks."""

import pytest

from proxy.routing.latency import CompletionTimes, Settings
from proxy.routing.outlook import Experience, outlook

NOW, HOUR = 1_800_000_000.0, 3600.0


def experienced(hours: float) -> CompletionTimes:
    """Times of batches that took so long, a hundred of them."""
    times = CompletionTimes(Settings())
    for number in range(100):
        times.submitted(str(number), NOW - 12 * HOUR)
        times.ended(str(number), NOW - 12 * HOUR + hours * HOUR, completed=True)
    return times


def known(batches: CompletionTimes) -> Experience:
    return Experience(
        batches=batches,
        prior=CompletionTimes(Settings()),
        odds_needed=0.5,
        call_seconds=120.0,
        flex_lead_seconds=60.0,
        flex_under_seconds=HOUR,
    )


def test_every_tier_needs_the_time_for_a_call_after_it() -> None:
    seen = outlook(known(CompletionTimes(Settings())), lambda deadline_at: deadline_at > NOW, NOW)
    assert seen.call_needs_seconds == 120.0
    assert seen.flex_needs_seconds == 180.0
    assert seen.batch_needs_seconds == CompletionTimes(Settings()).quantile(0.5, NOW) + 120.0
    assert (seen.flex_under_seconds, seen.odds_needed, seen.mix) == (HOUR, 0.5, None)
    assert seen.covers(NOW + 1)
    assert not seen.covers(NOW)


def test_fast_batches_need_less_time_and_slow_ones_no_more_than_was_believed() -> None:
    believed = outlook(known(CompletionTimes(Settings())), lambda _: True, NOW)
    fast, slow = (outlook(known(experienced(hours)), lambda _: True, NOW) for hours in (0.01, 6.0))
    assert fast.batch_needs_seconds < believed.batch_needs_seconds
    assert slow.batch_needs_seconds == believed.batch_needs_seconds


def test_odds_are_as_learned_and_the_time_for_odds_is_the_inverse() -> None:
    seen = outlook(known(experienced(6.0)), lambda _: True, NOW)
    assert seen.odds(HOUR) < 0.5 < seen.odds(8 * HOUR)
    assert seen.odds(seen.time_for(0.7)) == pytest.approx(0.7, abs=0.01)

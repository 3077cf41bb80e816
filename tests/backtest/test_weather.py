import pytest

from proxy.backtest.weather import CompletionPath, World
from proxy.domain.errors import Bug

HOUR, DAY = 3600.0, 86_400.0
SPAN = 14 * DAY
NORMAL = CompletionPath(World.NORMAL, SPAN, "gpt-4.1", 1)


def share_within(path: CompletionPath, seconds: float) -> float:
    minutes = range(0, int(SPAN), 60)
    return sum(path.completed_at(at) - at <= seconds for at in minutes) / len(minutes)


def test_normal_completion_times_are_shaped_as_the_emulators_mixture_says() -> None:
    assert share_within(NORMAL, 13 * 60) == pytest.approx(0.5, abs=0.1)
    assert share_within(NORMAL, HOUR) == pytest.approx(0.8, abs=0.1)
    assert share_within(NORMAL, DAY) > 0.99


def test_every_batch_of_a_minute_ends_at_the_same_instant() -> None:
    assert NORMAL.completed_at(600.0) == NORMAL.completed_at(659.9)
    assert NORMAL.completed_at(600.0) > 601.0


def test_the_best_that_can_still_come_is_never_later_and_never_earlier_than_any_that_comes() -> None:
    for at in range(0, int(2 * DAY), 977):
        best = NORMAL.best_after(at)
        assert best == min(NORMAL.completed_at(max(later, at)) for later in range(at // 60 * 60, at + 7 * 86_400, 60))


def test_a_seed_and_a_model_decide_the_path() -> None:
    again = CompletionPath(World.NORMAL, SPAN, "gpt-4.1", 1)
    assert [again.completed_at(at) for at in range(0, 86_400, 60)] == [
        NORMAL.completed_at(at) for at in range(0, 86_400, 60)
    ]
    for other in (CompletionPath(World.NORMAL, SPAN, "gpt-4.1", 2), CompletionPath(World.NORMAL, SPAN, "o4-mini", 1)):
        assert any(other.completed_at(at) != NORMAL.completed_at(at) for at in range(0, 86_400, 60))


def test_in_the_stuck_world_nothing_finishes_for_two_days() -> None:
    path = CompletionPath(World.STUCK, SPAN, "m", 1)
    begin, end = SPAN / 2 - DAY, SPAN / 2 + DAY
    ends = [path.completed_at(at) for at in range(0, int(SPAN), 60)]
    assert not [at for at in ends if begin + 60 < at < end]
    assert any(at > end for at in ends)


def test_in_the_outage_world_nothing_finishes_from_ten_to_eighteen() -> None:
    path = CompletionPath(World.OUTAGE, 3 * DAY, "m", 1)
    ends = [path.completed_at(at) for at in range(0, int(3 * DAY), 60)]
    assert not [at for at in ends if 10 * HOUR + 60 < at % DAY < 18 * HOUR and at < 3 * DAY]


def test_the_other_worlds_are_slower() -> None:
    assert share_within(CompletionPath(World.SLOW3, SPAN, "gpt-4.1", 1), HOUR) < share_within(NORMAL, HOUR) - 0.05
    assert share_within(CompletionPath(World.CONGESTED, SPAN, "gpt-4.1", 1), HOUR) < 0.25


def test_nothing_is_created_before_the_trace_begins() -> None:
    with pytest.raises(Bug):
        NORMAL.completed_at(-1.0)

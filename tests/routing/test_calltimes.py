import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import UpstreamName
from proxy.domain.tier import Tier
from proxy.routing import calltimes
from proxy.routing.calltimes import CallTimes, Judged

NAME = UpstreamName("openai")
MODEL = "o3"


def after(seconds: list[float]) -> float:
    times = CallTimes()
    for took in seconds:
        times.observe(NAME, MODEL, took)
    return times.within_seconds(NAME, MODEL, 0.999)


def test_before_there_is_experience_nothing_is_claimed() -> None:
    assert CallTimes().within_seconds(NAME, MODEL, 0.999) == 0.0


@given(seconds=st.lists(st.floats(0, 590), min_size=1, max_size=300))
def test_few_calls_are_judged_by_the_slowest(seconds: list[float]) -> None:
    assert max(seconds) - 1e-9 <= after(seconds) <= max(*seconds, 0.1) * 1.1 + 1e-9


def test_one_call_in_a_thousand_may_be_slower() -> None:
    assert after([300.0] + [10.0] * 3000) == pytest.approx(10.0, rel=0.1)
    assert after(([300.0] + [10.0] * 300) * 5) == pytest.approx(300.0, rel=0.1)


def test_less_confidence_reckons_with_faster_calls() -> None:
    times = CallTimes()
    for took in [1.0] * 90 + [60.0] * 9 + [300.0]:
        times.observe(NAME, MODEL, took)
    found = [times.within_seconds(NAME, MODEL, share) for share in (0.5, 0.95, 0.999)]
    assert found == pytest.approx([1.0, 60.0, 300.0], rel=0.1)


def test_what_has_become_faster_is_believed_after_some_thousand_calls() -> None:
    assert after([200.0] * 1000 + [1.0] * 50_000) == pytest.approx(1.0, rel=0.1)


def test_it_takes_any_number_of_calls() -> None:
    assert after([1.0] * 200_000) == pytest.approx(1.0, rel=0.1)


def test_a_client_that_reads_for_hours_counts_as_ten_minutes() -> None:
    assert after([10_000.0]) <= calltimes.SECONDS_MAX * 1.1


def test_another_model_has_times_of_its_own() -> None:
    times = CallTimes()
    times.observe(NAME, MODEL, 100.0)
    assert times.within_seconds(NAME, "gpt-4o-mini", 0.999) == 0.0


def test_names_that_clients_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calltimes, "MODELS_MAX", 2)
    times = CallTimes()
    for model in ("a", "b", "c"):
        times.observe(NAME, model, 1.0)
    assert [times.within_seconds(NAME, model, 0.999) > 0 for model in ("a", "b", "c")] == [False, True, True]


def test_every_tier_has_times_of_its_own_and_at_flex_nine_in_ten_count() -> None:
    times = CallTimes()
    for number in range(1000):
        times.observe(NAME, MODEL, 1.0)
        times.observe(NAME, MODEL, 300.0 if number % 20 == 0 else 60.0, Tier.FLEX)
    assert times.within_seconds(NAME, MODEL, 0.999) == pytest.approx(1.0, rel=0.1)
    assert times.within_seconds(NAME, MODEL, 0.9, Tier.FLEX) == pytest.approx(60.0, rel=0.1)
    assert times.within_seconds(NAME, MODEL, 0.999, Tier.PRIORITY) == 0.0
    assert sorted(times.forecasts()) == [(NAME, MODEL, Tier.FLEX), (NAME, MODEL, Tier.STANDARD)]


def test_calls_that_were_cut_off_count_as_having_taken_longer() -> None:
    """Of those that were let run, most took 20 s; but a third was cut off after 30, and of some that were not the end
    was seen at 200.
    """
    times = CallTimes()
    for _ in range(100):
        for _ in range(6):
            times.observe(NAME, MODEL, 20.0, Tier.FLEX)
        for _ in range(3):
            times.observe(NAME, MODEL, 30.0, Tier.FLEX, ended=False)
        times.observe(NAME, MODEL, 200.0, Tier.FLEX)
    assert times.within_seconds(NAME, MODEL, 0.9, Tier.FLEX) == pytest.approx(200.0, rel=0.1)


def test_where_every_call_is_cut_off_the_longest_is_expected() -> None:
    times = CallTimes()
    for _ in range(30):
        times.observe(NAME, MODEL, 90.0, Tier.FLEX, ended=False)
    assert times.within_seconds(NAME, MODEL, 0.9, Tier.FLEX) == calltimes.SECONDS_MAX


def test_the_quotes_hold_as_often_as_they_say() -> None:
    random = Random(8)
    times = CallTimes()
    for _ in range(20_000):
        times.observe(NAME, MODEL, random.lognormvariate(1.0, 0.5), Tier.FLEX)
        times.within_seconds(NAME, MODEL, 0.9, Tier.FLEX)
    (judged,) = times.judge()
    assert (judged.upstream, judged.model, judged.tier, judged.quantile) == (NAME, MODEL, Tier.FLEX, 0.9)
    assert judged.covered / (judged.covered + judged.missed) == pytest.approx(0.92, abs=0.03)
    assert times.judge() == []


def test_what_was_never_quoted_is_not_judged_nor_what_was_cut_off_within_the_quote() -> None:
    times = CallTimes()
    times.observe(NAME, MODEL, 10.0)
    assert times.judge() == []
    assert times.within_seconds(NAME, MODEL, 0.999) > 0
    times.observe(NAME, MODEL, 5.0, ended=False)
    assert times.judge() == []
    times.observe(NAME, MODEL, 5.0)
    times.observe(NAME, MODEL, 50.0, ended=False)
    assert times.judge() == [Judged(NAME, MODEL, Tier.STANDARD, 0.999, covered=1, missed=1)]


def test_a_restart_forgets_nothing() -> None:
    random = Random(9)
    times = CallTimes()
    for _ in range(500):
        times.observe(NAME, MODEL, random.lognormvariate(1.0, 0.5))
        times.observe(NAME, MODEL, 30.0, Tier.FLEX, ended=random.random() < 0.5)
    again = CallTimes()
    again.restore(NAME, MODEL, json.loads(json.dumps(times.snapshot(NAME, MODEL))))
    for tier in (Tier.STANDARD, Tier.FLEX):
        expected = times.within_seconds(NAME, MODEL, 0.9, tier)
        assert again.within_seconds(NAME, MODEL, 0.9, tier) == pytest.approx(expected)
    assert times.snapshot(NAME, "gpt-4o-mini") == {}


def test_own_experience_is_not_overwritten() -> None:
    stored, own = CallTimes(), CallTimes()
    stored.observe(NAME, MODEL, 100.0)
    own.observe(NAME, MODEL, 1.0)
    own.restore(NAME, MODEL, stored.snapshot(NAME, MODEL))
    assert own.within_seconds(NAME, MODEL, 0.999) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(
    "broken",
    [
        {"overnight": {"ended": [], "cut_off": []}},
        {"standard": []},
        {"standard": {"ended": [[1, 2.0]]}},
        {"standard": {"ended": [[1]], "cut_off": []}},
        {"standard": {"ended": [[-1, 1.0]], "cut_off": []}},
        {"standard": {"ended": [[100_000, 1.0]], "cut_off": []}},
        {"standard": {"ended": [["x", 1.0]], "cut_off": []}},
        {"standard": {"ended": [[1, -1.0]], "cut_off": []}},
    ],
)
def test_what_is_no_snapshot_is_refused(broken: dict[str, object]) -> None:
    times = CallTimes()
    with pytest.raises(ValueError, match=r"calls|overnight"):
        times.restore(NAME, MODEL, broken)
    assert times.within_seconds(NAME, MODEL, 0.999) == 0.0

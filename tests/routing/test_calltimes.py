import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import UpstreamName
from proxy.routing import calltimes
from proxy.routing.calltimes import CallTimes

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

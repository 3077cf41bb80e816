import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.flex import Capacity, Settings, may_begin

SETTINGS = Settings(lead_seconds=120, least_seconds=30, pause_seconds=2, pause_max_seconds=20)


@pytest.mark.parametrize(
    ("left", "waits_for_batch", "may"),
    [
        (29, True, False),
        (30, True, True),
        (120, True, True),
        (121, True, False),
        (29, False, False),
        (30, False, True),
        (7200, False, True),
    ],
)
def test_a_batch_has_its_time_and_a_call_has_its_least(
    left: float,
    waits_for_batch: bool,  # noqa: FBT001  a parameter of the table
    may: bool,  # noqa: FBT001
) -> None:
    begins = may_begin(move_at=1000.0 + left, waits_for_batch=waits_for_batch, now=1000.0, settings=SETTINGS)
    assert begins is may


def test_refusals_pause_twice_as_long_each_time_up_to_the_longest() -> None:
    capacity = Capacity(SETTINGS)
    pauses = []
    now = 100.0
    for _ in range(6):
        capacity.refused(now)
        pauses.append(capacity.asked_again_at - now)
        now = capacity.asked_again_at
    assert pauses == [2, 4, 8, 16, 20, 20]


def test_an_answer_ends_the_doubling() -> None:
    capacity = Capacity(SETTINGS)
    for now in (0.0, 10.0, 20.0):
        capacity.refused(now)
    capacity.served()
    capacity.refused(100.0)
    assert capacity.asked_again_at == 102.0


def test_what_is_not_sold_at_flex_is_left_alone_for_long() -> None:
    capacity = Capacity(SETTINGS)
    capacity.not_sold(100.0, for_seconds=600.0)
    capacity.refused(110.0)
    assert capacity.asked_again_at == 700.0


@given(refusals=st.lists(st.floats(0, 1e6), min_size=1, max_size=2000))
def test_a_pause_never_ends_earlier_than_was_said(refusals: list[float]) -> None:
    capacity = Capacity(SETTINGS)
    said = capacity.asked_again_at
    for now in refusals:
        capacity.refused(now)
        assert capacity.asked_again_at >= max(said, now)
        assert capacity.asked_again_at <= max(said, now + SETTINGS.pause_max_seconds)
        said = capacity.asked_again_at


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lead_seconds": -1.0}, "lead_seconds"),
        ({"pause_max_seconds": float("inf")}, "pause_max_seconds"),
        ({"least_seconds": 200.0}, "least_seconds"),
        ({"calls_share": 0.0}, "calls_share"),
        ({"calls_share": 1.5}, "calls_share"),
    ],
)
def test_settings_that_make_no_sense_are_named(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Settings(**wrong)

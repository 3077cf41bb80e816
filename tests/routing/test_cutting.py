import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.events import CutReason
from proxy.domain.ids import CredentialId, RequestId, UpstreamName
from proxy.domain.request import Pending, Queue, QueueDepth
from proxy.routing.cutting import LINE_OVERHEAD_BYTES, Settings, choose, next_cut_at, reason_to_cut

NOW = 1_800_000_000.0
HOUR = 3600.0
NEEDS = 1800.0
SETTINGS = Settings(lines_max=100, bytes_max=100_000, tokens_max=5000)
QUEUE = Queue(UpstreamName("openai"), CredentialId("c"), "/v1/chat/completions", "m")
YOUNG = QueueDepth(QUEUE, 10, 1000, 100, oldest_at=NOW - 10, earliest_deadline_at=NOW + 4 * HOUR)


def pending(number: int, left: float, body_bytes: int = 100, tokens: int = 10, accepted_at: float = NOW) -> Pending:
    return Pending(RequestId(f"req-{number:06}"), accepted_at, NOW + left, body_bytes, tokens)


def reason(depth: QueueDepth, now: float = NOW, settings: Settings = SETTINGS) -> CutReason | None:
    return reason_to_cut(depth, now=now, settings=settings, needs_seconds=NEEDS)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (YOUNG, None),
        (replace(YOUNG, requests=99), None),
        (replace(YOUNG, requests=100), CutReason.LINES),
        (replace(YOUNG, body_bytes=100_000 - 10 * LINE_OVERHEAD_BYTES - 1), None),
        (replace(YOUNG, body_bytes=100_000 - 10 * LINE_OVERHEAD_BYTES), CutReason.BYTES),
        (replace(YOUNG, estimated_tokens=4999), None),
        (replace(YOUNG, estimated_tokens=5000), CutReason.TOKENS),
        (replace(YOUNG, oldest_at=NOW - 59.9), None),
        (replace(YOUNG, oldest_at=NOW - 60), CutReason.AGE),
        # by the time that the queue is old, the tightest request would not have the time that a batch needs
        (replace(YOUNG, earliest_deadline_at=NOW + NEEDS + 60.1), None),
        (replace(YOUNG, earliest_deadline_at=NOW + NEEDS + 60), CutReason.SLACK),
        (replace(YOUNG, earliest_deadline_at=NOW + NEEDS), CutReason.SLACK),
        # too late for a batch already
        (replace(YOUNG, earliest_deadline_at=NOW + NEEDS - 0.1), None),
        (replace(YOUNG, requests=0, body_bytes=0, oldest_at=0.0), None),
    ],
)
def test_a_queue_is_cut_when_it_is_full_or_old_or_its_tightest_request_can_wait_no_longer(
    depth: QueueDepth, expected: CutReason | None
) -> None:
    assert reason(depth) is expected


def test_without_a_limit_on_tokens_they_are_no_reason() -> None:
    assert reason(replace(YOUNG, estimated_tokens=10**12), settings=replace(SETTINGS, tokens_max=None)) is None


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (YOUNG, NOW + 50),
        (replace(YOUNG, requests=100), NOW),
        (replace(YOUNG, requests=0), math.inf),
        (replace(YOUNG, earliest_deadline_at=NOW + NEEDS + 60 + 20), NOW + 20),
        (replace(YOUNG, earliest_deadline_at=NOW + 5), NOW + 50),
    ],
)
def test_the_next_look_is_when_the_queue_will_be_due(depth: QueueDepth, expected: float) -> None:
    assert next_cut_at(depth, now=NOW, settings=SETTINGS, needs_seconds=NEEDS) == expected


@given(age=st.floats(0, 120), left=st.floats(-100, 5000))
def test_a_queue_is_due_exactly_from_the_announced_instant_on(age: float, left: float) -> None:
    depth = replace(YOUNG, oldest_at=NOW - age, earliest_deadline_at=NOW + left)
    at = next_cut_at(depth, now=NOW, settings=SETTINGS, needs_seconds=NEEDS)
    assert at >= NOW
    assert reason(depth, now=at) is not None
    if at > NOW:
        assert reason(depth, now=(NOW + at) / 2) is None


@given(left=st.floats(NEEDS, 3 * NEEDS))
def test_a_request_that_has_the_time_for_a_batch_still_has_it_when_its_queue_is_cut(left: float) -> None:
    depth = replace(YOUNG, requests=1, oldest_at=NOW, earliest_deadline_at=NOW + left)
    at = next_cut_at(depth, now=NOW, settings=SETTINGS, needs_seconds=NEEDS)
    assert depth.earliest_deadline_at - at >= NEEDS


def numbers(chosen: list[Pending]) -> list[int]:
    return [int(item.id.removeprefix("req-")) for item in chosen]


def test_nothing_pending_means_nothing_chosen() -> None:
    assert choose([], now=NOW, settings=SETTINGS) == []


def test_the_tightest_go_first_then_the_oldest() -> None:
    mixed = [pending(1, HOUR), pending(2, HOUR / 2), pending(3, HOUR, accepted_at=NOW - 5), pending(4, HOUR)]
    assert numbers(choose(mixed, now=NOW, settings=SETTINGS)) == [2, 3, 1, 4]


@pytest.mark.parametrize(
    ("first_left", "second_left", "together"),
    [
        (HOUR, 2 * HOUR, True),
        (HOUR, 2 * HOUR + 1, False),
        (HOUR, 24 * HOUR, False),
        (12 * HOUR, 24 * HOUR, True),
        # near deadlines share whatever the factor
        (10, 900, True),
        (10, 901, False),
        # a deadline that has passed is near
        (-50, 900, True),
    ],
)
def test_requests_with_far_apart_deadlines_do_not_share_a_batch(
    first_left: float,
    second_left: float,
    together: bool,  # noqa: FBT001  a parameter of the table
) -> None:
    chosen = choose([pending(2, second_left), pending(1, first_left)], now=NOW, settings=SETTINGS)
    assert numbers(chosen) == ([1, 2] if together else [1])


def test_a_batch_has_at_most_its_lines() -> None:
    many = [pending(number, HOUR) for number in range(250)]
    assert len(choose(many, now=NOW, settings=SETTINGS)) == 100


def test_a_batch_has_at_most_its_bytes_with_what_each_line_adds() -> None:
    exact = Settings(bytes_max=3 * (100 + LINE_OVERHEAD_BYTES))
    many = [pending(number, HOUR) for number in range(5)]
    assert len(choose(many, now=NOW, settings=exact)) == 3
    assert len(choose(many, now=NOW, settings=replace(exact, bytes_max=exact.bytes_max - 1))) == 2


def test_a_batch_has_at_most_its_tokens() -> None:
    many = [pending(number, HOUR) for number in range(5)]
    assert len(choose(many, now=NOW, settings=Settings(tokens_max=30))) == 3
    assert len(choose(many, now=NOW, settings=Settings(tokens_max=29))) == 2


def test_a_line_that_is_larger_than_any_limit_goes_alone() -> None:
    large = pending(1, HOUR, body_bytes=10**9, tokens=10**9)
    assert numbers(choose([large, pending(2, HOUR)], now=NOW, settings=SETTINGS)) == [1]


PENDING = st.builds(
    pending,
    number=st.integers(0, 10**6),
    left=st.floats(-HOUR, 24 * HOUR),
    body_bytes=st.integers(1, 60_000),
    tokens=st.integers(0, 3000),
)


@given(items=st.lists(PENDING, max_size=300, unique_by=lambda item: item.id))
def test_cutting_again_and_again_takes_every_request_once_and_keeps_every_limit(items: list[Pending]) -> None:
    left = items
    while left:
        chosen = choose(left, now=NOW, settings=SETTINGS)
        assert 1 <= len(chosen) <= SETTINGS.lines_max
        if len(chosen) > 1:
            assert sum(item.body_bytes + LINE_OVERHEAD_BYTES for item in chosen) <= SETTINGS.bytes_max
            assert sum(item.estimated_tokens for item in chosen) <= 5000
        deadlines = [item.deadline_at for item in chosen]
        assert deadlines == sorted(deadlines)
        assert deadlines[0] == min(item.deadline_at for item in left)
        assert deadlines[-1] - NOW <= max((deadlines[0] - NOW) * 2, 900) + 1e-6
        ids = {item.id for item in chosen}
        assert len(ids) == len(chosen)
        left = [item for item in left if item.id not in ids]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(lines_max=0), "lines_max: 0 is no limit to work under; give at least 1"),
        (lambda: Settings(bytes_max=0), "bytes_max: 0"),
        (lambda: Settings(creations_per_hour=0), "creations_per_hour: 0"),
        (lambda: Settings(tokens_max=0), "tokens_max: 0 is no limit; give at least 1, or leave it out"),
        (lambda: Settings(age_seconds=-1), "age_seconds: -1 is no duration; give 0 s or more"),
        (lambda: Settings(deadline_near_seconds=math.inf), "deadline_near_seconds: inf"),
        (lambda: Settings(deadline_spread=0.5), "deadline_spread: 0.5 is no factor; give 1 or more, such as 2"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(build: Callable[[], Settings], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_fractions_of_a_second_and_the_least_limits_are_settings() -> None:
    tiny = Settings(
        lines_max=1, bytes_max=1, tokens_max=1, age_seconds=0.05, deadline_near_seconds=0, deadline_spread=1
    )
    assert tiny.age_seconds == 0.05

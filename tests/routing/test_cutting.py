import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.ids import CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.labels import CutReason
from proxy.domain.request import Queue, QueueDepth, Stage, Waiting
from proxy.routing.cutting import (
    LINE_OVERHEAD_BYTES,
    Settings,
    groups,
    next_cut_at,
    reason_to_cut,
    thrifty,
    wait_seconds,
)

NOW = 1_800_000_000.0
HOUR = 3600.0
NEEDS = 1800.0
SETTINGS = Settings(lines_max=100, bytes_max=100_000, tokens_max=5000, age_seconds=60, age_share=1.0)
QUEUE = Queue(UpstreamName("openai"), CredentialId("c"), "/v1/chat/completions", "m")
YOUNG = QueueDepth(QUEUE, 10, 1000, 100, oldest_at=NOW - 10, earliest_deadline_at=NOW + 4 * HOUR)


def pending(number: int, left: float, body_bytes: int = 100, tokens: int = 10, accepted_at: float = NOW) -> Waiting:
    return Waiting(
        id=RequestId(f"req-{number:06}"),
        tenant=TenantId("t"),
        queue=QUEUE,
        policy="default",
        stage=Stage.QUEUED,
        batch_id=None,
        calling=False,
        tries=0,
        ready_at=accepted_at,
        accepted_at=accepted_at,
        deadline_at=NOW + left,
        body_bytes=body_bytes,
        estimated_tokens=tokens,
    )


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
        (replace(YOUNG, earliest_deadline_at=NOW + 5), NOW + 5),
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


@pytest.mark.parametrize(
    ("left", "waits"), [(900, 9), (HOUR, 36), (4 * HOUR, 144), (24 * HOUR, 864), (48 * HOUR, 900), (-50, 0)]
)
def test_company_is_waited_for_as_long_as_the_tightest_can_afford(left: float, waits: float) -> None:
    depth = replace(YOUNG, oldest_at=NOW, earliest_deadline_at=NOW + left)
    assert wait_seconds(depth, Settings()) == pytest.approx(waits)


def numbers(chosen: Sequence[Waiting]) -> list[int]:
    return [int(item.id.removeprefix("req-")) for item in chosen]


def first(items: list[Waiting], settings: Settings = SETTINGS) -> Sequence[Waiting]:
    """The tightest group."""
    return groups(items, now=NOW, settings=settings)[0].items


def test_nothing_pending_means_no_group() -> None:
    assert groups([], now=NOW, settings=SETTINGS) == []


def test_the_tightest_go_first_then_the_oldest() -> None:
    mixed = [pending(1, HOUR), pending(2, HOUR / 2), pending(3, HOUR, accepted_at=NOW - 5), pending(4, HOUR)]
    assert numbers(first(mixed)) == [2, 3, 1, 4]


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
    found = groups([pending(2, second_left), pending(1, first_left)], now=NOW, settings=SETTINGS)
    assert [numbers(group.items) for group in found] == ([[1, 2]] if together else [[1], [2]])
    assert all(group.full_of is None for group in found)


def test_a_batch_has_at_most_its_lines() -> None:
    many = [pending(number, HOUR) for number in range(250)]
    found = groups(many, now=NOW, settings=SETTINGS)
    assert [len(group.items) for group in found] == [100, 100, 50]
    assert [group.full_of for group in found] == [CutReason.LINES, CutReason.LINES, None]


def test_a_batch_has_at_most_its_bytes_with_what_each_line_adds() -> None:
    exact = Settings(bytes_max=3 * (100 + LINE_OVERHEAD_BYTES))
    many = [pending(number, HOUR) for number in range(5)]
    assert len(first(many, exact)) == 3
    assert len(first(many, replace(exact, bytes_max=exact.bytes_max - 1))) == 2
    assert groups(many, now=NOW, settings=exact)[0].full_of is CutReason.BYTES


def test_a_batch_has_at_most_its_tokens() -> None:
    many = [pending(number, HOUR) for number in range(5)]
    assert len(first(many, Settings(tokens_max=30))) == 3
    assert len(first(many, Settings(tokens_max=29))) == 2
    assert groups(many, now=NOW, settings=Settings(tokens_max=30))[0].full_of is CutReason.TOKENS


def test_a_line_that_is_larger_than_any_limit_goes_alone() -> None:
    large = pending(1, HOUR, body_bytes=10**9, tokens=10**9)
    assert numbers(first([large, pending(2, HOUR)])) == [1]


PENDING = st.builds(
    pending,
    number=st.integers(0, 10**6),
    left=st.floats(-HOUR, 24 * HOUR),
    body_bytes=st.integers(1, 60_000),
    tokens=st.integers(0, 3000),
)


@given(items=st.lists(PENDING, max_size=300, unique_by=lambda item: item.id))
def test_groups_have_every_request_once_in_order_and_keep_every_limit(items: list[Waiting]) -> None:
    found = groups(items, now=NOW, settings=SETTINGS)
    everything = [item for group in found for item in group.items]
    assert [item.deadline_at for item in everything] == sorted(item.deadline_at for item in items)
    assert {item.id for item in everything} == {item.id for item in items}
    for group in found:
        assert 1 <= len(group.items) <= SETTINGS.lines_max
        if len(group.items) > 1:
            assert sum(item.body_bytes + LINE_OVERHEAD_BYTES for item in group.items) <= SETTINGS.bytes_max
            assert sum(item.estimated_tokens for item in group.items) <= 5000
        tightest, loosest = group.items[0].deadline_at, group.items[-1].deadline_at
        assert loosest - NOW <= max((tightest - NOW) * 2, 900) + 1e-6


@given(items=st.lists(PENDING, min_size=1, max_size=50, unique_by=lambda item: item.id))
def test_a_group_is_summed_up_as_a_queue_of_its_own(items: list[Waiting]) -> None:
    depths = [group.depth(QUEUE) for group in groups(items, now=NOW, settings=SETTINGS)]
    assert sum(depth.requests for depth in depths) == len(items)
    assert sum(depth.estimated_tokens for depth in depths) == sum(item.estimated_tokens for item in items)
    assert sum(depth.body_bytes for depth in depths) == sum(item.body_bytes for item in items)
    assert min(depth.oldest_at for depth in depths) == min(item.accepted_at for item in items)
    assert depths[0].earliest_deadline_at == min(item.deadline_at for item in items)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Settings(lines_max=0), "lines_max: 0 is no limit to work under; give at least 1"),
        (lambda: Settings(bytes_max=0), "bytes_max: 0"),
        (lambda: Settings(creations_per_hour=0), "creations_per_hour: 0"),
        (lambda: Settings(tokens_max=0), "tokens_max: 0 is no limit; give at least 1, or leave it out"),
        (lambda: Settings(age_seconds=-1), "age_seconds: -1 is no duration; give 0 s or more"),
        (lambda: Settings(age_share=0), "age_share: 0 is not a share; give more than 0, up to 1, such as 0.01"),
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


@pytest.mark.parametrize(("creations", "patience"), [(0, 1), (1000, 1), (1400, 5.5), (1800, 10), (5000, 10)])
def test_company_is_waited_for_longer_when_the_provider_takes_few_more_batches_this_hour(
    creations: int, patience: float
) -> None:
    settings = Settings(age_seconds=60.0, age_share=0.01, creations_per_hour=2000)
    thrift = thrifty(settings, creations=creations)
    assert thrift.age_seconds == pytest.approx(60.0 * patience)
    assert thrift.age_share == pytest.approx(0.01 * patience)
    assert replace(thrift, age_seconds=60.0, age_share=0.01) == settings

import pytest

from proxy.domain.ids import UpstreamName
from proxy.domain.labels import LimitKind
from proxy.domain.limits import RateReading
from proxy.routing.limitbook import LimitBook
from proxy.routing.ratelimit import Settings, Spent
from proxy.routing.shadow import Arrived

OPENAI, OTHER = UpstreamName("openai"), UpstreamName("other")


def test_each_model_of_each_upstream_has_limits_of_its_own_that_stay_the_same() -> None:
    book = LimitBook({OPENAI: Settings(requests_per_minute=60), OTHER: Settings()})
    mini = book.of(OPENAI, "mini", now=0.0)
    assert book.of(OPENAI, "mini", now=5.0) is mini
    assert book.of(OPENAI, "large", now=0.0) is not mini
    assert book.of(OTHER, "mini", now=0.0) is not mini
    assert [(upstream, model) for upstream, model, _ in book] == [(OPENAI, "mini"), (OPENAI, "large"), (OTHER, "mini")]


def test_configured_ceilings_are_the_upstreams() -> None:
    book = LimitBook({OPENAI: Settings(requests_per_minute=60, headroom=0.0), OTHER: Settings()})
    assert book.of(OPENAI, "mini", now=0.0).actual.available_rate_per_second() == 1.0
    assert book.of(OTHER, "mini", now=0.0).actual.available_rate_per_second() == float("inf")


def test_the_shadow_follows_the_same_limits() -> None:
    book = LimitBook({OPENAI: Settings(requests_per_minute=2)})
    limits = book.of(OPENAI, "mini", now=0.0)
    assert [limits.shadow.arrive(10, 0.0) is None for _ in range(3)] == [True, True, False]


# Several processes under one limit


def books(per_minute: float | None = 60.0) -> tuple[LimitBook, LimitBook]:
    settings = {OPENAI: Settings(requests_per_minute=per_minute)}
    return LimitBook(settings), LimitBook(settings)


def used(book: LimitBook, now: float = 0.0) -> float:
    return book.of(OPENAI, "mini", now).actual.used_ratios(now)[LimitKind.REQUESTS]


def test_what_another_process_sends_is_charged_once_however_often_it_is_said() -> None:
    ours, theirs = books()
    ours.hear("b", theirs.words(), 0.0)
    for _ in range(15):
        theirs.of(OPENAI, "mini", 0.0).actual.spend(10, 0.0)
    for _ in range(3):
        ours.hear("b", theirs.words(), 0.0)
    assert used(ours) == 0.25
    assert ours.of(OPENAI, "mini", 0.0).actual.spent == Spent()


def test_what_a_process_had_sent_before_it_was_met_is_not_charged() -> None:
    ours, theirs = books()
    theirs.of(OPENAI, "mini", 0.0).actual.spend(10, 0.0)
    ours.hear("b", theirs.words(), 0.0)
    assert used(ours) == 0.0


def test_a_lane_that_another_begins_is_charged_from_its_first_call_on() -> None:
    ours, theirs = books()
    ours.hear("b", [], 0.0)
    theirs.of(OPENAI, "mini", 0.0).actual.spend(10, 0.0)
    ours.hear("b", theirs.words(), 0.0)
    assert used(ours) == pytest.approx(1 / 60)


def test_a_process_that_was_gone_is_a_new_one() -> None:
    ours, theirs = books()
    ours.hear("b", theirs.words(), 0.0)
    ours.forget_all_but(["c"])
    theirs.of(OPENAI, "mini", 0.0).actual.spend(10, 0.0)
    ours.hear("b", theirs.words(), 0.0)
    assert used(ours) == 0.0


def test_the_urgent_traffic_of_others_leaves_less_room_for_deferred_calls() -> None:
    ours, theirs = books()
    ours.hear("b", theirs.words(), 0.0)
    before = ours.of(OPENAI, "mini", 0.0).actual.room(600.0, 0.0)
    for _ in range(100):
        theirs.of(OPENAI, "mini", 0.0).actual.spend(10, 0.0, urgent=True)
    ours.hear("b", theirs.words(), 0.0)
    assert ours.of(OPENAI, "mini", 0.0).actual.room(600.0, 0.0) < before


def test_a_limit_that_the_provider_has_told_one_is_known_to_all() -> None:
    ours, theirs = books(per_minute=None)
    reading = RateReading(limit_requests=120, remaining_requests=100)
    theirs.of(OPENAI, "mini", 0.0).actual.observe(reading, 0.0)
    ours.hear("b", theirs.words(), 0.0)
    assert ours.of(OPENAI, "mini", 0.0).actual.provider_limit(LimitKind.REQUESTS) == 120


def test_what_one_was_told_itself_is_not_changed_by_others() -> None:
    ours, theirs = books(per_minute=None)
    ours.of(OPENAI, "mini", 0.0).actual.observe(RateReading(limit_requests=50), 0.0)
    theirs.of(OPENAI, "mini", 0.0).actual.observe(RateReading(limit_requests=120), 0.0)
    ours.hear("b", theirs.words(), 0.0)
    assert ours.of(OPENAI, "mini", 0.0).actual.provider_limit(LimitKind.REQUESTS) == 50


def test_what_arrives_elsewhere_is_in_the_shadow_too() -> None:
    ours, theirs = books(per_minute=2.0)
    ours.hear("b", theirs.words(), 0.0)
    theirs.of(OPENAI, "mini", 0.0).shadow.arrive(10, 0.0)
    ours.hear("b", theirs.words(), 0.0)
    shadow = ours.of(OPENAI, "mini", 0.0).shadow
    assert [shadow.arrive(10, 0.0) is None for _ in range(2)] == [True, False]
    assert shadow.arrived == Arrived(2, 20)


def test_upstreams_that_are_not_configured_here_are_passed_over() -> None:
    ours = LimitBook({OPENAI: Settings()})
    theirs = LimitBook({OTHER: Settings()})
    theirs.of(OTHER, "mini", 0.0)
    ours.hear("b", theirs.words(), 0.0)
    assert list(ours) == []

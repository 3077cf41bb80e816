from proxy.domain.ids import UpstreamName
from proxy.routing.limitbook import LimitBook
from proxy.routing.ratelimit import Settings

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

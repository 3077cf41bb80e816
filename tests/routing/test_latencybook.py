import json

import pytest

from proxy.domain.ids import UpstreamName
from proxy.routing.latency import Settings
from proxy.routing.latencybook import LatencyBook

OPENAI, OTHER = UpstreamName("openai"), UpstreamName("other")
NOW = 1_800_000_000.0


def test_every_upstream_and_model_has_its_own_completion_times() -> None:
    book = LatencyBook(Settings())
    for number in range(200):
        book.of(OPENAI, "m").submitted(f"b{number}", NOW)
        book.of(OPENAI, "m").ended(f"b{number}", NOW + 5.0, completed=True)
    assert book.of(OPENAI, "m").quantile(0.5, NOW + 5) < 60
    assert book.of(OTHER, "m").quantile(0.5, NOW + 5) > 240
    assert {(upstream, model) for upstream, model, _ in book} == {(OPENAI, "m"), (OTHER, "m")}


def test_a_new_model_is_believed_to_take_as_long_as_the_others_until_it_shows_otherwise() -> None:
    book = LatencyBook(Settings())
    for number in range(100):
        book.of(OPENAI, "m").submitted(f"b{number}", NOW)
        book.of(OPENAI, "m").ended(f"b{number}", NOW + 5.0, completed=True)
    at = NOW + 600.0
    assert book.of(OPENAI, "new").quantile(0.5, at) < 60
    assert book.of(OTHER, "new").quantile(0.5, at) > 240
    for number in range(100):
        book.of(OPENAI, "new").submitted(f"n{number}", at)
        book.of(OPENAI, "new").ended(f"n{number}", at + 3000.0, completed=True)
    assert book.of(OPENAI, "new").quantile(0.5, at + 3000.0) == pytest.approx(3000.0, rel=0.1)
    assert book.of(OPENAI, "m").quantile(0.5, at + 3000.0) < 60


def test_batches_of_other_models_that_do_not_come_back_are_a_warning_to_a_new_one() -> None:
    book = LatencyBook(Settings())
    for number in range(100):
        book.of(OPENAI, "m").submitted(f"b{number}", NOW)
    later = NOW + 4 * 3600.0
    assert book.of(OPENAI, "new").chance(3600.0, later) < 0.6 * book.prior.chance(3600.0, later)


def test_what_was_learned_survives_as_json() -> None:
    book = LatencyBook(Settings())
    for number in range(50):
        book.of(OPENAI, "m").submitted(f"b{number}", NOW)
        book.of(OPENAI, "m").ended(f"b{number}", NOW + 5.0, completed=True)
    again = LatencyBook(Settings())
    again.restore(json.loads(json.dumps(book.snapshot())))
    for share in (0.1, 0.5, 0.9):
        assert again.of(OPENAI, "m").quantile(share, NOW + 600.0) == pytest.approx(
            book.of(OPENAI, "m").quantile(share, NOW + 600.0), rel=0.01
        )

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
    assert book.of(OPENAI, "n").quantile(0.5, NOW + 5) > 240
    assert book.of(OTHER, "m").quantile(0.5, NOW + 5) > 240
    assert {(upstream, model) for upstream, model, _ in book} == {(OPENAI, "m"), (OPENAI, "n"), (OTHER, "m")}


def test_what_was_learned_survives_as_json() -> None:
    book = LatencyBook(Settings())
    for number in range(50):
        book.of(OPENAI, "m").submitted(f"b{number}", NOW)
        book.of(OPENAI, "m").ended(f"b{number}", NOW + 5.0, completed=True)
    again = LatencyBook(Settings())
    again.restore(json.loads(json.dumps(book.snapshot())))
    for share in (0.1, 0.5, 0.9):
        assert again.of(OPENAI, "m").quantile(share, NOW + 9) == pytest.approx(
            book.of(OPENAI, "m").quantile(share, NOW + 9)
        )

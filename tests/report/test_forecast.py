"""When batches are expected is what the running process has learned and kept; nothing where it has learned nothing."""

import json

import pytest

from proxy.batching.learn import NOTE
from proxy.domain.moves import BatchPolled
from proxy.report.forecast import expected_at
from proxy.report.view import View
from proxy.routing import latency
from proxy.routing.latency import CompletionTimes
from proxy.store.interface import Store
from tests.report.conftest import NOW, Scene
from tests.store.samples import LANE, in_flight, planned, request

TEN_MINUTES = 600.0


def _learned() -> CompletionTimes:
    """A hundred batches that took ten minutes each."""
    times = CompletionTimes(latency.Settings())
    for number in range(100):
        times.submitted(f"bat-{number}", NOW - 5000 + number)
        times.ended(f"bat-{number}", NOW - 5000 + number + TEN_MINUTES, completed=True)
    return times


async def _fill(store: Store) -> None:
    made, _ = await in_flight(store, request())
    await planned(store, request())
    await store.apply([BatchPolled(made.id, 120.0, "in_progress", 0, 0, due_at=130.0)])


def _expected(scene: Scene, note: bytes | None) -> list[float]:
    async def fill(store: Store) -> None:
        await _fill(store)
        if note is not None:
            await store.save_note(f"{NOTE} {json.dumps(LANE)}", note)

    found: list[float] = []

    async def ask(view: View) -> int:
        found.extend((await expected_at(view, await view.reader.open_batches())).values())
        return 0

    scene.fill = fill
    scene.tell(ask)
    return found


def test_a_running_batch_is_expected_after_the_time_that_batches_have_taken(scene: Scene) -> None:
    snapshot = {"upstream": LANE.upstream, "model": LANE.model, **_learned().snapshot()}
    (at,) = _expected(scene, json.dumps(snapshot).encode())
    assert at - 113.0 == pytest.approx(TEN_MINUTES, rel=0.25)


def test_where_nothing_was_learned_or_what_was_cannot_be_read_nothing_is_expected(scene: Scene) -> None:
    assert _expected(scene, None) == []
    assert _expected(scene, b"{}") == []
    assert _expected(scene, b"no JSON") == []

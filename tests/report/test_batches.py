import json

import pytest

from proxy.domain.batch import BatchOutcome
from proxy.domain.errors import StoreFault
from proxy.domain.ids import BatchId
from proxy.domain.moves import BatchAbandoned, BatchEnded, BatchPolled
from proxy.report.batches import LINES_SHOWN, list_batches, show_batch
from proxy.report.sheet import Format
from proxy.store.interface import Store
from tests.report.conftest import Scene
from tests.store.samples import in_flight, planned, request

BATCHES: list[BatchId] = []


async def _fill(store: Store) -> None:
    """One that runs, one that has ended and was not collected yet, one that was never created."""
    runs, _ = await in_flight(store, *(request(f"req-{n:02}", deadline_at=10_000.0 - n) for n in range(12)))
    ended, _ = await in_flight(store, request("req-ended"))
    gone, _ = await planned(store, request("req-gone"))
    await store.apply(
        [
            BatchPolled(runs.id, 120.0, "in_progress", 5, 1, due_at=130.0),
            BatchEnded(ended.id, 150.0, BatchOutcome.EXPIRED, "expired", 1, 0, "out", None, due_at=150.0),
            BatchAbandoned(gone.id, 160.0, ready_at=160.0, tries_spent=1),
        ]
    )
    BATCHES[:] = [runs.id, ended.id, gone.id]


def _list(scene: Scene, closed: int = 0, form: Format = Format.TABLE) -> str:
    scene.fill = _fill
    return scene.tell(lambda view: list_batches(view, closed, form)).text


def _one(scene: Scene, number: int, form: Format = Format.TABLE) -> str:
    scene.fill = _fill
    return scene.tell(lambda view: show_batch(view, BATCHES[number], form)).text


def test_open_batches_have_the_providers_word_and_its_counts(scene: Scene) -> None:
    read = json.loads(_list(scene, form=Format.JSON))
    assert [(line["state"], line["provider_status"], line["outcome"]) for line in read] == [
        ("in_flight", "in_progress", None),
        ("ended", "expired", "expired"),
    ]
    assert (read[0]["lines"], read[0]["completed_lines"], read[0]["failed_lines"]) == (12, 5, 1)
    assert (read[1]["age_seconds"], read[1]["slack_seconds"]) == (37, None)
    assert read[0]["slack_seconds"] < 0


def test_the_table_has_a_bar_and_failures_only_where_there_are_any(scene: Scene) -> None:
    said = _list(scene)
    (line,) = [line for line in said.splitlines() if "in_progress" in line]
    assert "6/12" in line
    assert "━━━━━━━━" in line
    assert "failed" in said
    scene.width = 79
    assert max(len(line) for line in _list(scene).splitlines()) <= 79


def test_closed_ones_come_when_they_are_asked_for(scene: Scene) -> None:
    assert [line["state"] for line in json.loads(_list(scene, 1, Format.JSON))] == ["in_flight", "ended", "abandoned"]


def test_where_there_is_none_one_line_says_so(scene: Scene) -> None:
    assert scene.tell(lambda view: list_batches(view, 0, Format.TABLE)).text == "No batch is open.\n"
    assert scene.tell(lambda view: list_batches(view, 3, Format.TABLE)).text == "There are no batches.\n"
    assert scene.tell(lambda view: list_batches(view, 0, Format.CSV)).text.count("\n") == 1


def test_one_batch_has_its_open_requests_the_tightest_first(scene: Scene) -> None:
    _list(scene)
    said = _one(scene, 0)
    assert f"{LINES_SHOWN} of 12" in said
    assert said.index("req-11") < said.index("req-10")
    assert "req-01" not in said
    assert json.loads(_one(scene, 0, Format.JSON))["open_requests"] == 12


def test_an_unknown_id_is_one_line(scene: Scene) -> None:
    with pytest.raises(StoreFault, match="has no batch bat-none"):
        scene.tell(lambda view: show_batch(view, BatchId("bat-none"), Format.TABLE))

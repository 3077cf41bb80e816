import csv
import io
import json

import pytest

from proxy.domain.errors import StoreFault
from proxy.domain.ids import CredentialId, RequestId, TenantId
from proxy.domain.money import Purchase
from proxy.domain.moves import (
    AttemptAnswered,
    AttemptSent,
    AttemptSuperseded,
    CallPlanned,
    RequestCancelled,
    RequestExpired,
)
from proxy.domain.request import Queue, RequestState
from proxy.domain.tier import Tier
from proxy.report.requests import PAGE, Wish, list_requests, show_request
from proxy.report.sheet import Format
from proxy.store.interface import Store
from tests.report.conftest import NOW, Scene, row
from tests.store.samples import BOB, UPSTREAM, accepted, answer, call_for, expired, in_flight, ledger, request

OTHER = Queue(UPSTREAM, CredentialId("cred"), "/v1/responses", "gpt-4.1")
TIMES = {"accepted_at": NOW - 90, "deadline_at": NOW + 3600}


async def _fill(store: Store) -> None:
    """One of everything: answered and bought twice, in a batch, called, taken back, run out of time."""
    done = request("req-done", accepted_at=NOW - 90, deadline_at=NOW + 3600)
    _, (line,) = await in_flight(store, done)
    call = call_for(done)
    answered = AttemptAnswered(call.id, NOW - 30, answer(tier=Tier.STANDARD), ledger(call))
    await store.apply([CallPlanned(call), AttemptSent(call.id, NOW - 31), answered])
    await store.apply([AttemptSuperseded(line.id, NOW - 20, ledger(line, kind=Purchase.DUPLICATE, listed="0"))])
    await in_flight(store, request("req-flies", queue=OTHER, accepted_at=NOW - 90, deadline_at=NOW + 3600))
    (late, back) = await accepted(
        store,
        request("req-late", accepted_at=NOW - 900, deadline_at=NOW - 120),
        request("req-back", tenant=BOB, accepted_at=NOW - 90, deadline_at=NOW + 3600),
    )
    await store.apply([RequestExpired(late.id, NOW - 60, answer(504), expired(late, NOW - 60))])
    await store.apply([RequestCancelled(back.id, NOW - 10)])


def _list(scene: Scene, wish: Wish | None = None, form: Format = Format.TABLE) -> str:
    scene.fill = _fill
    return scene.tell(lambda view: list_requests(view, wish or Wish(), form)).text


def _ids(scene: Scene, wish: Wish) -> list[str]:
    return [line["id"] for line in json.loads(_list(scene, wish, Format.JSON))]


def test_the_newest_is_first_with_its_status_and_its_slack(scene: Scene) -> None:
    read = json.loads(_list(scene, form=Format.JSON))
    assert [(line["id"], line["status"], line["slack_seconds"], line["paid_usd"]) for line in read] == [
        ("req-back", "cancelled", None, None),
        ("req-late", "expired", -60, None),
        ("req-flies", "submitted", 3600, None),
        ("req-done", "done", 3630, "0.25"),
    ]
    assert read[3]["accepted_at"] == "2027-01-15T11:58:30.000+00:00"
    assert (read[3]["tier"], read[3]["reason"], read[3]["saved_usd"]) == ("standard", "deadline_allows", "0.25")


def test_the_table_says_it_for_a_person(scene: Scene) -> None:
    lines = [line for line in _list(scene).splitlines() if "req-flies" in line]
    (cells,) = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert cells[:10] == [
        *("req-flies", "alice", "gpt-4.1", "submitted", "-", "1m30s", "13:00:00", "1h", "-", "deadline_allows"),
    ]


def test_a_narrow_terminal_shows_fewer_columns_and_no_line_is_too_long(scene: Scene) -> None:
    scene.width = 70
    said = _list(scene)
    assert max(len(line) for line in said.splitlines()) <= 70
    assert "slack" in said
    assert "reason" not in said


def test_wishes_are_granted(scene: Scene) -> None:
    assert _ids(scene, Wish(state=RequestState.OPEN)) == ["req-flies"]
    assert _ids(scene, Wish(tenant=TenantId("bob"))) == ["req-back"]
    assert _ids(scene, Wish(model="gpt-4.*")) == ["req-flies"]
    assert _ids(scene, Wish(limit=2)) == ["req-back", "req-late"]
    assert _ids(scene, Wish(model="gpt-4o*", limit=2, state=RequestState.DONE)) == ["req-done"]


def test_a_model_is_looked_for_on_every_page(scene: Scene) -> None:
    async def fill(store: Store) -> None:
        await accepted(store, request("req-old", queue=OTHER), *(request() for _ in range(PAGE + 1)))

    scene.fill = fill
    told = scene.tell(lambda view: list_requests(view, Wish(model="gpt-4.1"), Format.CSV))
    assert [line["id"] for line in csv.DictReader(io.StringIO(told.text))] == ["req-old"]


def test_where_there_is_none_one_line_says_so(scene: Scene) -> None:
    assert scene.tell(lambda view: list_requests(view, Wish(), Format.TABLE)).text == "There are no requests.\n"
    wish = Wish(model="gpt-9")
    assert scene.tell(lambda view: list_requests(view, wish, Format.TABLE)).text == "There is no such request.\n"
    assert json.loads(scene.tell(lambda view: list_requests(view, Wish(), Format.JSON)).text) == []


def _one(scene: Scene, name: str, form: Format = Format.TABLE) -> str:
    scene.fill = _fill
    return scene.tell(lambda view: show_request(view, RequestId(name), form)).text


def test_one_request_has_everything_that_was_bought_for_it(scene: Scene) -> None:
    read = json.loads(_one(scene, "req-done", Format.JSON))
    assert (read["id"], read["status"]) == ("req-done", "done")
    bought = [(row["kind"], row["tier"], row["paid_usd"], row["list_usd"]) for row in read["purchases"]]
    assert bought == [("primary", "standard", "0.25", "0.5"), ("duplicate", "batch", "0.25", "0")]
    said = _one(scene, "req-done")
    assert "duplicate" in said
    assert "$0.25000000" in said


def test_one_that_ran_out_of_time_shows_the_deadline_that_was_missed(scene: Scene) -> None:
    (row,) = json.loads(_one(scene, "req-late", Format.JSON))["purchases"]
    assert (row["kind"], row["paid_usd"], row["deadline_met"]) == ("expired", "0", False)


def test_one_that_waits_says_that_nothing_was_bought(scene: Scene) -> None:
    said = _one(scene, "req-flies")
    assert "submitted" in said
    assert "Nothing was bought for it so far." in said


def test_of_an_urgent_call_there_are_only_purchases(scene: Scene) -> None:
    urgent = row()
    scene.rows = [urgent]
    assert "urgent request" in _one(scene, urgent.request_id)
    assert len(json.loads(_one(scene, urgent.request_id, Format.JSON))["purchases"]) == 1


def test_an_unknown_id_is_one_line(scene: Scene) -> None:
    with pytest.raises(StoreFault, match="has no request req-none"):
        _one(scene, "req-none")

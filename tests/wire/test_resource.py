import json
from decimal import Decimal

import msgspec

from proxy.domain.answer import Answer
from proxy.domain.request import RequestState
from proxy.domain.tier import Tier
from proxy.wire.resource import resource
from tests.delivery.samples import view


def _shown(answer: Answer | None) -> dict[str, object]:
    done = view("req-1", RequestState.DONE, finished_at=60.9, tier=Tier.BATCH, paid_usd=Decimal("0.00000100"))
    shown: dict[str, object] = json.loads(msgspec.json.encode(resource(done, answer)))
    return shown


def test_an_open_request_shows_its_stage_and_a_final_one_its_state() -> None:
    assert resource(view("req-1"), None)["status"] == "queued"
    assert _shown(None)["status"] == "done"


def test_instants_are_unix_seconds_the_deadline_is_rfc_3339_and_amounts_are_text() -> None:
    shown = _shown(None)
    assert (shown["created_at"], shown["finished_at"], shown["deadline"]) == (0, 60, "1970-01-01T01:00:00Z")
    assert (shown["cost_usd"], shown["saved_usd"]) == ("0.00000100", None)


def test_a_json_answer_keeps_its_bytes_and_another_one_is_text() -> None:
    headers = (("Content-Type", "application/json"),)
    shown = _shown(Answer(200, headers, b'{"n": 1.50}', Tier.BATCH))
    assert shown["response"] == {"status_code": 200, "headers": dict(headers), "body": {"n": 1.5}}
    assert _shown(Answer(502, (), b"<html>\xff", Tier.BATCH))["response"] == {
        "status_code": 502,
        "headers": {},
        "body": "<html>\ufffd",
    }

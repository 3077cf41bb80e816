from dataclasses import replace
from typing import Protocol, get_args

import pytest

from proxy.domain.events import (
    AnyEvent,
    BatchSettled,
    BatchSubmitted,
    CallFinished,
    LanesTaken,
    RequestAccepted,
    RequestAttached,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
    StepFailed,
    VirtualBatchMoved,
    WasteBooked,
    WebhookCalled,
)
from proxy.domain.ids import UpstreamName
from proxy.domain.request import Lane
from proxy.telemetry.happenings import CHARACTERS_MAX, Happening, Level, describe, short


class Samples(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    settled: BatchSettled
    submitted: BatchSubmitted
    escalated: RequestEscalated
    step_failed: StepFailed
    waste_booked: WasteBooked
    virtual_moved: VirtualBatchMoved
    webhook_called: WebhookCalled
    lanes_taken: LanesTaken

    @property
    def events(self) -> list[AnyEvent]: ...


def told(event: AnyEvent) -> Happening:
    happening = describe(event)
    assert happening is not None
    return happening


def test_what_comes_with_every_request_and_what_a_person_need_not_know_has_no_words(samples: Samples) -> None:
    silent = {type(event) for event in samples.events if describe(event) is None}
    every_request = {RequestDecided, RequestAccepted, RequestAttached, RequestFinished, CallFinished}
    assert every_request <= silent
    assert {kind.__name__ for kind in silent - every_request} == {
        "ForecastSettled",
        "BatchFilesDeleted",
        "ShadowLimited",
        "UpstreamFailed",
        "WebhookCalled",
    }
    assert silent <= set(get_args(AnyEvent))


def test_a_batch_is_told_from_its_submission_to_its_end(samples: Samples) -> None:
    assert told(samples.submitted).text == "a batch of 10 lines is at the provider"
    found = told(replace(samples.submitted, lines=1, found=True))
    assert found.text == "a batch of 1 line is at the provider, found in its list after a lost reply"
    settled = told(samples.settled)
    assert settled.text == "a batch is completed after 16 min 40 s: 7 answered, 2 missing, 1 too late"
    assert (settled.model, settled.upstream, settled.level) == ("gpt-5-mini", "openai", Level.INFO)


def test_a_virtual_batch_is_told_of_when_it_begins_and_when_it_ends(samples: Samples) -> None:
    moved = samples.virtual_moved
    assert describe(replace(moved, status="validating")) is None
    assert told(replace(moved, status="in_progress")).text == "a virtual batch of 10 lines has begun"
    ended = told(moved)
    assert (ended.text, ended.level) == ("a virtual batch is completed: 9 answered, 1 failed", Level.INFO)
    assert told(replace(moved, status="expired")).level == Level.WARNING


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (7384.0, "2 h 3 min")])
def test_a_turnaround_reads_as_a_person_says_it(samples: Samples, seconds: float, words: str) -> None:
    assert f"after {words}: " in told(replace(samples.settled, turnaround_seconds=seconds)).text


def test_an_escalation_says_why_and_whether_it_may_be_bought_twice(samples: Samples) -> None:
    assert told(samples.escalated).text == "a request moved to standard (deadline, its batch line still live)"
    assert told(replace(samples.escalated, blind=False)).text == "a request moved to standard (deadline)"


def test_waste_is_told_with_its_price_or_that_it_is_unknown(samples: Samples) -> None:
    assert told(samples.waste_booked).text == "a purchase at standard delivered nothing (duplicate): $0.125"
    unknown = WasteBooked(replace(samples.waste_booked.row, paid_usd=None))
    assert told(unknown).text.endswith("an unknown amount")
    assert told(unknown).level is Level.WARNING


def test_a_webhook_is_only_told_of_when_it_fails(samples: Samples) -> None:
    assert describe(samples.webhook_called) is None
    failed = replace(samples.webhook_called, status=500, error="answered 500")
    assert told(failed).text == "a webhook at hooks.example.com failed: answered 500"


def test_many_lanes_are_told_in_one_line(samples: Samples) -> None:
    assert told(samples.lanes_taken).text == "this replica looks after gpt-5-mini"
    lanes = tuple(Lane(UpstreamName("openai"), f"m{number}") for number in range(5))
    assert told(replace(samples.lanes_taken, lanes=lanes)).text == "this replica looks after m0, m1, m2 and 2 more"
    housekeeping = (Lane(UpstreamName(""), "housekeeping"),)
    assert told(replace(samples.lanes_taken, lanes=housekeeping)).text.endswith("the house-keeping")


def test_what_others_make_up_is_shown_in_part(samples: Samples) -> None:
    failed = told(replace(samples.step_failed, error="x" * 5000))
    assert len(failed.text) < CHARACTERS_MAX + 20
    assert short("y" * CHARACTERS_MAX) == "y" * CHARACTERS_MAX
    assert len(short("y" * 5000)) == CHARACTERS_MAX


def test_the_same_again_is_alike_whenever_it_happens(samples: Samples) -> None:
    first, again = told(samples.escalated), told(replace(samples.escalated, at=samples.escalated.at + 5))
    assert first.is_like(again)
    assert not first.is_like(told(replace(samples.escalated, model="other")))

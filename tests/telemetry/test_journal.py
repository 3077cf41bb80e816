from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from proxy.domain.decision import Delivery, Reason
from proxy.domain.events import (
    AnyEvent,
    CallFinished,
    RateLimited,
    RequestAccepted,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
)
from proxy.domain.ids import CredentialId, RequestId
from proxy.domain.labels import EscalationReason, OutcomeLabel
from proxy.domain.request import Queue, RequestState, RequestView, Stage
from proxy.domain.tier import Tier
from proxy.telemetry.happenings import CHARACTERS_MAX
from proxy.telemetry.journal import MERGE_SECONDS, Journal


class Samples(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    decided: RequestDecided
    accepted: RequestAccepted
    escalated: RequestEscalated
    finished: RequestFinished
    call: CallFinished
    rate_limited: RateLimited

    @property
    def events(self) -> list[AnyEvent]: ...


def heard(*events: AnyEvent, decisions_max: int = 10, happenings_max: int = 10) -> Journal:
    journal = Journal(decisions_max, happenings_max)
    for event in events:
        journal.listen(event)
    return journal


def decided(samples: Samples, number: int, *, deferred: bool) -> list[AnyEvent]:
    """A decision of a request of its own."""
    name, at = RequestId(f"req-{number}"), samples.decided.at + number
    tier = Tier.BATCH if deferred else Tier.STANDARD
    events: list[AnyEvent] = [replace(samples.decided, request_id=name, tier=tier, at=at)]
    return [*events, replace(samples.accepted, request_id=name, at=at)] if deferred else events


def test_a_deferred_request_is_followed_from_its_decision_to_its_price(samples: Samples) -> None:
    journal = heard(samples.decided, samples.accepted)
    (waiting,) = journal.decisions()
    assert (waiting.tier, waiting.reason, waiting.policy) == (Tier.BATCH, Reason.DEADLINE_ALLOWS, "default")
    assert (waiting.deferred, waiting.outcome) == (True, None)
    assert journal.unfinished() == [waiting.request_id]
    journal.listen(samples.escalated)
    journal.listen(samples.finished)
    (ended,) = journal.decisions()
    assert (ended.escalated, ended.outcome, ended.status) == (EscalationReason.DEADLINE, OutcomeLabel.OK, 200)
    assert (ended.served_tier, ended.paid_usd, ended.saved_usd) == (Tier.BATCH, Decimal("0.25"), Decimal("0.25"))
    assert ended.finished_at == samples.finished.at
    assert journal.unfinished() == []


def test_an_urgent_call_is_followed_too(samples: Samples) -> None:
    (ended,) = heard(samples.decided, replace(samples.call, status=500)).decisions()
    assert (ended.deferred, ended.outcome, ended.status) == (False, OutcomeLabel.ERROR, 500)
    assert ended.served_tier is Tier.STANDARD


def test_calls_that_nothing_is_decided_about_are_left_out(samples: Samples) -> None:
    assert heard(replace(samples.decided, reason=Reason.PASSTHROUGH), samples.call).decisions() == []


def test_the_newest_come_first_and_the_oldest_are_forgotten(samples: Samples) -> None:
    events = [event for number in range(50) for event in decided(samples, number, deferred=False)]
    kept = heard(*events, decisions_max=3).decisions()
    assert [entry.request_id for entry in kept] == ["req-49", "req-48", "req-47"]


def test_many_urgent_calls_do_not_push_out_the_deferred_ones(samples: Samples) -> None:
    events = decided(samples, 0, deferred=True)
    events += [event for number in range(1, 50) for event in decided(samples, number, deferred=False)]
    kept = heard(*events, decisions_max=3).decisions()
    assert [entry.request_id for entry in kept] == ["req-49", "req-48", "req-47", "req-0"]


def test_what_becomes_of_a_forgotten_or_unknown_request_is_nobodys_concern(samples: Samples) -> None:
    assert heard(samples.finished, samples.call, samples.accepted).decisions() == []
    assert [happening.count for happening in heard(samples.escalated).happenings()] == [1]


def test_a_request_that_another_process_has_finished_gets_its_end_from_the_store(samples: Samples) -> None:
    journal = heard(samples.decided, samples.accepted)
    view = RequestView(
        id=samples.decided.request_id,
        tenant=samples.decided.tenant,
        queue=Queue(samples.decided.upstream, CredentialId("c"), samples.decided.endpoint, samples.decided.model),
        fingerprint=b"",
        idempotency_key=None,
        stream=False,
        include_usage=False,
        delivery=Delivery.ASYNC,
        policy="default",
        reason=Reason.DEADLINE_ALLOWS,
        accepted_at=samples.decided.at,
        deadline_at=samples.decided.at + 7200,
        state=RequestState.OPEN,
        stage=Stage.SUBMITTED,
        tries=0,
        batch_id=None,
        finished_at=None,
        delivered_at=None,
        status=None,
        tier=None,
        paid_usd=None,
        saved_usd=None,
    )
    journal.finished_elsewhere(view)
    assert journal.decisions()[0].outcome is None
    at = samples.decided.at + 60
    journal.finished_elsewhere(
        replace(view, state=RequestState.FAILED, finished_at=at, status=400, tier=Tier.BATCH, paid_usd=Decimal(0))
    )
    (ended,) = journal.decisions()
    assert (ended.outcome, ended.status, ended.finished_at) == (OutcomeLabel.ERROR, 400, at)
    journal.finished_elsewhere(replace(view, id=RequestId("req-unknown"), finished_at=at))


def test_the_same_happening_again_and_again_is_one_that_is_counted(samples: Samples) -> None:
    again = [replace(samples.rate_limited, at=samples.rate_limited.at + number) for number in range(1000)]
    (crowd,) = heard(*again).happenings()
    assert (crowd.count, crowd.at) == (1000, samples.rate_limited.at + 999)
    later = replace(samples.rate_limited, at=crowd.at + MERGE_SECONDS + 1)
    assert [happening.count for happening in heard(*again, later).happenings()] == [1, 1000]


def test_happenings_are_bounded_and_newest_first(samples: Samples) -> None:
    events = [replace(samples.rate_limited, model=f"m{number}") for number in range(100)]
    kept = heard(*events, happenings_max=3).happenings()
    assert [happening.model for happening in kept] == ["m99", "m98", "m97"]


def test_a_word_that_a_client_makes_up_is_kept_in_part(samples: Samples) -> None:
    (entry,) = heard(replace(samples.decided, model="m" * 10**6, endpoint="/v1/" + "e" * 10**6)).decisions()
    assert len(entry.model) == len(entry.endpoint) == CHARACTERS_MAX


def test_every_event_that_exists_can_be_heard(samples: Samples) -> None:
    heard(*samples.events)

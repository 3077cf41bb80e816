"""What `proxy.store.interface` promises, as behaviors, for every engine."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal

import pytest

from proxy.domain.batch import BatchOutcome, BatchState
from proxy.domain.decision import FlexObstacle, Grounds, OnMiss, Reason
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId
from proxy.domain.money import Purchase
from proxy.domain.moves import (
    TRIES_EXHAUSTED,
    Applied,
    AttemptAnswered,
    AttemptLost,
    AttemptMissing,
    AttemptRefused,
    AttemptSent,
    AttemptSuperseded,
    AttemptWithdrawn,
    BatchAbandoned,
    BatchCleaned,
    BatchCollected,
    BatchCreated,
    BatchEnded,
    BatchPlanned,
    BatchPolled,
    BatchPostponed,
    BatchVanished,
    CallPlanned,
    CancelRequested,
    Conflict,
    InputRevoked,
    Move,
    ProvedAbsent,
    RequestCancelled,
    RequestExpired,
    Uploaded,
    UploadLost,
    UploadStarted,
)
from proxy.domain.request import Lane, RequestState, Stage, Waiting
from proxy.domain.tier import Tier
from proxy.store.interface import Accepted, Credential, Existing, Heard, Store, Word
from tests.store.conftest import OpenStore
from tests.store.samples import (
    ALICE,
    BOB,
    LANE,
    QUEUE,
    UPSTREAM,
    accepted,
    answer,
    batch,
    call_for,
    create,
    expired,
    in_flight,
    ledger,
    line_of,
    planned,
    request,
)


def _play(open_store: OpenStore, story: Callable[[Store], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = open_store()
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


async def _state(store: Store, request_id: RequestId) -> tuple[RequestState, Stage]:
    view = await store.get(request_id)
    assert view is not None
    return view.state, view.stage


async def _batch_state(store: Store, batch_id: BatchId) -> BatchState:
    found = await store.batch(batch_id)
    assert found is not None
    return found.state


async def _setbacks(store: Store) -> dict[RequestId, tuple[float, int]]:
    """When each waiting request may be tried again, and how often it was tried."""
    return {waiting.id: (waiting.ready_at, waiting.tries) for waiting in (await store.changes(None)).waiting}


def _ended(batch_id: BatchId, outcome: BatchOutcome = BatchOutcome.COMPLETED) -> BatchEnded:
    return BatchEnded(batch_id, 150.0, outcome, outcome.value, 1, 0, "file-out", None, due_at=150.0)


# Accepting


def test_an_accepted_request_is_open_queued_and_there_after_the_store_was_closed(open_store: OpenStore) -> None:
    one = request()

    async def before(store: Store) -> None:
        assert await store.accept(one) == Accepted()

    async def after(store: Store) -> None:
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.QUEUED)
        assert await store.body(one.id) == one.body

    _play(open_store, before)
    _play(open_store, after)


def test_an_idempotency_key_is_used_once_per_tenant(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        first, again, other = request(key="k"), request(key="k"), request(key="k", tenant=BOB)
        assert await store.accept(first) == Accepted()
        existing = await store.accept(again)
        assert isinstance(existing, Existing)
        assert existing.view.id == first.id
        assert await store.get(again.id) is None
        assert await store.accept(other) == Accepted()

    _play(open_store, story)


def test_another_tenants_request_does_not_exist(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request(tenant=ALICE))
        assert await store.get(one.id, ALICE) is not None
        assert await store.get(one.id, BOB) is None
        assert await store.list_requests(BOB, after=None, limit=10) == []
        assert await store.find(BOB, one.queue.endpoint, one.fingerprint) == []

    _play(open_store, story)


def test_lists_are_newest_first_and_paged(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        ids = [one.id for one in await accepted(store, *(request() for _ in range(5)))]
        await store.apply([RequestCancelled(ids[0], 120.0)])
        page = await store.list_requests(ALICE, after=None, limit=3)
        assert [view.id for view in page] == ids[:1:-1]
        rest = await store.list_requests(None, after=page[-1].id, limit=3)
        assert [view.id for view in rest] == [ids[1], ids[0]]
        cancelled = await store.list_requests(None, after=None, limit=9, state=RequestState.CANCELLED)
        assert [view.id for view in cancelled] == ids[:1]

    _play(open_store, story)


def test_work_is_found_by_its_body_until_it_is_delivered(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two = request(fingerprint=b"a" * 32), request(fingerprint=b"a" * 32)
        other_body, other_route = (
            request(fingerprint=b"b" * 32),
            request(fingerprint=b"a" * 32, queue=replace(QUEUE, endpoint="/v1/responses")),
        )
        await accepted(store, one, two, other_body, other_route)
        found = await store.find(ALICE, QUEUE.endpoint, b"a" * 32)
        assert [view.id for view in found] == [one.id, two.id]
        await store.delivered([one.id, RequestId("unknown")], at=130.0)
        assert [view.id for view in await store.find(ALICE, QUEUE.endpoint, b"a" * 32)] == [two.id]
        await store.delivered([one.id], at=999.0)
        view = await store.get(one.id)
        assert view is not None
        assert view.delivered_at == 130.0

    _play(open_store, story)


# Queues


def test_what_waits_is_told_with_all_that_deciding_about_it_needs(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request(accepted_at=90.0, deadline_at=500.0, tiers=frozenset({Tier.FLEX, Tier.STANDARD}))
        await accepted(store, one)
        (waiting,) = (await store.changes(None)).waiting
        assert waiting == Waiting(
            id=one.id,
            tenant=ALICE,
            queue=QUEUE,
            policy="default",
            stage=Stage.QUEUED,
            batch_id=None,
            calling=False,
            tries=0,
            ready_at=90.0,
            accepted_at=90.0,
            deadline_at=500.0,
            body_bytes=len(one.body),
            estimated_tokens=10,
            tiers=frozenset({Tier.FLEX, Tier.STANDARD}),
        )

    _play(open_store, story)


def test_what_batches_have_failed_too_often_says_so(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        _, (line,) = await in_flight(store, one)
        await store.apply([AttemptRefused(line.id, 130.0, ready_at=130.0, tries_spent=TRIES_EXHAUSTED)])
        (waiting,) = (await store.changes(None)).waiting
        assert (waiting.id, waiting.stage, waiting.tries) == (one.id, Stage.QUEUED, TRIES_EXHAUSTED)

    _play(open_store, story)


def test_a_first_look_tells_everything_that_is_open_and_where_it_is(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        queued, flying, calling, done = request(), request(), request(), request()
        await accepted(store, queued, calling, done)
        made, _ = await in_flight(store, flying)
        await store.apply([CallPlanned(call_for(calling)), RequestCancelled(done.id, 100.0)])
        changes = await store.changes(None)
        assert changes.whole
        assert changes.gone == []
        assert {(w.id, w.stage, w.calling, w.batch_id) for w in changes.waiting} == {
            (queued.id, Stage.QUEUED, False, None),
            (flying.id, Stage.SUBMITTED, False, made.id),
            (calling.id, Stage.CALLING, True, None),
        }

    _play(open_store, story)


def test_later_looks_tell_what_has_changed_and_what_is_gone(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two, three = request(), request(), request()
        await accepted(store, one, two)
        first = await store.changes(None)
        nothing = await store.changes(first.upto)
        assert (nothing.whole, nothing.waiting, nothing.gone) == (False, [], [])
        await accepted(store, three)
        await store.apply([RequestCancelled(one.id, 100.0), CallPlanned(call_for(two))])
        later = await store.changes(first.upto)
        assert not later.whole
        assert {(w.id, w.stage) for w in later.waiting} == {(two.id, Stage.CALLING), (three.id, Stage.QUEUED)}
        assert later.gone == [one.id]
        assert (await store.changes(later.upto)).waiting == []

    _play(open_store, story)


def test_what_was_swept_in_the_meantime_is_gone_too(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        await accepted(store, one)
        first = await store.changes(None)
        await store.apply([RequestCancelled(one.id, 100.0)])
        assert await store.sweep(now=200.0, retention_seconds=0.0, limit=10) == 1
        assert (await store.changes(first.upto)).gone == [one.id]

    _play(open_store, story)


@pytest.mark.parametrize("ending", [False, True])
def test_following_the_changes_keeps_a_true_copy(
    open_store: OpenStore,
    ending: bool,  # noqa: FBT001  a parameter
) -> None:
    """A batch's whole life in between: planned, sent, one line answered, one lost."""

    async def story(store: Store) -> None:
        copy: dict[RequestId, Waiting] = {}
        upto: int | None = None

        async def follow() -> None:
            nonlocal upto
            changes = await store.changes(upto)
            upto = changes.upto
            copy.update({waiting.id: waiting for waiting in changes.waiting})
            for request_id in changes.gone:
                copy.pop(request_id, None)
            assert copy == {waiting.id: waiting for waiting in (await store.changes(None)).waiting}

        one, two = request(), request()
        await follow()
        _, (first, second) = await in_flight(store, one, two)
        await follow()
        if ending:
            await store.apply([AttemptAnswered(first.id, 150.0, answer(), ledger(first))])
        await store.apply([AttemptMissing(second.id, 150.0, ready_at=160.0, tries_spent=1)])
        await follow()
        assert (one.id in copy) is not ending
        assert copy[two.id].batch_id is None

    _play(open_store, story)


# Batches


def test_a_batch_goes_from_planned_to_cleaned(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        made, (line,) = await planned(store, one)
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.STAGED)
        assert await create(store, made) == [Applied()] * 3
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.SUBMITTED)
        moves: list[Move] = [
            BatchPolled(made.id, 130.0, "in_progress", 3, 1, due_at=140.0),
            CancelRequested(made.id, 135.0, due_at=141.0),
            _ended(made.id, BatchOutcome.CANCELLED),
            AttemptAnswered(line.id, 151.0, answer(), ledger(line)),
            BatchCollected(made.id, 152.0, due_at=152.0),
            BatchCleaned(made.id, 153.0),
        ]
        assert await store.apply(moves) == [Applied()] * len(moves)
        found = await store.batch(made.id)
        assert found is not None
        assert (found.state, found.outcome) == (BatchState.CLEANED, BatchOutcome.CANCELLED)
        assert (found.provider_id, found.input_file_id, found.output_file_id) == ("batch_1", "file-1", "file-out")
        assert (found.submitted_at, found.cancel_requested_at, found.ended_at) == (113.0, 135.0, 150.0)
        assert await store.open_batches() == []

    _play(open_store, story)


def test_a_batch_knows_how_many_lines_its_file_has(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, _ = await planned(store, request(), request())
        await store.apply([UploadStarted(made.id, 111.0, lines=1)])
        found = await store.batch(made.id)
        assert found is not None
        assert (made.lines, found.lines) == (2, 1)

    _play(open_store, story)


def test_the_queues_of_closed_batches_are_remembered(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, _ = await planned(store, request())
        await store.apply([BatchAbandoned(made.id, 120.0, ready_at=120.0, tries_spent=0)])
        assert await store.queues_of_batches() == [QUEUE]

    _play(open_store, story)


def test_a_batch_is_planned_whole_or_not_at_all(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        fine, gone = await accepted(store, request(), request())
        await store.apply([RequestCancelled(gone.id, 105.0)])
        made = batch(lines=2)
        (result,) = await store.apply([BatchPlanned(made, (line_of(fine, made), line_of(gone, made)))])
        assert result == Conflict("cancelled")
        assert await store.batch(made.id) is None
        assert await _state(store, fine.id) == (RequestState.OPEN, Stage.QUEUED)

    _play(open_store, story)


def test_a_request_is_in_one_batch_at_a_time(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        await planned(store, one)
        second = batch()
        assert await store.apply([BatchPlanned(second, (line_of(one, second),))]) == [Conflict("staged")]

    _play(open_store, story)


def test_a_lost_upload_starts_over_and_a_lost_creation_waits_to_be_proved(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, _ = await planned(store, request())
        await store.apply([UploadStarted(made.id, 111.0, 1), UploadLost(made.id, 112.0, due_at=120.0)])
        assert await _batch_state(store, made.id) is BatchState.PLANNED
        await store.apply([UploadStarted(made.id, 121.0, 1), Uploaded(made.id, 122.0, "file-2")])
        assert await store.apply([ProvedAbsent(made.id, 160.0, due_at=190.0)]) == [Conflict("creating")]
        assert await store.apply([InputRevoked(made.id, 160.0, due_at=190.0)]) == [Applied()]
        found = await store.batch(made.id)
        assert found is not None
        assert (found.state, found.due_at) == (BatchState.REVOKED, 190.0)
        late = BatchCreated(made.id, 170.0, "batch_9", "in_progress", due_at=175.0, found=False)
        assert await store.apply([late]) == [Conflict("revoked")]
        assert await store.apply([ProvedAbsent(made.id, 190.0, due_at=190.0)]) == [Applied()]
        assert await _batch_state(store, made.id) is BatchState.PLANNED
        await store.apply([UploadStarted(made.id, 191.0, 1), Uploaded(made.id, 192.0, "file-3")])
        await store.apply([InputRevoked(made.id, 193.0, due_at=199.0)])
        matched = replace(late, found=True)
        assert await store.apply([matched]) == [Applied()]
        assert await _batch_state(store, made.id) is BatchState.IN_FLIGHT

    _play(open_store, story)


@pytest.mark.parametrize("again", ["upload", "creation"])
def test_a_batch_that_is_planned_again_leaves_out_what_nobody_wants_any_more(open_store: OpenStore, again: str) -> None:
    async def story(store: Store) -> None:
        wanted, cancelled = request(), request()
        made, (line, _) = await planned(store, wanted, cancelled)
        await store.apply([UploadStarted(made.id, 111.0, 1), RequestCancelled(cancelled.id, 112.0)])
        assert len(await store.lines(made.id, after=None, limit=9)) == 2
        moves: list[Move] = [UploadLost(made.id, 113.0, due_at=113.0)]
        if again == "creation":
            moves = [
                Uploaded(made.id, 113.0, "file-1"),
                InputRevoked(made.id, 114.0, due_at=115.0),
                ProvedAbsent(made.id, 115.0, due_at=115.0),
            ]
        assert await store.apply(moves) == [Applied()] * len(moves)
        assert [left.attempt_id for left in await store.lines(made.id, after=None, limit=9)] == [line.id]
        assert await _state(store, wanted.id) == (RequestState.OPEN, Stage.STAGED)

    _play(open_store, story)


def test_an_abandoned_batch_gives_its_requests_back_to_the_queue(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two = request(), request()
        made, _ = await planned(store, one, two)
        assert await store.apply([BatchAbandoned(made.id, 120.0, ready_at=300.0, tries_spent=1)]) == [Applied()]
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.QUEUED)
        assert await _setbacks(store) == {one.id: (300.0, 1), two.id: (300.0, 1)}
        assert await store.lines(made.id, after=None, limit=9) == []

    _play(open_store, story)


def test_a_batch_is_not_collected_while_a_line_is_live(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, (first, second) = await in_flight(store, request(), request())
        await store.apply([_ended(made.id), AttemptAnswered(first.id, 151.0, answer(), ledger(first))])
        assert await store.apply([BatchCollected(made.id, 152.0, due_at=152.0)]) == [Conflict("ended")]
        await store.apply([AttemptMissing(second.id, 153.0, ready_at=153.0, tries_spent=0)])
        assert await store.apply([BatchCollected(made.id, 154.0, due_at=154.0)]) == [Applied()]

    _play(open_store, story)


def test_a_vanished_batch_is_lost(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, _ = await in_flight(store, request())
        assert await store.apply([BatchVanished(made.id, 500.0, due_at=500.0)]) == [Applied()]
        found = await store.batch(made.id)
        assert found is not None
        assert (found.state, found.outcome) == (BatchState.ENDED, BatchOutcome.LOST)

    _play(open_store, story)


def test_a_batch_can_be_postponed_until_it_is_closed(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, _ = await planned(store, request())
        assert await store.apply([BatchPostponed(made.id, due_at=777.0)]) == [Applied()]
        assert [(b.id, b.due_at) for b in await store.open_batches()] == [(made.id, 777.0)]
        await store.apply([BatchAbandoned(made.id, 120.0, ready_at=120.0, tries_spent=0)])
        assert await store.apply([BatchPostponed(made.id, due_at=888.0)]) == [Conflict("abandoned")]

    _play(open_store, story)


def test_lines_come_in_pages_with_or_without_their_bodies(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        made, attempts = await planned(store, *(request(body=b"%d" % n) for n in range(5)))
        page = await store.lines(made.id, after=None, limit=3)
        rest = await store.lines(made.id, after=page[-1].attempt_id, limit=3)
        assert [line.attempt_id for line in (*page, *rest)] == [attempt.id for attempt in attempts]
        assert [line.body for line in (*page, *rest)] == [b"0", b"1", b"2", b"3", b"4"]
        bare = await store.lines(made.id, after=None, limit=9, bodies=False)
        assert {line.body for line in bare} == {b""}
        assert (bare[0].tenant, bare[0].policy, bare[0].deadline_at) == (ALICE, "default", 10_000.0)

    _play(open_store, story)


@pytest.mark.parametrize(
    "move",
    [
        UploadStarted(BatchId("?"), 1.0, 1),
        BatchCleaned(BatchId("?"), 1.0),
        BatchPostponed(BatchId("?"), 1.0),
        RequestCancelled(RequestId("?"), 1.0),
        AttemptSent(AttemptId("?"), 1.0),
        AttemptWithdrawn(AttemptId("?"), 1.0),
        AttemptMissing(AttemptId("?"), 1.0, 1.0, 0),
    ],
    ids=lambda move: type(move).__name__,
)
def test_a_move_of_something_unknown_is_a_conflict_with_nothing(open_store: OpenStore, move: Move) -> None:
    async def story(store: Store) -> None:
        assert await store.apply([move]) == [Conflict(None)]

    _play(open_store, story)


# Answers


def test_the_first_answer_wins_and_a_late_one_is_booked_as_waste(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        _, (line,) = await in_flight(store, one)
        call = call_for(one)
        await store.apply([CallPlanned(call), AttemptSent(call.id, 121.0)])
        sync = answer(body=b"sync", tier=Tier.STANDARD)
        assert await store.apply([AttemptAnswered(call.id, 130.0, sync, ledger(call))]) == [Applied()]
        late = AttemptAnswered(line.id, 140.0, answer(body=b"late"), ledger(line))
        assert await store.apply([late]) == [Conflict("done")]
        waste = ledger(line, kind=Purchase.DUPLICATE, listed="0")
        assert await store.apply([AttemptSuperseded(line.id, 140.0, waste)]) == [Applied()]
        assert await store.result(one.id) == sync
        kinds = [row.kind for row in await store.ledger_rows(one.id)]
        assert kinds == [Purchase.PRIMARY, Purchase.DUPLICATE]

    _play(open_store, story)


def test_an_answer_is_kept_as_it_is_with_what_it_cost(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        made, (line,) = await in_flight(store, one)
        given = answer(status=200, body=b'{ "odd":  "spacing" } and \x00\xff, no JSON at all')
        await store.apply([AttemptAnswered(line.id, 130.0, given, ledger(line))])
        assert await store.result(one.id) == given
        view = await store.get(one.id)
        assert view is not None
        assert (view.state, view.status, view.tier, view.finished_at) == (RequestState.DONE, 200, Tier.BATCH, 130.0)
        assert (view.paid_usd, view.saved_usd, view.batch_id) == (Decimal("0.25"), Decimal("0.25"), made.id)

    _play(open_store, story)


def test_an_error_answer_makes_the_request_failed(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        _, (line,) = await in_flight(store, one)
        await store.apply([AttemptAnswered(line.id, 130.0, answer(status=400), ledger(line))])
        assert (await _state(store, one.id))[0] is RequestState.FAILED

    _play(open_store, story)


def test_a_line_answers_once(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        _, (line,) = await in_flight(store, request())
        move = AttemptAnswered(line.id, 130.0, answer(), ledger(line))
        assert await store.apply([move, move]) == [Applied(), Conflict("answered")]

    _play(open_store, story)


def test_a_refused_or_missing_line_queues_its_request_again_at_its_time_and_its_cost(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two = request(), request()
        _, (first, second) = await in_flight(store, one, two)
        await store.apply(
            [
                AttemptRefused(first.id, 130.0, ready_at=500.0, tries_spent=0),
                AttemptMissing(second.id, 130.0, ready_at=130.0, tries_spent=1),
            ]
        )
        assert await _setbacks(store) == {one.id: (500.0, 0), two.id: (130.0, 1)}

    _play(open_store, story)


def test_a_missing_line_that_may_be_billed_is_booked_once_with_an_unknown_amount(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        _, (line,) = await in_flight(store, one)
        unknown = ledger(line, kind=Purchase.FAILED, paid=None, listed="0")
        missing = AttemptMissing(line.id, 130.0, ready_at=130.0, tries_spent=1, ledger=unknown)
        assert await store.apply([missing]) == [Applied()]
        assert await store.apply([missing]) == [Conflict("missing")]
        assert [row.paid_usd for row in await store.ledger_rows(one.id)] == [None]
        assert await _setbacks(store) == {one.id: (130.0, 1)}

    _play(open_store, story)


def test_a_line_that_is_refused_while_a_call_is_live_leaves_the_request_calling(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        _, (line,) = await in_flight(store, one)
        call = call_for(one)
        await store.apply([CallPlanned(call), AttemptSent(call.id, 121.0)])
        await store.apply([AttemptMissing(line.id, 130.0, ready_at=130.0, tries_spent=0)])
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.CALLING)
        await store.apply([AttemptRefused(call.id, 131.0, ready_at=131.0, tries_spent=0)])
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.QUEUED)

    _play(open_store, story)


# Calls


def test_a_request_has_one_live_call(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        first, second = call_for(one), call_for(one)
        assert await store.apply([CallPlanned(first), CallPlanned(second)]) == [Applied(), Conflict("calling")]
        assert [(attempt.id, waiting.id) for attempt, waiting in await store.live_calls()] == [(first.id, one.id)]

    _play(open_store, story)


def test_a_call_that_was_never_sent_is_withdrawn_and_one_that_was_is_lost_with_its_row(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two = await accepted(store, request(), request())
        unsent, sent = call_for(one), call_for(two)
        await store.apply([CallPlanned(unsent), CallPlanned(sent), AttemptSent(sent.id, 121.0)])
        unknown = ledger(sent, kind=Purchase.FAILED, paid=None, listed="0")
        results = await store.apply(
            [
                AttemptWithdrawn(unsent.id, 130.0),
                AttemptWithdrawn(sent.id, 130.0),
                AttemptLost(sent.id, 130.0, ready_at=140.0, ledger=unknown),
            ]
        )
        assert results == [Applied(), Conflict("sent"), Applied()]
        assert await store.live_calls() == []
        assert [row.paid_usd for row in await store.ledger_rows(two.id)] == [None]
        assert await _state(store, one.id) == (RequestState.OPEN, Stage.QUEUED)

    _play(open_store, story)


# Endings without an answer


def test_a_cancelled_request_leaves_a_planned_batch_but_not_one_that_uploads(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two = request(), request()
        planned_batch, _ = await planned(store, one)
        uploading, _ = await planned(store, two)
        await store.apply([UploadStarted(uploading.id, 111.0, 1)])
        assert await store.apply([RequestCancelled(one.id, 112.0), RequestCancelled(two.id, 112.0)]) == [Applied()] * 2
        assert await store.lines(planned_batch.id, after=None, limit=9) == []
        assert len(await store.lines(uploading.id, after=None, limit=9)) == 1

    _play(open_store, story)


def test_a_webhook_is_due_from_its_requests_end_until_it_is_said_to_be_done(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one, two = request(webhook="https://a.example/x"), request(webhook="https://a.example/y")
        await accepted(store, one, two, request())
        assert await store.webhooks_due(1_000.0, 9) == []
        await store.webhook_again(one.id, 0.0)
        assert await store.webhooks_due(1_000.0, 9) == []
        await store.apply([RequestCancelled(two.id, 112.0), RequestCancelled(one.id, 113.0)])
        assert set(await store.webhooks_due(1_000.0, 9)) == {one.id, two.id}
        assert len(await store.webhooks_due(1_000.0, 1)) == 1
        await store.webhook_again(one.id, 2_000.0)
        await store.webhook_again(two.id, 1_500.0)
        assert await store.webhooks_due(1_499.0, 9) == []
        assert await store.webhooks_due(2_000.0, 9) == [two.id, one.id]
        await store.webhook_again(two.id, None)
        await store.webhook_again(two.id, 100.0)
        assert await store.webhooks_due(9_000.0, 9) == [one.id]
        view = await store.get(one.id)
        assert view is not None
        assert view.webhook == "https://a.example/x"
        await store.sweep(now=8_000.0, retention_seconds=0.0, limit=9)
        assert await store.webhooks_due(9_000.0, 9) == []

    _play(open_store, story)


def test_a_final_state_never_changes(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        timeout = answer(status=504, body=b"too late", tier=Tier.STANDARD)
        moves: list[Move] = [
            RequestExpired(one.id, 130.0, timeout, expired(one, 130.0)),
            RequestCancelled(one.id, 131.0),
            RequestExpired(one.id, 132.0, answer(body=b"other"), expired(one, 132.0)),
            CallPlanned(call_for(one)),
        ]
        assert await store.apply(moves) == [Applied(), *[Conflict("expired")] * 3]
        assert await store.result(one.id) == timeout
        view = await store.get(one.id)
        assert view is not None
        assert view.finished_at == 130.0
        assert await store.ledger_rows(one.id) == [expired(one, 130.0)]

    _play(open_store, story)


# Leases

OTHER_LANE = Lane(UPSTREAM, "gpt-4.1")


def _play_two(open_shared: OpenStore, story: Callable[[Store, Store], Awaitable[None]]) -> None:
    """Two processes with one store, which a store of one process cannot have."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            both = open_shared(), open_shared()
            for store in both:
                await store.start()
                stack.push_async_callback(store.close)
            await story(*both)

    asyncio.run(whole())


def test_a_lane_is_leased_renewed_and_released(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        assert await store.lease([LANE, OTHER_LANE], 60.0) == {LANE, OTHER_LANE}
        assert await store.lease([LANE], 60.0) == {LANE}
        await store.release([LANE, LANE])
        assert await store.lease([LANE], 60.0) == {LANE}

    _play(open_store, story)


def test_a_lane_has_one_holder(open_shared: OpenStore) -> None:
    async def story(ours: Store, theirs: Store) -> None:
        assert await ours.lease([LANE], 60.0) == {LANE}
        assert await theirs.lease([LANE, OTHER_LANE], 60.0) == {OTHER_LANE}
        await theirs.release([LANE])
        assert await theirs.lease([LANE], 60.0) == set()
        await ours.release([LANE])
        assert await theirs.lease([LANE], 60.0) == {LANE}
        assert await ours.lease([LANE], 60.0) == set()

    _play_two(open_shared, story)


def test_a_lane_whose_holder_is_silent_is_free_after_its_time(open_shared: OpenStore) -> None:
    async def story(ours: Store, theirs: Store) -> None:
        await ours.lease([LANE], 0.2)
        assert await theirs.lease([LANE], 60.0) == set()
        await asyncio.sleep(0.3)
        assert await theirs.lease([LANE], 60.0) == {LANE}

    _play_two(open_shared, story)


def test_whoever_has_lost_a_lane_can_do_no_harm_on_it(open_shared: OpenStore) -> None:
    """A paused holder that wakes up: what it still wants to do is refused, what it knows is welcome."""

    async def story(ours: Store, theirs: Store) -> None:
        await ours.lease([LANE], 0.2)
        one, two, three = request(), request(), request()
        made, (first, _) = await in_flight(ours, one, two)
        other, _ = await planned(ours, three)
        (free,) = await accepted(ours, request())
        await asyncio.sleep(0.3)
        await theirs.lease([LANE], 60.0)
        cut = batch()
        wanted: list[Move] = [
            BatchPlanned(cut, (line_of(free, cut),)),
            CallPlanned(call_for(free)),
            UploadStarted(other.id, 200.0, 1),
            BatchAbandoned(other.id, 200.0, ready_at=200.0, tries_spent=0),
            BatchPolled(made.id, 200.0, "in_progress", 0, 0, due_at=210.0),
            BatchPostponed(made.id, due_at=999.0),
            AttemptMissing(first.id, 200.0, ready_at=200.0, tries_spent=0),
            RequestExpired(free.id, 200.0, answer(status=504), expired(free, 200.0)),
        ]
        assert await ours.apply(wanted) == [Conflict("leased")] * len(wanted)
        known: list[Move] = [
            AttemptAnswered(first.id, 200.0, answer(), ledger(first)),
            RequestCancelled(free.id, 200.0),
        ]
        assert await ours.apply(known) == [Applied()] * 2
        assert await theirs.apply([UploadStarted(other.id, 201.0, 1)]) == [Applied()]

    _play_two(open_shared, story)


def test_another_lane_is_not_touched_by_a_lease(open_shared: OpenStore) -> None:
    async def story(ours: Store, theirs: Store) -> None:
        await theirs.lease([OTHER_LANE], 60.0)
        await in_flight(ours, request())

    _play_two(open_shared, story)


# Replicas


def test_who_is_present_sees_what_the_others_have_posted(open_shared: OpenStore) -> None:
    async def story(ours: Store, theirs: Store) -> None:
        assert await ours.attend(b"one", 60.0) == {ours.member: b"one"}
        assert await theirs.attend(b"two", 0.2) == {ours.member: b"one", theirs.member: b"two"}
        assert await ours.attend(b"three", 60.0) == {ours.member: b"three", theirs.member: b"two"}
        await asyncio.sleep(0.3)
        assert await ours.attend(b"", 60.0) == {ours.member: b""}

    _play_two(open_shared, story)


def test_a_process_alone_is_present(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        assert await store.attend(b"one", 60.0) == {store.member: b"one"}

    _play(open_store, story)


def test_what_others_finish_and_change_is_told(open_shared: OpenStore) -> None:
    async def story(ours: Store, theirs: Store) -> None:
        told: asyncio.Queue[Heard] = asyncio.Queue()
        async with asyncio.TaskGroup() as group, asyncio.timeout(5.0):
            watching = group.create_task(ours.watch(told.put_nowait))
            await asyncio.sleep(0.1)
            one, two = await accepted(theirs, request(), request())
            assert [await told.get() for _ in range(2)] == [Heard(Word.CHANGED, one.id), Heard(Word.CHANGED, two.id)]
            await theirs.apply([RequestCancelled(one.id, 130.0), CallPlanned(call_for(two))])
            assert [await told.get() for _ in range(2)] == [Heard(Word.FINISHED, one.id), Heard(Word.CHANGED, two.id)]
            await theirs.returned(two.id)
            assert await told.get() == Heard(Word.RETURNED, two.id)
            watching.cancel()

    _play_two(open_shared, story)


def test_a_client_that_returns_changes_nothing(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        before = await store.changes(None)
        await store.returned(one.id)
        later = await store.changes(before.upto)
        assert [waiting.id for waiting in later.waiting] in ([], [one.id])
        assert later.gone == []

    _play(open_store, story)


def test_a_process_alone_has_nothing_to_watch(open_sqlite: OpenStore) -> None:
    async def story(store: Store) -> None:
        await asyncio.wait_for(store.watch(lambda _: None), 1.0)

    _play(open_sqlite, story)


def test_many_writers_of_many_processes_win_every_request_once(open_shared: OpenStore) -> None:
    async def story(ours: Store, theirs: Store) -> None:
        requests = await accepted(ours, *(request() for _ in range(50)))
        moves: list[Move] = [CallPlanned(call_for(one)) for one in requests]
        again: list[Move] = [CallPlanned(call_for(one)) for one in requests]
        first, second = await asyncio.gather(ours.apply(moves), theirs.apply(again))
        assert sum(isinstance(result, Applied) for result in (*first, *second)) == 50

    _play_two(open_shared, story)


# The ledger


def test_a_conflict_writes_no_ledger_row(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        _, (line,) = await in_flight(store, one)
        await store.apply([RequestCancelled(one.id, 120.0)])
        await store.apply([AttemptAnswered(line.id, 130.0, answer(), ledger(line))])
        assert await store.ledger_rows(one.id) == []

    _play(open_store, story)


def test_totals_are_exact_and_unknown_amounts_are_counted_apart(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        calls = [call_for(one) for _ in range(4)]
        rows = [
            ledger(calls[0], paid="0.000000000001", listed="0.3", booked_at=10.0),
            ledger(calls[1], paid="0.1", listed="0.3", booked_at=20.0),
            ledger(calls[2], paid=None, listed=None, booked_at=20.0),
            ledger(calls[3], paid="9", listed="9", booked_at=30.0),
        ]
        await store.book(rows)
        await store.book(rows[:2])
        (total,) = await store.ledger(since=10.0, until=30.0)
        assert (total.rows, total.paid_usd, total.list_usd) == (3, Decimal("0.100000000001"), Decimal("0.6"))
        assert (total.unknown_paid, total.unknown_list) == (1, 1)
        assert (total.input_tokens, total.cached_tokens, total.output_tokens) == (300, 15, 60)
        assert await store.ledger(since=0.0, until=99.0, tenant=BOB) == []
        halves = [
            ledger(calls[0], paid=None, listed="7", booked_at=50.0),
            ledger(calls[1], paid="0.2", listed=None, booked_at=50.0),
        ]
        await store.book([replace(row, id=f"half-{row.id}") for row in halves])
        (half,) = await store.ledger(since=50.0, until=60.0)
        assert (half.paid_usd, half.list_usd, half.unpriced) == (Decimal("0.2"), Decimal(0), 2)
        assert (half.unknown_paid, half.unknown_list) == (1, 1)
        (everything,) = await store.ledger(since=0.0, until=float("inf"))
        assert (everything.rows, everything.unpriced) == (6, 3)

    _play(open_store, story)


def test_a_ledger_row_comes_back_as_it_was_booked(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        row = ledger(call_for(one))
        unread = replace(ledger(call_for(one)), usage=None, paid_usd=None, list_usd=None)
        observed = replace(
            ledger(call_for(one)),
            reason=Reason.DEADLINE_ALLOWS,
            observed_tier=Tier.BATCH,
            observed_usd=Decimal("0.26"),
        )
        await store.book([row, unread, observed])
        assert await store.ledger_rows(one.id) == [row, unread, observed]

    _play(open_store, story)


def test_deadlines_are_counted_on_the_rows_that_settle_a_request_the_very_instant_being_in_time(
    open_store: OpenStore,
) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        early = replace(ledger(call_for(one)), deadline_at=300.5)
        sharp = replace(ledger(call_for(one)), deadline_at=200.0)
        late = replace(ledger(call_for(one)), deadline_at=199.5)
        await store.book([early, sharp, late, ledger(call_for(one))])
        given_up = replace(expired(one, 230.0), deadline_at=230.0)
        await store.apply([RequestExpired(one.id, 230.0, answer(status=504), given_up)])
        assert await store.ledger_rows(one.id) == [early, sharp, late, *(await store.ledger_rows(one.id))[3:]]
        answered, nothing = sorted(await store.ledger(since=0.0, until=300.0), key=lambda total: -total.rows)
        assert (answered.rows, answered.met, answered.missed) == (4, 2, 1)
        assert (nothing.kind, nothing.rows, nothing.met, nothing.missed) == (Purchase.EXPIRED, 1, 0, 1)
        assert (nothing.paid_usd, nothing.unknown_paid) == (Decimal(0), 0)

    _play(open_store, story)


def test_what_would_have_been_saved_is_summed_where_both_prices_are_known(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        (one,) = await accepted(store, request())
        seen = replace(ledger(call_for(one), paid="0.5"), observed_tier=Tier.BATCH, observed_usd=Decimal("0.26"))
        unpriced = replace(ledger(call_for(one), paid="0.5"), observed_tier=Tier.BATCH)
        unlisted = replace(seen, id="unlisted", list_usd=None)
        await store.book([seen, unpriced, unlisted, ledger(call_for(one))])
        (total,) = await store.ledger(since=0.0, until=float("inf"))
        assert (total.rows, total.observed_rows) == (4, 3)
        assert (total.observed_usd, total.observed_list_usd) == (Decimal("0.26"), Decimal("0.5"))

    _play(open_store, story)


# Housekeeping


def test_sweeping_removes_what_is_past_its_retention_and_keeps_the_ledger(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        old, fresh, unfinished = request(), request(), request()
        made, (first, second) = await in_flight(store, old, fresh)
        await accepted(store, unfinished)
        await store.apply(
            [
                _ended(made.id),
                AttemptAnswered(first.id, 150.0, answer(), ledger(first)),
                AttemptAnswered(second.id, 900.0, answer(), ledger(second)),
            ]
        )
        assert await store.sweep(now=500.0, retention_seconds=0.0, limit=10) == 1
        assert await store.get(old.id) is None
        assert await store.get(fresh.id) is not None
        assert await store.get(unfinished.id) is not None
        assert len(await store.ledger_rows(old.id)) == 1
        assert await store.sweep(now=500.0, retention_seconds=0.0, limit=10) == 0

    _play(open_store, story)


def test_a_request_may_have_a_retention_of_its_own(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        short, usual, long = request(retention_seconds=10.0), request(), request(retention_seconds=9_000.0)
        await accepted(store, short, usual, long)
        await store.apply([RequestCancelled(one.id, 200.0) for one in (short, usual, long)])
        assert await store.sweep(now=210.0, retention_seconds=100.0, limit=10) == 0
        assert await store.sweep(now=210.1, retention_seconds=100.0, limit=10) == 1
        assert await store.get(short.id) is None
        assert await store.sweep(now=300.1, retention_seconds=100.0, limit=10) == 1
        assert await store.get(usual.id) is None
        assert await store.get(long.id) is not None
        assert await store.sweep(now=9_200.1, retention_seconds=100.0, limit=10) == 1

    _play(open_store, story)


def test_no_more_are_swept_than_wanted(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        requests = await accepted(store, *(request(retention_seconds=n * 10.0 if n % 2 else None) for n in range(1, 7)))
        await store.apply([RequestCancelled(one.id, 200.0) for one in requests])
        swept = [await store.sweep(now=900.0, retention_seconds=1.0, limit=4) for _ in range(3)]
        assert swept == [4, 2, 0]

    _play(open_store, story)


def test_what_a_policy_said_about_a_request_is_kept(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        grounds = Grounds(
            left_seconds=3600.0,
            odds=0.9,
            odds_needed=0.23,
            batch_needs_seconds=400.0,
            flex_needs_seconds=240.0,
            call_needs_seconds=120.0,
            batch_price_share=0.5,
            flex_price_share=None,
            covered=True,
            batch_obstacle=None,
            flex_obstacle=FlexObstacle.PRICE_UNKNOWN,
        )
        one = replace(
            request(), on_miss=OnMiss.WAIT, confidence=0.9, grounds=grounds, reason=Reason.DEADLINE_ALLOWS_FLEX
        )
        _, (line,) = await in_flight(store, one)
        view = await store.get(one.id)
        assert view is not None
        assert (view.on_miss, view.confidence, view.grounds) == (OnMiss.WAIT, 0.9, grounds)
        (waiting,) = (await store.changes(None)).waiting
        assert (waiting.on_miss, waiting.confidence, waiting.reason) == (OnMiss.WAIT, 0.9, one.reason)
        (there,) = await store.lines(line.batch_id or BatchId(""), after=None, limit=9)
        assert there.reason is one.reason

    _play(open_store, story)


def test_a_finished_request_whose_line_is_still_at_the_provider_is_not_swept(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        one = request()
        await in_flight(store, one)
        await store.apply([RequestCancelled(one.id, 120.0)])
        assert await store.sweep(now=500.0, retention_seconds=0.0, limit=10) == 0

    _play(open_store, story)


def test_credentials_are_kept_and_replaced(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        name = CredentialId("c")
        assert await store.credential(name) is None
        await store.save_credential(Credential(name, b"one"))
        await store.save_credential(Credential(name, b"two"))
        assert await store.credential(name) == Credential(name, b"two")

    _play(open_store, story)


def test_the_deployments_word_stays_the_same(open_store: OpenStore) -> None:
    words: list[str] = []

    async def story(store: Store) -> None:
        words.append(await store.deployment())

    _play(open_store, story)
    _play(open_store, story)
    assert words[0] == words[1]
    assert len(words[0]) >= 8


def test_many_writers_at_once_all_get_their_own_result(open_store: OpenStore) -> None:
    async def story(store: Store) -> None:
        requests = [request(key=f"k{n % 50}") for n in range(200)]
        results = await asyncio.gather(*(store.accept(one) for one in requests))
        assert sum(isinstance(result, Accepted) for result in results) == 50

    _play(open_store, story)

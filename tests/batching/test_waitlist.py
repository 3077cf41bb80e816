import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.batching.waitlist import Waitlist
from proxy.domain.decision import OnMiss
from proxy.domain.ids import CredentialId, RequestId, UpstreamName
from proxy.domain.moves import AttemptRefused, CallPlanned, RequestCancelled
from proxy.domain.request import Lane, Queue, Stage
from proxy.domain.tier import Tier
from proxy.runtime.clock import SystemClock
from proxy.store import sqlite
from proxy.store.sqlite import SqliteStore
from tests.store.samples import LANE, QUEUE, UPSTREAM, accepted, call_for, in_flight, request

OTHER_MODEL = Queue(UPSTREAM, CredentialId("cred"), QUEUE.endpoint, "gpt-5-mini")
ELSEWHERE = Queue(UpstreamName("elsewhere"), CredentialId("cred"), QUEUE.endpoint, "gpt-4o-mini")


def play(tmp_path: Path, story: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def whole() -> None:
        store = SqliteStore(tmp_path / "standby.db", SystemClock())
        await store.start()
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(whole())


def shown(waitlist: Waitlist, upstream: UpstreamName = UPSTREAM) -> dict[str, list[RequestId]]:
    return {model: [waiting.id for waiting in group] for model, group, _ in waitlist.groups(upstream)}


def test_what_waits_is_listed_by_model_earliest_deadline_first(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        late, early = request(deadline_at=900.0), request(deadline_at=500.0)
        other, elsewhere = request(queue=OTHER_MODEL), request(queue=ELSEWHERE)
        await accepted(store, late, early, other, elsewhere)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        assert shown(waitlist) == {"gpt-4o-mini": [early.id, late.id], "gpt-5-mini": [other.id]}
        assert shown(waitlist, UpstreamName("elsewhere")) == {"gpt-4o-mini": [elsewhere.id]}
        assert shown(waitlist, UpstreamName("nobody")) == {}
        assert len(waitlist) == 4

    play(tmp_path, story)


def test_a_refresh_takes_over_what_has_changed(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        one, two = request(deadline_at=500.0), request(deadline_at=600.0)
        await accepted(store, one, two)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        new = request(deadline_at=100.0)
        await accepted(store, new)
        await store.apply([RequestCancelled(one.id, 100.0), CallPlanned(call_for(two))])
        await waitlist.refresh()
        assert shown(waitlist) == {"gpt-4o-mini": [new.id, two.id]}
        (_, group, _), *_ = waitlist.groups(UPSTREAM)
        assert [waiting.calling for waiting in group] == [False, True]

    play(tmp_path, story)


def test_a_queue_is_what_waits_for_a_batch(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        one, two = request(accepted_at=90.0, deadline_at=500.0), request(accepted_at=80.0, deadline_at=900.0)
        calling, sync_only = request(), request(tiers=frozenset({Tier.STANDARD}))
        await accepted(store, one, two, calling, sync_only, request(queue=OTHER_MODEL))
        await store.apply([CallPlanned(call_for(calling))])
        await in_flight(store, request())
        waitlist = Waitlist(store)
        await waitlist.refresh()
        assert set(waitlist.queues()) == {QUEUE, OTHER_MODEL}
        depth = next(depth for depth in waitlist.depths() if depth.queue == QUEUE)
        assert (depth.requests, depth.oldest_at, depth.earliest_deadline_at) == (2, 80.0, 500.0)
        assert (depth.body_bytes, depth.estimated_tokens) == (2 * len(one.body), 20)
        lane = Lane(UPSTREAM, "gpt-4o-mini")
        assert waitlist.lanes() == {lane, Lane(UPSTREAM, "gpt-5-mini")}
        stages = {stage: n for (where, stage), n in waitlist.stages().items() if where == lane}
        assert stages == {Stage.QUEUED: 3, Stage.CALLING: 1, Stage.SUBMITTED: 1}

    play(tmp_path, story)


def test_a_batch_may_take_what_is_ready_was_not_tried_too_often_and_has_the_time(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        fine, not_yet, too_late, tried = (
            request(accepted_at=90.0, deadline_at=500.0),
            request(accepted_at=200.0),
            request(deadline_at=150.0),
            request(),
        )
        await accepted(store, fine, not_yet, too_late)
        _, (line,) = await in_flight(store, tried)
        await store.apply([AttemptRefused(line.id, 100.0, ready_at=100.0, tries_spent=2)])
        waitlist = Waitlist(store)
        await waitlist.refresh()
        ready = waitlist.ready(QUEUE, 100.0, tries_max=2, deadline_after=200.0)
        assert [waiting.id for waiting in ready] == [fine.id]
        often = waitlist.ready(QUEUE, 200.0, tries_max=3, deadline_after=0.0)
        assert {waiting.id for waiting in often} == {fine.id, not_yet.id, too_late.id, tried.id}

    play(tmp_path, story)


def test_nothing_is_left_of_what_waits_no_more(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        one = request()
        await accepted(store, one)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        await store.apply([RequestCancelled(one.id, 100.0)])
        await waitlist.refresh()
        assert (shown(waitlist), len(waitlist)) == ({}, 0)

    play(tmp_path, story)


def test_a_copy_that_has_missed_too_much_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store keeps so many changes and no more."""

    async def story(store: SqliteStore) -> None:
        gone, kept = request(), request()
        await accepted(store, gone)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        await store.apply([RequestCancelled(gone.id, 100.0)])
        await accepted(store, kept)
        await in_flight(store, request())
        await store.sweep(now=200.0, retention_seconds=0.0, limit=10)
        assert (await store.changes(1)).whole
        await waitlist.refresh()
        (ids,) = shown(waitlist).values()
        assert gone.id not in ids
        assert kept.id in ids
        assert len(waitlist) == 2

    monkeypatch.setattr(sqlite, "CHANGES_KEPT", 1)
    play(tmp_path, story)


def test_who_never_moves_is_listed_apart_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        moving = request(deadline_at=500.0)
        waits = replace(request(deadline_at=400.0), on_miss=OnMiss.WAIT)
        fails = replace(request(deadline_at=300.0), on_miss=OnMiss.FAIL)
        await accepted(store, moving, waits, fails)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        (_, group, resting), *_ = waitlist.groups(UPSTREAM)
        assert [waiting.id for waiting in group] == [moving.id]
        assert [waiting.id for waiting in resting] == [waits.id, fails.id]
        assert waitlist.due_by(LANE, 1_000.0) == 1
        ready = [
            {waiting.id for waiting in waitlist.ready(QUEUE, now, tries_max=2, deadline_after=now + 150.0)}
            for now in (200.0, 301.0, 401.0)
        ]
        assert ready == [{moving.id, waits.id, fails.id}, {moving.id, waits.id}, {waits.id}]
        await store.apply([RequestCancelled(one.id, 100.0) for one in (waits, fails)])
        await waitlist.refresh()
        assert [resting for _, _, resting in waitlist.groups(UPSTREAM)] == [[]]

    play(tmp_path, story)


def test_a_request_is_counted_where_it_is_and_nowhere_else(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        one, two, other = request(), request(), request(queue=OTHER_MODEL)
        await accepted(store, one, two, other)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        assert waitlist.stages() == {(LANE, Stage.QUEUED): 2, (OTHER_MODEL.lane, Stage.QUEUED): 1}
        await store.apply([CallPlanned(call_for(one)), RequestCancelled(other.id, 200.0)])
        await waitlist.refresh()
        assert waitlist.stages() == {(LANE, Stage.QUEUED): 1, (LANE, Stage.CALLING): 1}
        assert waitlist.stage_of(one.id) is Stage.CALLING
        assert waitlist.stage_of(other.id) is None

    play(tmp_path, story)


def test_the_tightest_deadline_of_a_lane_counts_those_that_do_not_move_too(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        moving, resting = request(deadline_at=900.0), replace(request(deadline_at=500.0), on_miss=OnMiss.WAIT)
        alone = replace(request(queue=OTHER_MODEL, deadline_at=700.0), on_miss=OnMiss.FAIL)
        await accepted(store, moving, resting, alone)
        waitlist = Waitlist(store)
        await waitlist.refresh()
        assert waitlist.earliest_deadline_at(LANE) == 500.0
        assert waitlist.earliest_deadline_at(OTHER_MODEL.lane) == 700.0
        assert waitlist.earliest_deadline_at(ELSEWHERE.lane) is None

    play(tmp_path, story)

"""One look at everything for an operator, no more than once a second however many look."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

from proxy import __version__
from proxy.batching.membership import HOUSEKEEPING
from proxy.domain.batch import Batch, BatchState
from proxy.domain.errors import StoreFault
from proxy.domain.labels import LimitKind, OutcomeLabel
from proxy.domain.request import Lane, Stage
from proxy.domain.tier import Tier
from proxy.runtime.daybook import DayBook
from proxy.runtime.state import State
from proxy.runtime.telling import Telling
from proxy.telemetry.happenings import short
from proxy.telemetry.journal import Journal
from proxy.telemetry.overview import (
    BatchView,
    Day,
    ForecastView,
    LaneView,
    LimitView,
    MinuteView,
    Overview,
    Replica,
)
from proxy.telemetry.tally import Checks, Rates, Tally

LOOK_SECONDS = 1.0
"""A look is shared by all that ask within this time."""
ROWS_MAX = 50
"""Lanes, batches, limits and forecasts beyond this are only counted."""
ENDINGS_MAX = 10
"""How many requests that another process may have finished are looked up at each look."""


@dataclass(slots=True)
class Watch:
    """What listens for the page."""

    journal: Journal = field(default_factory=Journal)
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class Showcase:
    """`proxy.server.house.Showcase` over the running parts."""

    _telling: Telling
    _overviews: "Overviews"

    async def metrics(self, *, openmetrics: bool, alone: bool) -> tuple[bytes, str]:
        return await self._telling.page(openmetrics=openmetrics, alone=alone)

    async def overview(self) -> Overview:
        return await self._overviews.look()


class Overviews:
    """Takes the look. What it cannot read from the store is shown as it was last."""

    def __init__(self, state: State, watch: Watch) -> None:
        self._desk, self._engine, self._house = state.desk, state.engine, state.house
        self._state = state
        self._watch = watch
        self._day_book = DayBook(state.desk.store, state.house.timezone)
        self._started_at = state.desk.clock.now()
        self._batches: Sequence[Batch] = ()
        self._day: Day | None = None
        self._last: Overview | None = None
        self._looking = asyncio.Lock()

    async def look(self) -> Overview:
        """Everything as it is, or was within the last second. Never raises `StoreFault`."""
        async with self._looking:
            now = self._desk.clock.now()
            if self._last is None or not 0 <= now - self._last.at < LOOK_SECONDS:
                self._last = await self._look(now)
            return self._last

    async def _look(self, now: float) -> Overview:
        fault: str | None = None
        try:
            await self._read_store(now)
        except StoreFault as error:
            fault = str(error)
        stages: Counter[Stage] = Counter()
        for (_, stage), count in self._engine.waitlist.stages().items():
            stages[stage] += count
        return Overview(
            at=now,
            store="redis" if self._desk.store.shared else "sqlite",
            replicas=self._state.membership.members,
            store_fault=fault,
            day=self._day,
            open_requests=stages,
            lanes=self._lanes(now),
            open_batches=len(self._batches),
            batches=[self._batch(batch, now) for batch in nsmallest(ROWS_MAX, self._batches, key=_by_deadline)],
            replica=self._replica(now),
        )

    async def _read_store(self, now: float) -> None:
        store, journal = self._desk.store, self._watch.journal
        await self._engine.waitlist.refresh()
        self._batches = [batch for batch in await store.open_batches() if batch.state is not BatchState.COLLECTED]
        gone = [name for name in journal.unfinished() if self._engine.waitlist.stage_of(name) is None]
        for request_id in gone[:ENDINGS_MAX]:
            view = await store.get(request_id)
            if view is not None:
                journal.finished_elsewhere(view)
        self._day = await self._day_book.today(now)

    def _lanes(self, now: float) -> list[LaneView]:
        waitlist = self._engine.waitlist
        stages: defaultdict[Lane, dict[Stage, int]] = defaultdict(dict)
        for (lane, stage), count in waitlist.stages().items():
            stages[lane][stage] = count
        tokens: Counter[Lane] = Counter()
        oldest_at: dict[Lane, float] = {}
        for depth in waitlist.depths():
            lane = depth.queue.lane
            tokens[lane] += depth.estimated_tokens
            oldest_at[lane] = min(oldest_at.get(lane, depth.oldest_at), depth.oldest_at)
        slack = self._engine.slack_seconds(now)
        views = [
            LaneView(
                upstream=lane.upstream,
                model=short(lane.model),
                stages=stages[lane],
                waiting_tokens=tokens[lane],
                oldest_at=oldest_at.get(lane),
                deadline_at=waitlist.earliest_deadline_at(lane),
                slack_seconds=slack.get((lane.upstream, lane.model)) if self._desk.keeps(lane) else None,
            )
            for lane in stages
        ]
        return nsmallest(ROWS_MAX, views, key=lambda view: view.deadline_at or 0.0)

    def _batch(self, batch: Batch, now: float) -> BatchView:
        quote = self._desk.latencies.of(batch.queue.upstream, batch.queue.model).quote(now)
        return BatchView(
            id=batch.id,
            provider_id=batch.provider_id,
            upstream=batch.queue.upstream,
            model=short(batch.queue.model),
            endpoint=batch.queue.endpoint,
            state=batch.state,
            provider_status=batch.provider_status,
            lines=batch.lines,
            completed_lines=batch.completed_lines,
            failed_lines=batch.failed_lines,
            created_at=batch.created_at,
            submitted_at=batch.submitted_at,
            expected_at=None if batch.submitted_at is None else batch.submitted_at + quote,
            deadline_at=batch.deadline_at,
            cancelling=batch.cancel_requested_at is not None,
        )

    def _limits(self, now: float) -> list[LimitView]:
        rates = self._watch.tally.rates
        views = [
            LimitView(
                upstream=upstream,
                model=short(model),
                requests_per_minute=limits.actual.provider_limit(LimitKind.REQUESTS),
                tokens_per_minute=limits.actual.provider_limit(LimitKind.TOKENS),
                used_ratio=limits.actual.used_ratio(now),
                refused=rates.get((upstream, model), Rates()).refused,
                avoided=rates.get((upstream, model), Rates()).avoided,
                all_sync_wait_seconds=limits.shadow.virtual_wait_seconds(now),
            )
            for upstream, model, limits in self._desk.limits
        ]
        return nsmallest(ROWS_MAX, views, key=lambda view: -view.used_ratio)

    def _forecasts(self, now: float) -> list[ForecastView]:
        known = self._watch.tally.forecasts
        quantile = self._desk.planning.batches.quoted_share
        views = [
            ForecastView(
                upstream=upstream,
                model=short(model),
                seconds=times.quote(now),
                quantile=quantile,
                congested=times.congested(now),
                covered=known.get((upstream, model), Checks()).covered,
                checked=known.get((upstream, model), Checks()).checked,
            )
            for upstream, model, times in self._desk.latencies
        ]
        return nsmallest(ROWS_MAX, views, key=lambda view: (-view.checked, view.model))

    def _replica(self, now: float) -> Replica:
        house, tally, journal = self._house, self._watch.tally, self._watch.journal
        open_stages = {name: self._engine.waitlist.stage_of(name) for name in journal.unfinished()}
        return Replica(
            name=self._desk.store.member,
            version=__version__,
            started_at=self._started_at,
            policy_rules=len(house.policy.rules),
            lanes=sum(lane != HOUSEKEEPING for lane in self._state.membership.lanes),
            draining=house.draining,
            urgent=house.calls_under_way,
            held=len(house.holds),
            calls=self._engine.calls_under_way,
            backlog=sum(self._engine.backlog().values()),
            unbooked=house.bookings.unbooked,
            lag_seconds=self._state.lag.seconds,
            listener_failures=self._state.announcer.failures,
            deadlines_met=tally.deadlines_met,
            deadlines_missed=tally.deadlines_missed,
            requests=_by_tier(tally.requests),
            minutes=[MinuteView(minute.at, minute.requests) for minute in tally.minutes(now)],
            limits=self._limits(now),
            forecasts=self._forecasts(now),
            decisions=journal.decisions(),
            stages={name: stage for name, stage in open_stages.items() if stage is not None},
            happenings=journal.happenings(),
        )


def _by_tier(requests: Mapping[tuple[Tier, OutcomeLabel], int]) -> dict[Tier, dict[OutcomeLabel, int]]:
    tiers: defaultdict[Tier, dict[OutcomeLabel, int]] = defaultdict(dict)
    for (tier, outcome), count in requests.items():
        tiers[tier][outcome] = count
    return tiers


def _by_deadline(batch: Batch) -> float:
    return batch.deadline_at

"""The engine: does all that is due, and says when to look again. Nothing else loops.

`run_due(now)` cuts queues, starts a step for every batch that is due and a call for every request that must be
escalated, and returns the next instant at which there is something to do. Steps run beside each other, one per batch,
so that a slow upload stalls nobody; a step that fails is put off with a growing wait and announced. In production
`run` is the loop; a test may call `run_due` and `settle` by itself.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Coroutine
from typing import TypeVar

from proxy.batching import calls, clean, collect, escalate, learn, poll, recover, stage, submit
from proxy.batching.desk import Desk
from proxy.batching.membership import HOUSEKEEPING, Membership
from proxy.batching.waitlist import Waitlist
from proxy.domain.batch import Batch, BatchState
from proxy.domain.decision import CONFIDENCE_DEFAULT
from proxy.domain.errors import StandbyError, UpstreamFault
from proxy.domain.events import AnyEvent, RequestAccepted, StepFailed, UpstreamFailed
from proxy.domain.failure import failure_of
from proxy.domain.ids import BatchId, RequestId, UpstreamName
from proxy.domain.moves import BatchPostponed
from proxy.domain.request import Lane, Waiting
from proxy.domain.tier import Tier
from proxy.routing import escalation
from proxy.routing.planner import Outlook

Key = TypeVar("Key")
GIVES_BACK = frozenset(BatchState) - {BatchState.IN_FLIGHT, BatchState.COLLECTED}
"""States whose step may leave requests without a batch, so that deadlines have to be looked at."""


class Engine:
    """Buys the answers of deferred requests. `run` once; `poke` when there is new work; `drain` to stop.

    `waitlist` and `batches` are what was open at the last look, of every process.
    """

    def __init__(self, desk: Desk, membership: Membership) -> None:
        self._desk = desk
        self._membership = membership
        self._busy: Counter[Lane] = Counter()
        self._orphans_suspected = False
        self._steps: dict[BatchId, asyncio.Task[None]] = {}
        self._calls: dict[RequestId, asyncio.Task[None]] = {}
        self._chores: dict[str, asyncio.Task[None]] = {}
        self.waitlist = Waitlist(desk.store)
        self.batches: list[Batch] = []
        self._due: deque[escalate.Due] = deque()
        self._first_move_at: dict[tuple[UpstreamName, str], float] = {}
        self._look_at: dict[UpstreamName, float] = {}
        self._look_took_seconds = 0.0
        self._newcomers: Counter[tuple[UpstreamName, str]] = Counter()
        self._swept_at = -math.inf
        self._woken = asyncio.Event()
        self._draining = False

    def __repr__(self) -> str:
        return f"<Engine steps={len(self._steps)} calls={len(self._calls)} draining={self._draining}>"

    @property
    def calls_under_way(self) -> int:
        """Synchronous calls for deferred requests that have begun."""
        return len(self._calls)

    def backlog(self) -> dict[UpstreamName, int]:
        """Requests that should be bought synchronously by now and wait for the rate limit, by upstream."""
        return Counter(due.waiting.queue.upstream for due in self._due)

    def slack_seconds(self, now: float) -> dict[tuple[UpstreamName, str], float]:
        """The time until the first waiting request has to move, by upstream and model."""
        return {pair: at - now for pair, at in self._first_move_at.items()}

    def listen(self, event: AnyEvent) -> None:
        """Count what is accepted between two looks, and look in time for it: at once where no batch is waited for."""
        if not isinstance(event, RequestAccepted):
            return
        self._newcomers[event.upstream, event.model] += 1
        within_seconds = self._desk.settings.look_seconds if event.tier is Tier.BATCH else self._soon_seconds()
        self._look_within(within_seconds, event.upstream)

    def outlook(
        self, upstream: UpstreamName, model: str, now: float, confidence: float = CONFIDENCE_DEFAULT
    ) -> Outlook:
        """What the planner has to know of an upstream's model, for a deadline that is to be met so surely."""
        return self._desk.outlook(
            upstream, model, now, lambda deadline_at: self._covers(upstream, model, deadline_at, now), confidence
        )

    def _covers(self, upstream: UpstreamName, model: str, deadline_at: float, now: float) -> bool:
        """Whether the rate limits can carry one more request with this deadline, and all that waits for an earlier
        one, if no batch completes any more.
        """
        earlier = self.waitlist.due_by(Lane(upstream, model), deadline_at) + self._newcomers[upstream, model]
        left_seconds = escalation.latest_call_at(deadline_at, self._desk.escalation(upstream, model)) - now
        return left_seconds >= 0 and earlier < self._desk.limits.of(upstream, model, now).actual.room(left_seconds, now)

    def poke(self) -> None:
        """There may be something to do sooner than was said."""
        self._woken.set()

    def drain(self) -> None:
        """Start nothing new; `run` returns when what is under way has ended."""
        self._draining = True
        self.poke()

    async def run(self) -> None:
        """Work until `drain`."""
        clock, settings = self._desk.clock, self._desk.settings
        async with asyncio.TaskGroup() as group:
            await self._attempt("recall", learn.recall(self._desk))
            while not self._draining:
                self._woken.clear()
                began_at = clock.now()
                next_due_at = await self.run_due(began_at, group)
                await clock.sleep_until(began_at + settings.tick_seconds)
                await self._sleep_until(next_due_at)
            await self._attempt("depart", self._depart())
        lanes = self._membership.lanes
        await self._attempt("remember", learn.remember(self._desk, lanes))
        await self._attempt("release", self._membership.release(lanes))

    async def _depart(self) -> None:
        """What is under way here ends here; everything else is the others' from now on."""
        await self._membership.depart()
        await self._membership.release(self._membership.leaving(busy=+self._busy, wanted=()))

    async def run_due(self, now: float, group: asyncio.TaskGroup) -> float:
        """Start all that is due at `now`; returns when to look again (infinity: on the next poke)."""
        failed_at = now + self._desk.settings.look_seconds
        try:
            await self._refresh()
            await self._take_lanes(await self._desk.store.open_batches())
            cut_at = await stage.cut_due_queues(self._desk, self.waitlist, now, self.outlook)
            self.batches = await self._desk.store.open_batches()
            batches = [batch for batch in self.batches if self._desk.keeps(batch.queue.lane)]
            looked_at = await self._escalate(batches, now, group)
            batches_at = self._start_steps(batches, now, group)
            self._start_chores(now, group)
            learn.settle_forecasts(self._desk, now)
        except StandbyError as error:
            self._failed("look", error, failed_at)
            return failed_at
        claim_at = self._membership.claim_again_at(now)
        return min(cut_at, looked_at, batches_at, claim_at, self._swept_at + self._desk.settings.sweep_seconds)

    async def _refresh(self) -> None:
        await self.waitlist.refresh()
        self._newcomers.clear()

    async def _take_lanes(self, batches: list[Batch]) -> None:
        """Look after what falls to this process, and first find out what an earlier holder was doing there."""
        wanted = {HOUSEKEEPING, *self.waitlist.lanes(), *(batch.queue.lane for batch in batches)}
        unread = await self._membership.claim(wanted)
        if unread:
            self._look_soon()
            recover.note_overdue(self._desk, batches, unread, self._desk.clock.now())
            await recover.settle_orphaned_calls(self._desk, unread)
            await learn.take_over(self._desk, unread)
            self._membership.read(unread)
        elif self._orphans_suspected:
            await recover.settle_orphaned_calls(self._desk, self._membership.lanes)
            self._orphans_suspected = False
        leaving = self._membership.leaving(busy=+self._busy, wanted=wanted)
        if leaving:
            await learn.remember(self._desk, leaving)
            await self._membership.release(leaving)

    async def settle(self) -> None:
        """Wait until every step, call and chore that is under way has ended."""
        while tasks := [*self._steps.values(), *self._calls.values(), *self._chores.values()]:
            await asyncio.wait(tasks)

    def _start_steps(self, batches: list[Batch], now: float, group: asyncio.TaskGroup) -> float:
        next_due_at = math.inf
        for batch in batches:
            if batch.id in self._steps:
                continue
            if batch.due_at > now:
                next_due_at = min(next_due_at, batch.due_at)
                continue
            recover.note_late(self._desk, batch)
            self._start_step(batch, self._step(batch), group)
        return next_due_at

    def _start_step(self, batch: Batch, step: Coroutine[None, None, None], group: asyncio.TaskGroup) -> None:
        task = group.create_task(self._guard(batch, step), name=f"{batch.state} {batch.id}")
        self._steps[batch.id] = task
        lane, looks = batch.queue.lane, batch.state in GIVES_BACK
        self._busy[lane] += 1
        task.add_done_callback(lambda _: self._ended(self._steps, batch.id, lane, looks=looks))

    def _ended(self, tasks: dict[Key, asyncio.Task[None]], key: Key, lane: Lane, *, looks: bool) -> None:
        tasks.pop(key, None)
        self._busy[lane] -= 1
        if looks:
            self._look_soon()
        self.poke()

    def _look_soon(self) -> None:
        """Requests may be queued again: look at their deadlines at the next tick."""
        for upstream in self._look_at:
            self._look_within(self._soon_seconds(), upstream)

    def _look_within(self, seconds: float, upstream: UpstreamName) -> None:
        if upstream in self._look_at:
            self._look_at[upstream] = min(self._look_at[upstream], self._desk.clock.now() + seconds)

    def _soon_seconds(self) -> float:
        """A tick; more where so much waits that looking takes long: no more than a tenth of the time goes into it."""
        return max(self._desk.settings.tick_seconds, 9 * self._look_took_seconds)

    async def _step(self, batch: Batch) -> None:
        desk = self._desk
        match batch.state:
            case BatchState.PLANNED:
                await submit.upload(desk, batch)
            case BatchState.UPLOADING:
                await submit.restart_upload(desk, batch)
            case BatchState.CREATING:
                await recover.match_or_revoke(desk, batch)
            case BatchState.REVOKED:
                await recover.match_or_plan_again(desk, batch)
            case BatchState.IN_FLIGHT:
                await poll.poll(desk, batch)
            case BatchState.ENDED:
                await collect.collect(desk, batch)
            case BatchState.COLLECTED:
                await clean.clean(desk, batch)
            case BatchState.CLEANED | BatchState.ABANDONED:
                return

    async def _guard(self, batch: Batch, step: Coroutine[None, None, None]) -> None:
        """A step that fails is put off; the batch stays as the store has it."""
        try:
            await step
        except StandbyError as error:
            await self._put_off(batch, error)
        else:
            self._desk.memory.batch_failures.pop(batch.id, None)

    async def _put_off(self, batch: Batch, error: StandbyError) -> None:
        memory = self._desk.memory
        failures = memory.batch_failures.get(batch.id, 0)
        memory.batch_failures[batch.id] = failures + 1
        asked = error.after_seconds or 0.0 if isinstance(error, UpstreamFault) else 0.0
        now = self._desk.clock.now()
        again_at = now + max(self._desk.backoff_seconds(failures), asked)
        if isinstance(error, UpstreamFault):
            kind = failure_of(error.status)
            self._desk.announce(UpstreamFailed(batch.queue.upstream, batch.queue.model, kind, now))
        self._failed(batch.state.value, error, again_at, batch)
        await self._attempt("postpone", self._postpone(batch, again_at))

    async def _postpone(self, batch: Batch, due_at: float) -> None:
        await self._desk.move(BatchPostponed(batch.id, due_at))

    async def _escalate(self, batches: list[Batch], now: float, group: asyncio.TaskGroup) -> float:
        """Look at the waiting requests when it is time, and start the due calls that the rate limits let through."""
        to_look_at = [name for name in self._desk.upstreams if now >= self._look_at.get(name, 0.0)]
        if to_look_at:
            began = self._desk.clock.monotonic()
            await self._refresh()
            for upstream in to_look_at:
                self._look(upstream, batches, now, group)
            self._look_took_seconds = self._desk.clock.monotonic() - began
        free_calls = self._desk.settings.calls_max - len(self._calls)
        to_call, next_call_at = escalate.take_calls(self._desk, self._due, now, free_calls)
        for due in to_call:
            self._start_call(due.waiting, calls.call(self._desk, due), group)
        return min(next_call_at, *self._look_at.values())

    def _look(self, upstream: UpstreamName, batches: list[Batch], now: float, group: asyncio.TaskGroup) -> None:
        idle = [batch for batch in batches if batch.queue.upstream == upstream and batch.id not in self._steps]
        unheard = recover.unheard(self._desk, batches, now)
        found = escalate.look(self._desk, upstream, self.waitlist, idle, now, unheard)
        self._look_at[upstream] = found.look_again_at
        others = {pair: at for pair, at in self._first_move_at.items() if pair[0] != upstream}
        self._first_move_at = others | {(upstream, model): at for model, at in found.first_move_at.items()}
        still_due = (due for due in self._due if due.waiting.queue.upstream != upstream)
        self._due = deque((*still_due, *(due for due in found.due if due.waiting.id not in self._calls)))
        for batch in found.abandons:
            self._start_step(batch, escalate.abandon(self._desk, batch), group)
        for batch in found.cancels:
            self._start_step(batch, escalate.cancel(self._desk, batch), group)
        for waiting in found.expired:
            self._start_call(waiting, calls.expire(self._desk, waiting), group)

    def _start_call(self, waiting: Waiting, work: Coroutine[None, None, None], group: asyncio.TaskGroup) -> None:
        if waiting.id in self._calls:
            work.close()
            return
        task = group.create_task(self._call(work), name=f"call {waiting.id}")
        self._calls[waiting.id] = task
        self._busy[waiting.queue.lane] += 1
        task.add_done_callback(lambda _: self._ended(self._calls, waiting.id, waiting.queue.lane, looks=True))

    async def _call(self, work: Coroutine[None, None, None]) -> None:
        """A call that the store fails may be live there, and under way nowhere."""
        if not await self._attempt("call", work):
            self._orphans_suspected = True

    def _start_chores(self, now: float, group: asyncio.TaskGroup) -> None:
        if now < self._swept_at + self._desk.settings.sweep_seconds or self._chores:
            return
        is_first, self._swept_at = math.isinf(self._swept_at), now
        task = group.create_task(self._sweep(now, is_first=is_first), name="sweep")
        self._chores["sweep"] = task
        self._busy[HOUSEKEEPING] += 1
        task.add_done_callback(lambda _: self._ended(self._chores, "sweep", HOUSEKEEPING, looks=False))

    async def _sweep(self, now: float, *, is_first: bool) -> None:
        """Delete what is not wanted any more; but after a start, first let everybody fetch what has long been there."""
        self._orphans_suspected = True
        await self._attempt("remember", learn.remember(self._desk, self._membership.lanes))
        await self._attempt("recall", learn.recall(self._desk))
        if not self._desk.keeps(HOUSEKEEPING):
            return
        if not is_first:
            await self._attempt("sweep_store", clean.sweep_store(self._desk, now))
        await self._attempt("sweep_files", clean.sweep_files(self._desk, now))

    async def _attempt(self, name: str, work: Coroutine[None, None, None]) -> bool:
        """Background work whose failure is announced, and found again by the next look. Whether it went well."""
        try:
            await work
        except StandbyError as error:
            self._failed(name, error, self._desk.clock.now() + self._desk.settings.look_seconds)
            return False
        return True

    def _failed(self, step: str, error: StandbyError, retry_at: float, batch: Batch | None = None) -> None:
        self._desk.announce(
            StepFailed(
                step=step,
                upstream=batch.queue.upstream if batch else None,
                batch_id=batch.id if batch else None,
                error=str(error),
                retry_at=retry_at,
                at=self._desk.clock.now(),
            )
        )

    async def _sleep_until(self, at: float) -> None:
        """Wait for the instant or for a poke, whichever is first."""
        if math.isinf(at):
            await self._woken.wait()
            return
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._desk.clock.sleep_until(at), name="engine timer")
            woken = group.create_task(self._woken.wait(), name="engine wake")
            await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
            woken.cancel()

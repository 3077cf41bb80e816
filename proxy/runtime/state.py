"""One look at the state of everything, for the gauges of `/metrics`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from proxy.batching.desk import Account, Desk, enqueued_tokens
from proxy.batching.engine import Engine
from proxy.batching.membership import HOUSEKEEPING, Membership
from proxy.domain.batch import Batch, BatchState
from proxy.domain.errors import StoreFault
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import LimitKind
from proxy.runtime.reload import PolicyWatch
from proxy.server.house import House
from proxy.telemetry.fanout import Announcer
from proxy.telemetry.gauges import Gauges, LimitView


@dataclass(slots=True)
class Lag:
    """How late the event loop was at the last look: its own queue of work, in seconds."""

    seconds: float = 0.0


class State:
    """`proxy.telemetry.gauges.StateReader` over the running parts."""

    def __init__(
        self,
        *,
        desk: Desk,
        engine: Engine,
        house: House,
        announcer: Announcer,
        membership: Membership,
        policy_watch: PolicyWatch,
    ) -> None:
        self.lag = Lag()
        self.desk = desk
        self.engine = engine
        self.house = house
        self.announcer = announcer
        self.membership = membership
        self.policy_watch = policy_watch

    async def gauges(self) -> Gauges:
        now = self.desk.clock.now()
        limits, latencies = self.desk.limits, self.desk.latencies
        waitlist = self.engine.waitlist
        with suppress(StoreFault):  # then what was known last is shown
            await waitlist.refresh()
        ours = self.membership.holds
        batches = [batch for batch in self.engine.batches if ours(batch.queue.lane)]
        return Gauges(
            at=now,
            queues=[depth for depth in waitlist.depths() if ours(depth.queue.lane)],
            open_requests={
                (lane.upstream, lane.model, stage): n for (lane, stage), n in waitlist.stages().items() if ours(lane)
            },
            open_batches=Counter((batch.queue.upstream, batch.queue.model, batch.state) for batch in batches),
            oldest_batch_seconds=_greatest((batch, now - _submitted_at(batch)) for batch in batches),
            poll_age_seconds=_greatest((batch, now - self._heard_at(batch)) for batch in batches),
            escalation_backlog=dict.fromkeys(self.desk.upstreams, 0) | self.engine.backlog(),
            escalation_slack_seconds=self.engine.slack_seconds(now),
            forecast_seconds={(upstream, model): times.quote(now) for upstream, model, times in latencies},
            call_forecast_seconds=self.desk.call_times.forecasts(),
            congested={(upstream, model): times.congested(now) for upstream, model, times in latencies},
            enqueued_tokens=_by_pair(enqueued_tokens(batches)),
            enqueued_tokens_limit=_by_pair(
                {account: budget.limit for account, budget in self.desk.memory.budgets.items() if budget.is_known}
            ),
            shadow_wait_seconds={
                (upstream, model): known.shadow.virtual_wait_seconds(now) for upstream, model, known in limits
            },
            rate_used_ratio=self._used(now),
            held_connections=len(self.house.holds),
            urgent_inflight=self.house.calls_under_way,
            unbooked_rows=self.house.bookings.unbooked,
            listener_failures=self.announcer.failures,
            event_loop_lag_seconds=self.lag.seconds,
            replicas=self.membership.members,
            lanes_held=sum(lane != HOUSEKEEPING for lane in self.membership.lanes),
            is_leader=HOUSEKEEPING in self.membership.lanes,
            policy_loaded_at=self.policy_watch.loaded_at,
            policy_edit_refused=self.policy_watch.edit_refused,
        )

    def _used(self, now: float) -> dict[tuple[UpstreamName, str, LimitKind, LimitView], float]:
        return {
            (upstream, model, kind, view): ratio
            for upstream, model, limits in self.desk.limits
            for view, ratios in (
                (LimitView.ACTUAL, limits.actual.used_ratios(now)),
                (LimitView.SHADOW, limits.shadow.used_ratios(now)),
            )
            for kind, ratio in ratios.items()
        }

    def _heard_at(self, batch: Batch) -> float:
        return self.desk.memory.polled_at.get(batch.id, _submitted_at(batch))


def _submitted_at(batch: Batch) -> float:
    return batch.submitted_at or batch.created_at


def _greatest(ages: Iterable[tuple[Batch, float]]) -> dict[tuple[UpstreamName, str], float]:
    """Of the batches that the provider works on, by upstream and model."""
    greatest: dict[tuple[UpstreamName, str], float] = {}
    for batch, seconds in ages:
        if batch.state is BatchState.IN_FLIGHT:
            pair = batch.queue.upstream, batch.queue.model
            greatest[pair] = max(seconds, greatest.get(pair, 0.0))
    return greatest


def _by_pair(amounts: Mapping[Account, float]) -> dict[tuple[UpstreamName, str], float]:
    """Summed over credentials: those are no labels."""
    summed: dict[tuple[UpstreamName, str], float] = defaultdict(float)
    for (upstream, _, model), amount in amounts.items():
        summed[upstream, model] += amount
    return summed

"""What every step of the engine works with: the seams, the settings, and what is remembered while the process lives.

Nothing here is needed for correctness after a restart: forgetting it costs a retry, never a request.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from proxy.batching.settings import Settings
from proxy.domain.batch import Batch, BatchState
from proxy.domain.clock import Clock
from proxy.domain.credential import Auth
from proxy.domain.decision import CONFIDENCE_DEFAULT
from proxy.domain.errors import StoreFault
from proxy.domain.events import Announce, BatchTierLost
from proxy.domain.ids import AttemptId, BatchId, CredentialId, IdSource, RequestId, UpstreamName
from proxy.domain.moves import Conflict, Move, MoveResult
from proxy.domain.request import Lane, Queue
from proxy.domain.tier import Tier
from proxy.routing import escalation, planner
from proxy.routing.budget import Budget
from proxy.routing.calltimes import FLEX_QUANTILE, CallTimes
from proxy.routing.flex import Capacity
from proxy.routing.flex import Settings as FlexSettings
from proxy.routing.latencybook import LatencyBook
from proxy.routing.limitbook import LimitBook
from proxy.routing.mixbook import MixBook
from proxy.routing.outlook import Experience, outlook
from proxy.routing.pricing import PriceBook
from proxy.store.interface import Store
from proxy.store.vault import Vault
from proxy.upstream.interface import BatchUpstream, Upstream

HOUR_SECONDS = 3600.0
RESERVING = frozenset(BatchState) - {BatchState.ENDED, BatchState.COLLECTED, BatchState.CLEANED, BatchState.ABANDONED}
"""States in which a batch's tokens count, or will count, against the provider's limit on enqueued tokens."""


Account = tuple[UpstreamName, CredentialId, str]
"""An upstream, a credential and a model: what providers limit enqueued tokens by."""


@dataclass(slots=True)
class Memory:
    """What the engine remembers between steps."""

    batch_failures: dict[BatchId, int] = field(default_factory=dict)
    """Failed steps in a row, by batch."""
    call_failures: dict[RequestId, int] = field(default_factory=dict)
    """Failed calls in a row, by request."""
    last_refusal: dict[RequestId, str] = field(default_factory=dict)
    """What upstream said to the last failed call, by request: told to the client if time runs out."""
    ended_without_files: dict[BatchId, float] = field(default_factory=dict)
    """Ended batches whose files are not there yet, and since when."""
    collect_failures: dict[BatchId, int] = field(default_factory=dict)
    """How often a batch's result files could not be read to their end."""
    polled_at: dict[BatchId, float] = field(default_factory=dict)
    """When the provider last said how a job is doing, by batch."""
    budgets: dict[Account, Budget] = field(default_factory=dict)
    """What is known of the tokens that may be enqueued."""
    rung_lost_until: dict[UpstreamName, float] = field(default_factory=dict)
    """Upstreams that answered 404 or 405 to batches, and until when they are not asked again."""
    sellers: dict[UpstreamName, BatchUpstream] = field(default_factory=dict)
    """Upstreams that were found to sell batches: asking a protocol is slow."""
    unheard_since: dict[BatchId, float] = field(default_factory=dict)
    """Batches that nobody has asked about for too long, and since when that is known."""
    scouted: set[tuple[UpstreamName, str]] = field(default_factory=set)
    """Upstreams and models that a call was sent ahead to for the sake of its rate limit."""
    flex: dict[tuple[UpstreamName, str], Capacity] = field(default_factory=dict)
    """What is known of the flex tier, by upstream and model."""
    calling: set[AttemptId] = field(default_factory=set)
    """Calls that this process has under way."""
    at_flex: set[RequestId] = field(default_factory=set)
    """Requests that a call at flex is under way for."""
    creations: dict[UpstreamName, deque[float]] = field(default_factory=dict)
    """When batches were created within the last hour."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The seams and the settings.

    `holds` says whether this process may act on a lane, `keeps` whether it may also begin something new there.
    """

    store: Store
    upstreams: Mapping[UpstreamName, Upstream]
    vault: Vault
    prices: PriceBook
    limits: LimitBook
    clock: Clock
    ids: IdSource
    announce: Announce
    settings: Settings
    planning: planner.Settings
    latencies: LatencyBook
    mixes: MixBook = field(default_factory=MixBook)
    call_times: CallTimes = field(default_factory=CallTimes)
    holds: Callable[[Lane], bool] = lambda lane: True  # noqa: ARG005  the seam's own shape
    keeps: Callable[[Lane], bool] = lambda lane: True  # noqa: ARG005  the seam's own shape
    memory: Memory = field(default_factory=Memory)

    def upstream(self, queue: Queue) -> Upstream:
        """The queue's upstream, to act there; a `StoreFault` when the configuration no longer has it, or when another
        process looks after the queue by now.
        """
        if not self.holds(queue.lane):
            raise StoreFault(f"another process may look after {queue.model!r} at {queue.upstream!r} by now")
        return self._configured(queue.upstream)

    def seller(self, queue: Queue) -> BatchUpstream:
        """The queue's upstream as one that sells batches, to act there. Raises `StoreFault` as `upstream` does."""
        self.upstream(queue)
        return self.seller_of(queue.upstream)

    def seller_of(self, name: UpstreamName) -> BatchUpstream:
        """An upstream as one that sells batches; a `StoreFault` when it has become one that does not."""
        known = self.memory.sellers.get(name)
        if known is not None:
            return known
        upstream = self._configured(name)
        if not isinstance(upstream, BatchUpstream):
            raise StoreFault(f"upstream {name!r} has open batches but is now configured without any")
        self.memory.sellers[name] = upstream
        return upstream

    def _configured(self, name: UpstreamName) -> Upstream:
        upstream = self.upstreams.get(name)
        if upstream is None:
            raise StoreFault(f"upstream {name!r} has deferred requests but is no longer configured")
        return upstream

    def odds_needed(self, model: str) -> float:
        """How likely a batch must be in time to be worth trying."""
        return planner.odds_needed(self.prices.batch_share(model), self.planning.billed_twice_share)

    def escalation(self, upstream: UpstreamName, model: str) -> escalation.Settings:
        """How careful to be with a model: its calls may take longer than the configured service time."""
        service_seconds = self.service_seconds(upstream, model, CONFIDENCE_DEFAULT)
        return replace(self.settings.escalate, service_seconds=service_seconds)

    def service_seconds(self, upstream: UpstreamName, model: str, confidence: float) -> float:
        """How long a synchronous call is reckoned with, to be right so often; no less than is configured."""
        seen_seconds = self.call_times.within_seconds(upstream, model, confidence)
        return max(seen_seconds, self.settings.escalate.service_seconds)

    def flex(self, upstream: UpstreamName, model: str) -> FlexSettings:
        """How to use the flex tier for a model: its calls may take longer than the configured lead, and begin one look
        later than that.
        """
        settings = self.settings.flex
        takes_seconds = self.call_times.within_seconds(upstream, model, FLEX_QUANTILE, Tier.FLEX)
        lead_seconds = takes_seconds + self.settings.look_seconds if takes_seconds else 0.0
        return settings if lead_seconds <= settings.lead_seconds else replace(settings, lead_seconds=lead_seconds)

    def outlook(
        self, upstream: UpstreamName, model: str, now: float, covers: Callable[[float], bool], confidence: float
    ) -> planner.Outlook:
        """What the planner has to know of an upstream's model at this moment."""
        call_seconds = self.settings.escalate.margin_seconds + self.service_seconds(upstream, model, confidence)
        known = Experience(
            batches=self.latencies.of(upstream, model),
            prior=self.latencies.prior,
            odds_needed=self.odds_needed(model),
            call_seconds=call_seconds,
            flex_lead_seconds=self.flex(upstream, model).lead_seconds,
            flex_under_seconds=self.planning.flex_under_seconds,
            mix=self.mixes.of(upstream, model),
        )
        return outlook(known, covers, now)

    def flex_capacity(self, upstream: UpstreamName, model: str) -> Capacity:
        """What is known of an upstream's flex tier for a model."""
        known = self.memory.flex.get((upstream, model))
        if known is None:
            known = self.memory.flex[upstream, model] = Capacity(self.settings.flex)
        return known

    async def auth(self, queue: Queue) -> Auth:
        """The credential that buys for the queue."""
        return await self.vault.open(queue.credential)

    async def move(self, move: Move) -> bool:
        """Make one move; False when somebody else was faster."""
        return not isinstance((await self.store.apply([move]))[0], Conflict)

    async def move_all(self, moves: list[Move]) -> list[MoveResult]:
        return await self.store.apply(moves) if moves else []

    def backoff_seconds(self, failures: int) -> float:
        """Doubling from the configured start to its maximum."""
        return min(self.settings.backoff_seconds * 2.0 ** min(failures, 30), self.settings.backoff_max_seconds)

    def sells_batches(self, name: UpstreamName, now: float) -> bool:
        """Whether an upstream has the batch rung, as far as is known."""
        upstream = self.upstreams.get(name)
        return upstream is not None and upstream.capabilities.batch and now >= self.rung_lost_until(name)

    def rung_lost_until(self, name: UpstreamName) -> float:
        return self.memory.rung_lost_until.get(name, 0.0)

    def lose_rung(self, name: UpstreamName, now: float) -> None:
        """An upstream does not know batches: do not offer them for a while."""
        retry_at = now + self.settings.rung_retry_seconds
        self.memory.rung_lost_until[name] = retry_at
        self.announce(BatchTierLost(name, retry_at, now))

    def creations_within_hour(self, name: UpstreamName, now: float) -> int:
        """How many batches this process has created there."""
        created = self.memory.creations.setdefault(name, deque())
        while created and created[0] <= now - HOUR_SECONDS:
            created.popleft()
        return len(created)

    def note_creation(self, name: UpstreamName, now: float) -> None:
        self.memory.creations.setdefault(name, deque()).append(now)

    def budget(self, queue: Queue) -> Budget:
        """What is known of the tokens that may be enqueued beside this queue's."""
        account = account_of(queue)
        known = self.memory.budgets.get(account)
        if known is None:
            known = Budget(self.upstream(queue).capabilities.enqueued_tokens_max)
            self.memory.budgets[account] = known
        return known

    def forget_batch(self, batch_id: BatchId) -> None:
        self.memory.batch_failures.pop(batch_id, None)
        self.memory.polled_at.pop(batch_id, None)
        self.memory.ended_without_files.pop(batch_id, None)
        self.memory.collect_failures.pop(batch_id, None)

    def forget_request(self, request_id: RequestId) -> None:
        self.memory.call_failures.pop(request_id, None)
        self.memory.last_refusal.pop(request_id, None)


def account_of(queue: Queue) -> Account:
    """Whose limit on enqueued tokens a queue's batches count against."""
    return queue.upstream, queue.credential, queue.model


def enqueued_tokens(batches: Iterable[Batch]) -> Counter[Account]:
    """The tokens that are reserved at the providers, by account: those of every batch that has not ended."""
    reserved: Counter[Account] = Counter()
    for batch in batches:
        if batch.state in RESERVING:
            reserved[account_of(batch.queue)] += batch.estimated_tokens
    return reserved

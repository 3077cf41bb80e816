"""One policy played over one workload: the real planner, store and engine on virtual time, in front of the provider of
this room. Only HTTP is left out.
"""

import asyncio
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random

from proxy.backtest.account import Account
from proxy.backtest.baseline import PATIENCE_SECONDS, AllSynchronous, Oracle
from proxy.backtest.provider import ENDPOINT, NAME, Provider, body_of
from proxy.backtest.provider import Settings as ProviderSettings
from proxy.backtest.traces import Row
from proxy.backtest.weather import CompletionPath
from proxy.batching.desk import Desk
from proxy.batching.engine import Engine
from proxy.batching.membership import Membership
from proxy.batching.membership import Settings as MembershipSettings
from proxy.config.settings import Config
from proxy.domain.answer import Answer
from proxy.domain.credential import Auth
from proxy.domain.decision import Decision, Urgency, UrgencySource
from proxy.domain.events import CallFinished, RateLimited, RequestAccepted, ShadowLimited
from proxy.domain.ids import CredentialId, IdSource, RequestId, TenantId
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.request import Queue, Request
from proxy.routing import planner
from proxy.routing.latencybook import LatencyBook
from proxy.routing.limitbook import LimitBook
from proxy.routing.policy import Facts, Policy
from proxy.routing.pricing import PriceBook
from proxy.routing.savings import ledger_row
from proxy.simulation.clock import LoopClock
from proxy.store.sqlite import SqliteStore
from proxy.store.vault import Vault
from proxy.telemetry.fanout import Announcer
from proxy.wire.lines import BATCH_ENDPOINTS

TENANT = TenantId("backtest")
CREDENTIAL = CredentialId("backtest")
NO_SECRET = urlsafe_b64encode(bytes(32))
"""Nothing is sealed here."""
TOO_MANY_REQUESTS = 429
GRAIN_SECONDS = 5.0
"""Requests that arrive within so much time are accepted together."""
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 0.5, 60.0
"""A refused client waits as long as it was told, or twice as long each time, whichever is longer."""
BOOKED_TOGETHER = 500
"""Ledger rows of synchronous calls that are written at once."""
Progress = Callable[[float], None]
"""Told the second of the trace that has been reached."""


@dataclass(frozen=True, slots=True)
class Play:
    """What to play. `rpm` is the provider's limit per model; `prices` must know every model."""

    policy: Policy
    config: Config
    prices: PriceBook
    paths: Mapping[str, CompletionPath]
    provider: ProviderSettings


@dataclass(slots=True)
class Outcome:
    """How it went. `billed_usd` is the provider's own account, `all_sync_missed` the baseline's misses."""

    account: Account
    requests: int
    optimum_usd: Decimal
    optimum_by_class: dict[int, Decimal]
    billed_usd: Decimal
    all_sync_missed: int
    files_left: int


@dataclass(slots=True)
class _World:
    play: Play
    clock: LoopClock
    provider: Provider
    desk: Desk
    engine: Engine
    oracle: Oracle
    baselines: dict[str, AllSynchronous]
    ids: IdSource
    random: Random
    began_at: float
    unbooked: list[LedgerRow] = field(default_factory=list)
    requests: int = 0


async def play(settings: Play, rows: Iterable[Row], progress: Progress) -> Outcome:
    """Play a workload to its end: until every request has its answer. On a virtual-time loop."""
    clock = LoopClock()
    provider = Provider(clock, settings.paths, settings.prices, settings.provider)
    announcer = Announcer()
    account = Account(clock.now())
    announcer.connect(account.listen)
    with tempfile.TemporaryDirectory(prefix="standby-backtest-") as folder:
        store = SqliteStore(Path(folder) / "backtest.db", clock, durable=False)
        await store.start()
        try:
            world = _world(settings, clock, provider, store, announcer)
            async with asyncio.TaskGroup() as group:
                working = group.create_task(world.engine.run(), name="engine")
                await _feed(world, rows, progress, group)
                await _finish(world, account)
                world.engine.drain()
                await working
            await store.book(world.unbooked)
        finally:
            await store.close()
    for baseline in world.baselines.values():
        baseline.run_until(float("inf"))
    return Outcome(
        account=account,
        requests=world.requests,
        optimum_usd=world.oracle.saved_usd,
        optimum_by_class=dict(world.oracle.by_class),
        billed_usd=provider.bill.usd,
        all_sync_missed=sum(baseline.missed for baseline in world.baselines.values()),
        files_left=provider.files_left,
    )


def _world(settings: Play, clock: LoopClock, provider: Provider, store: SqliteStore, announcer: Announcer) -> _World:
    seed = settings.provider.seed
    ids = IdSource(Random(f"ids {seed}").getrandbits)
    config = settings.config
    desk = Desk(
        store=store,
        upstreams={NAME: provider},
        vault=Vault(store, NO_SECRET, {CREDENTIAL: Auth(())}),
        prices=settings.prices,
        limits=LimitBook({NAME: config.upstreams[0].limits}),
        clock=clock,
        ids=ids,
        announce=announcer.announce,
        settings=config.batching,
        planning=config.planner,
        latencies=LatencyBook(config.planner.batches),
    )
    engine = Engine(desk, Membership(store, clock, announcer.announce, desk.limits, MembershipSettings()))
    announcer.connect(engine.listen)
    announcer.connect(desk.mixes.listen)
    return _World(
        play=settings,
        clock=clock,
        provider=provider,
        desk=desk,
        engine=engine,
        oracle=Oracle(settings.paths, settings.prices),
        baselines={model: AllSynchronous(settings.provider.rpm) for model in settings.paths},
        ids=ids,
        random=Random(f"clients {seed}"),
        began_at=clock.now(),
    )


async def _feed(world: _World, rows: Iterable[Row], progress: Progress, group: asyncio.TaskGroup) -> None:
    """Let the requests arrive."""
    crowd: list[tuple[Request, Decision]] = []
    for row in rows:
        if world.began_at + row.at > world.clock.now() + GRAIN_SECONDS:
            await _accept(world, crowd)
            crowd = []
            await world.clock.sleep_until(world.began_at + row.at)
            progress(row.at)
        world.requests += 1
        world.oracle.arrive(row)
        world.baselines[row.model].arrive(row)
        request_id = world.ids.request(world.clock.now())
        decision = _decide(world, row)
        if decision.is_deferred:
            crowd.append((_request(row, request_id, decision, world.clock.now()), decision))
        else:
            group.create_task(_call(world, row, request_id, decision), name=f"call {request_id}")
    await _accept(world, crowd)


async def _finish(world: _World, account: Account) -> None:
    while account.answered + account.failed < world.requests or await world.desk.store.open_batches():
        await world.clock.sleep_until(world.clock.now() + 60.0)


def _decide(world: _World, row: Row) -> Decision:
    now = world.clock.now()
    facts = Facts(
        model=row.model,
        endpoint=ENDPOINT,
        tenant=TENANT,
        key="",
        headers={},
        metadata={},
        stream=False,
        has_tools=False,
        input_tokens=row.prompt_tokens,
        output_tokens=None,
        local_time=datetime.fromtimestamp(now, world.play.config.timezone),
    )
    urgency = Urgency()
    if row.within_seconds is not None:
        urgency = Urgency(UrgencySource.HEADER, deadline_at=now + row.within_seconds)
    terms = world.play.policy.terms(facts)
    return planner.decide(
        urgency=urgency,
        terms=terms,
        offer=planner.Offer(batch=True, flex=world.provider.capabilities.flex, endpoints=BATCH_ENDPOINTS),
        endpoint=ENDPOINT,
        model=row.model,
        body_bytes=100,
        line_bytes_max=world.provider.capabilities.bytes_max,
        book=world.play.prices,
        now=now,
        outlook=world.engine.outlook(NAME, row.model, now, terms.confidence),
    )


def _request(row: Row, request_id: RequestId, decision: Decision, now: float) -> Request:
    if decision.deadline_at is None:
        raise AssertionError("a deferred request has a deadline")
    return Request(
        id=request_id,
        tenant=TENANT,
        queue=Queue(NAME, CREDENTIAL, ENDPOINT, row.model),
        body=body_of(row.model, row.prompt_tokens, row.completion_tokens),
        fingerprint=request_id.encode(),
        idempotency_key=None,
        stream=False,
        include_usage=False,
        delivery=decision.delivery,
        policy=decision.policy,
        reason=decision.reason,
        estimated_tokens=row.prompt_tokens,
        accepted_at=now,
        deadline_at=decision.deadline_at,
        tiers=decision.tiers,
        on_miss=decision.on_miss,
        confidence=decision.confidence,
    )


async def _accept(world: _World, crowd: list[tuple[Request, Decision]]) -> None:
    """What the server does with deferred requests: on disk, announced, the engine told."""
    if not crowd:
        return
    await asyncio.gather(*(world.desk.store.accept(request) for request, _ in crowd))
    for request, decision in crowd:
        queue, now = request.queue, request.accepted_at
        world.desk.announce(
            RequestAccepted(
                request.id,
                TENANT,
                NAME,
                queue.model,
                ENDPOINT,
                request.policy,
                decision.tier,
                request.deadline_at,
                decision.best_effort,
                now,
            )
        )
        _shadow(world, queue.model, request.estimated_tokens, now)
    world.engine.poke()


def _shadow(world: _World, model: str, tokens: int, now: float) -> None:
    over = world.desk.limits.of(NAME, model, now).shadow.arrive(tokens, now)
    if over is not None:
        world.desk.announce(ShadowLimited(NAME, model, over, now))


async def _call(world: _World, row: Row, request_id: RequestId, decision: Decision) -> None:
    """What the server and its client do with an urgent call: at once, and again when the provider refuses, until the
    client gives up. To the server every try is a call of its own: what is learned is how long the last one took.
    """
    started_at = world.clock.now()
    _shadow(world, row.model, row.prompt_tokens, started_at)
    body = body_of(row.model, row.prompt_tokens, row.completion_tokens)
    limits = world.desk.limits.of(NAME, row.model, started_at).actual
    gives_up_at = decision.deadline_at or started_at + PATIENCE_SECONDS
    refusals = 0
    while True:
        called_at = world.clock.now()
        limits.spend(row.prompt_tokens, called_at, urgent=True)
        bought = await world.provider.call(Auth(()), ENDPOINT, body, decision.tier)
        now = world.clock.now()
        limits.observe(bought.rate, now)
        if bought.answer.status != TOO_MANY_REQUESTS:
            break
        world.desk.announce(RateLimited(NAME, row.model, limits.refused(bought.rate, row.prompt_tokens, now), now))
        backoff = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0 ** min(refusals, 30))
        refusals += 1
        wait_seconds = max(backoff, bought.rate.retry_after_seconds or 0.0) * world.random.uniform(1.0, 1.25)
        if now + wait_seconds > gives_up_at:
            break
        await world.clock.sleep_until(now + wait_seconds)
    booked: LedgerRow | None = None
    if bought.answer.succeeded:
        world.desk.call_times.observe(NAME, row.model, now - called_at, decision.tier)
        booked = _row(world, row, request_id, decision, bought.answer, now)
        await _book(world, booked)
    world.desk.announce(
        CallFinished(
            request_id=request_id,
            tenant=TENANT,
            upstream=NAME,
            model=row.model,
            endpoint=ENDPOINT,
            policy=decision.policy,
            tier=decision.tier,
            status=bought.answer.status,
            deadline_at=decision.deadline_at,
            started_at=started_at,
            finished_at=now,
            overhead_seconds=0.0,
            first_chunk_seconds=None,
            row=booked,
        )
    )


def _row(world: _World, row: Row, request_id: RequestId, decision: Decision, answer: Answer, now: float) -> LedgerRow:
    return ledger_row(
        world.play.prices,
        id=request_id,
        request_id=request_id,
        attempt_id=None,
        batch_id=None,
        tenant=TENANT,
        upstream=NAME,
        endpoint=ENDPOINT,
        model=row.model,
        policy=decision.policy,
        tier=decision.tier,
        kind=Purchase.PRIMARY,
        status=answer.status,
        booked_at=now,
        usage=Usage(row.prompt_tokens, row.completion_tokens),
    )


async def _book(world: _World, row: LedgerRow) -> None:
    world.unbooked.append(row)
    if len(world.unbooked) >= BOOKED_TOGETHER:
        rows, world.unbooked = world.unbooked, []
        await world.desk.store.book(rows)

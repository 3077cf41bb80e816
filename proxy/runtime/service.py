"""The running proxy: build every part, start them in order, stop them in order. No decision about requests is here.

async with running(config, clock, environ) as service:
    await service.stopped.wait()
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from proxy.batching.desk import Desk
from proxy.batching.engine import Engine
from proxy.batching.membership import HOUSEKEEPING, Membership
from proxy.config.settings import Config, read_operator_key
from proxy.config.trial import Conditions
from proxy.delivery.holds import Holds
from proxy.delivery.webhooks import Webhooks
from proxy.domain.clock import Clock
from proxy.domain.errors import ConfigFault
from proxy.domain.events import StoreWarned
from proxy.domain.ids import IdSource
from proxy.routing.limitbook import LimitBook
from proxy.routing.pricing import PriceBook
from proxy.routing.spending import Spending
from proxy.routing.terms import Mode
from proxy.runtime.failpoints import arm, failpoint_of
from proxy.runtime.overview import Overviews, Showcase, Watch
from proxy.runtime.parts import (
    build_accounts,
    build_desk,
    build_doorman,
    build_store,
    build_vault,
    build_webhooks,
    read_prices,
)
from proxy.runtime.reload import PolicyWatch
from proxy.runtime.siblings import Nest
from proxy.runtime.state import State
from proxy.runtime.telling import Telling
from proxy.runtime.timing import OPERATIONS, time_store
from proxy.runtime.workers import Place
from proxy.server.accounts import Account, Accounts
from proxy.server.app import App
from proxy.server.auth import Doorman
from proxy.server.booking import Bookings
from proxy.server.budgets import Budgets
from proxy.server.house import House
from proxy.server.leavers import Leavers
from proxy.server.virtual_runner import Runner
from proxy.store.interface import Heard, Store, Word
from proxy.telemetry.beginnings import Known
from proxy.telemetry.fanout import Announcer
from proxy.telemetry.logs import Logs
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.tracing import open_traces
from proxy.upstream.http import open_session

LAG_SECONDS = 5.0
"""How often the event loop's lag is measured."""
HEADER_BYTES_MAX = 65_536
"""Of one header, in a client's request."""


@dataclass(slots=True)
class Service:
    """A running proxy. `port` is the one that is listened on. Set `stopped` to end it."""

    host: str
    port: int
    desk: Desk
    engine: Engine
    house: House
    metrics: Metrics
    state: State
    membership: Membership
    announcer: Announcer
    policy_watch: PolicyWatch
    virtual: Runner
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where a client's `base_url` points, before `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@asynccontextmanager
async def running(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    *,
    store: Store | None = None,
    place: Place | None = None,
    random_bits: Callable[[int], int] | None = None,
    with_logs: bool = True,
) -> AsyncIterator[Service]:
    """Start everything, and stop it in order when the block is left: drain, then close. Raises `ConfigFault` and
    `StoreFault` when it cannot start, with nothing left running. `store` takes the place of the configured one. A
    worker at its `place` among others serves what comes in at their common socket, and what comes to its own address.
    """
    async with AsyncExitStack() as stack:
        store = store or build_store(config.store, clock)
        nest = None if place is None else place.nest
        service = await _build(
            config, clock, environ, stack, store, nest=nest, random_bits=random_bits, with_logs=with_logs
        )
        _trace(config, service, stack)
        for warning in service.house.store.warnings:
            service.announcer.announce(StoreWarned(warning, clock.now()))
        runner = web.ServerRunner(
            web.Server(
                App(service.house),
                handler_cancellation=True,
                access_log=None,
                auto_decompress=False,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
            ),
            shutdown_timeout=config.server.drain_seconds,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        async with asyncio.TaskGroup() as background:
            tasks = [
                background.create_task(service.house.bookings.run(), name="bookings"),
                background.create_task(service.house.leavers.run(), name="leavers"),
                background.create_task(service.house.webhooks.run(), name="webhooks"),
                background.create_task(service.house.budgets.run(), name="budgets"),
                background.create_task(service.virtual.run(), name="virtual batches"),
                background.create_task(service.policy_watch.run(), name="policy watch"),
                background.create_task(_watch_lag(service.state, clock), name="lag"),
                background.create_task(service.membership.run(service.engine.poke), name="membership"),
                background.create_task(service.house.store.watch(_hears(service)), name="watch"),
            ]
            working = background.create_task(service.engine.run(), name="engine")
            try:
                service.port = await _listen(runner, config, service.port, place)
                if place is not None:
                    service.house.own_port = service.port
                yield service
            finally:
                await _drain(service, runner, working, config.server.drain_seconds)
                for task in tasks:
                    task.cancel()


async def _build(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    stack: AsyncExitStack,
    store: Store,
    *,
    nest: Nest | None,
    random_bits: Callable[[int], int] | None,
    with_logs: bool,
) -> Service:
    announcer = Announcer()
    prices = read_prices(config)
    policy_watch = PolicyWatch(config.policy_file, clock, announcer.announce, Conditions(prices, config.timezone))
    await store.start()
    stack.push_async_callback(store.close)
    session = open_session(connections_max=0)
    stack.push_async_callback(session.close)
    vault = build_vault(config, store, environ)
    await vault.check()
    accounts = build_accounts(config, session, environ, clock)
    arm(failpoint_of(environ), store, [account.upstream for account in accounts])
    limits = LimitBook({upstream.name: upstream.limits for upstream in config.upstreams})
    membership = Membership(store, clock, announcer.announce, limits, config.store.replicas)
    desk = build_desk(
        config,
        clock,
        announcer.announce,
        IdSource(random_bits),
        prices,
        store=store,
        vault=vault,
        accounts=accounts,
        membership=membership,
    )
    engine = Engine(desk, membership)
    webhooks = build_webhooks(config, store, clock, announcer.announce, environ, lambda: membership.keeps(HOUSEKEEPING))
    stack.push_async_callback(webhooks.close)
    metrics = Metrics(_known(config, policy_watch, prices))
    time_store(store, clock, metrics.store_took, metrics.store_failed)
    telling = Telling(metrics, nest)
    house = _house(
        config,
        desk,
        engine,
        accounts,
        session,
        policy_watch,
        doorman=build_doorman(config, vault, accounts, read_operator_key(config, environ)),
        webhooks=webhooks,
    )
    virtual = Runner(house, lambda: membership.keeps(HOUSEKEEPING))
    state = State(
        desk=desk, engine=engine, house=house, announcer=announcer, membership=membership, policy_watch=policy_watch
    )
    await stack.enter_async_context(telling.about(state))
    connect(state, metrics, virtual, telling, with_logs=with_logs)
    policy_watch.on_change(lambda policy: setattr(house, "policy", policy))
    host, port = config.server.host, config.server.port
    return Service(host, port, desk, engine, house, metrics, state, membership, announcer, policy_watch, virtual)


def _house(
    config: Config,
    desk: Desk,
    engine: Engine,
    accounts: Accounts,
    session: aiohttp.ClientSession,
    policy_watch: PolicyWatch,
    *,
    doorman: Doorman,
    webhooks: Webhooks,
) -> House:
    holds = Holds()
    return House(
        settings=config.server,
        virtual=config.virtual_batches,
        store=desk.store,
        vault=desk.vault,
        doorman=doorman,
        accounts=accounts,
        session=session,
        prices=desk.prices,
        limits=desk.limits,
        holds=holds,
        bookings=Bookings(desk.store, desk.clock, desk.announce),
        leavers=Leavers(desk.store, holds, desk.clock, desk.announce, config.server.return_grace_seconds),
        webhooks=webhooks,
        budgets=Budgets(Spending(config.timezone), desk.store, desk.clock, desk.announce),
        policy=policy_watch.policy,
        timezone=config.timezone,
        clock=desk.clock,
        ids=desk.ids,
        announce=desk.announce,
        poke_engine=engine.poke,
        batch_is_sold=_batch_is_sold(desk),
        outlook=engine.outlook,
        hop=f"standby-{secrets.token_hex(6)}",
        observes=config.mode is Mode.OBSERVE,
        billed_twice_share=config.planner.billed_twice_share,
    )


def _known(config: Config, policy_watch: PolicyWatch, prices: PriceBook) -> Known:
    """What is certain to appear in metrics: their series begin at 0. A glob is no model."""
    models = {
        upstream.name: [model for model in upstream.models if not set(model) & set("*?[")]
        for upstream in config.upstreams
    }
    policies = ["default", *(rule.name for rule in policy_watch.policy.rules)]
    return Known(models, policies, OPERATIONS, prices.source)


def connect(state: State, metrics: Metrics, virtual: Runner, telling: Telling, *, with_logs: bool) -> None:
    """Who listens to events, and what is shown of them. Four change what happens next: the engine learns, budgets are
    used up, `holds` wakes held clients, and virtual batches collect their lines.
    """
    announcer, desk, house, watch = state.announcer, state.desk, state.house, Watch()
    announcer.connect(state.engine.listen)
    announcer.connect(desk.mixes.listen)
    announcer.connect(desk.call_times.listen)
    announcer.connect(house.budgets.listen)
    announcer.connect(house.holds.listen)
    announcer.connect(virtual.listen)
    announcer.connect(metrics.listen)
    announcer.connect(watch.journal.listen)
    announcer.connect(watch.tally.listen)
    house.showcase = Showcase(telling, Overviews(state, watch))
    if with_logs:
        announcer.connect(Logs().listen)


def _trace(config: Config, service: Service, stack: AsyncExitStack) -> None:
    """Have spans made where they are wanted; what is left of them is sent at the end."""
    traces = open_traces(config.tracing)
    if traces is not None:
        service.announcer.connect(traces.listen)
        stack.push_async_callback(asyncio.to_thread, traces.close)


def _hears(service: Service) -> Callable[[Heard], None]:
    """What other processes do, told to whom it concerns here."""
    house, engine = service.house, service.engine

    def hear(heard: Heard) -> None:
        match heard.word:
            case Word.FINISHED:
                house.holds.wake(heard.request_id)
                service.virtual.ended(heard.request_id)
            case Word.RETURNED:
                house.leavers.came_back(heard.request_id)
            case Word.CHANGED:
                engine.poke()

    return hear


def _batch_is_sold(desk: Desk) -> Callable[[Account, float], bool]:
    return lambda account, now: desk.sells_batches(account.upstream.name, now)


async def _listen(runner: web.ServerRunner, config: Config, port: int, place: Place | None) -> int:
    site = web.TCPSite(runner, config.server.host, port, backlog=config.server.backlog)
    try:
        await site.start()
    except OSError as error:
        address = f"{config.server.host}:{port}"
        raise ConfigFault(f"cannot listen on {address}: {error.strerror or error}; choose another --port") from error
    bound: int = runner.addresses[0][1]
    if place is not None:
        await web.SockSite(runner, place.listening, backlog=config.server.backlog).start()
    return bound


async def _drain(service: Service, runner: web.ServerRunner, working: asyncio.Task[None], drain_seconds: float) -> None:
    """Take no new work, tell held clients to come back, let what is under way end, book what is left."""
    service.house.draining = True
    for site in runner.sites:
        await site.stop()
    service.house.holds.wake_all()
    service.engine.drain()
    await asyncio.gather(asyncio.wait({working}, timeout=drain_seconds), service.house.arrivals.end(drain_seconds))
    working.cancel()
    await runner.shutdown()
    await service.house.bookings.flush()


async def _watch_lag(state: State, clock: Clock) -> None:
    while True:
        began = clock.monotonic()
        await asyncio.sleep(LAG_SECONDS)
        state.lag.seconds = max(0.0, clock.monotonic() - began - LAG_SECONDS)

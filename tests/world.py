"""A whole world for a test: the emulator, the proxy in front of it and an HTTP client, on virtual time.

def test_something(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("hello", deadline="2h")
        assert answer.tier == "batch"

    play(tmp_path, story)
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import aiohttp

from proxy.batching.settings import Settings as BatchingSettings
from proxy.config.settings import Config, StoreSettings, UpstreamSettings
from proxy.domain.events import AnyEvent
from proxy.emulator.faults import Fault
from proxy.emulator.provider import Emulator
from proxy.emulator.serving import Running, serving
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import Constant
from proxy.runtime.service import Service, running
from proxy.server.settings import Settings as ServerSettings
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.store.redis import RedisStore
from proxy.store.redis import Settings as RedisSettings
from proxy.upstream.costmap import read_cost_map

MONDAY_NOON = 1_800_014_400.0
"""2027-01-15 12:00 UTC: when stories begin."""
MINUTE, HOUR = 60.0, 3600.0
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
MODEL = "gpt-4o-mini"
Json = dict[str, Any]
Event = TypeVar("Event")


@dataclass(frozen=True)
class Reply:
    """What a client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Json:
        decoded: Json = json.loads(self.body)
        return decoded

    @property
    def text(self) -> str:
        content: str = self.json["choices"][0]["message"]["content"]
        return content

    @property
    def tier(self) -> str:
        return self.headers["X-Standby-Tier"]

    @property
    def reason(self) -> str:
        return self.headers["X-Standby-Reason"]


@dataclass
class World:
    """Everything that a story can touch. `events` is all that was announced."""

    clock: LoopClock
    provider: Running
    service: Service
    http: aiohttp.ClientSession
    events: list[AnyEvent] = field(default_factory=list)

    @property
    def emulator(self) -> Emulator:
        return self.provider.emulator

    @property
    def now(self) -> float:
        return self.clock.now()

    async def ask(
        self,
        text: str = "hello",
        *,
        deadline: str | None = None,
        key: str = "sk-alice",
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        **body: object,
    ) -> Reply:
        """One chat call, to its end."""
        said = {"Authorization": f"Bearer {key}"} | ({"X-Deadline": deadline} if deadline else {}) | dict(headers or {})
        content = {"model": MODEL, "messages": [{"role": "user", "content": text}], **body}
        return await self.send("POST", path, headers=said, json_body=content)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, json_body: object = None
    ) -> Reply:
        """Any call, to its end."""
        data = None if json_body is None else json.dumps(json_body).encode()
        said = {"Content-Type": "application/json"} | dict(headers or {})
        async with self.http.request(method, self.service.url + path, headers=said, data=data) as response:
            return Reply(response.status, response.headers, await response.read(), self.now)

    @asynccontextmanager
    async def background(self, *calls: Awaitable[Reply]) -> AsyncIterator[None]:
        """Let calls run on while the block does something else; at its end they are waited for."""
        waiting = asyncio.gather(*calls)
        try:
            yield
            await waiting
        finally:
            waiting.cancel()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep_until(self.now + seconds)

    async def until(self, condition: Callable[[], bool], *, within: float, look: float = 1.0) -> None:
        """Wait until something holds; fail when it does not within so many virtual seconds."""
        give_up_at = self.now + within
        while not condition():
            assert self.now < give_up_at, f"did not happen within {within:g} s; last events: {self.events[-5:]}"
            await self.sleep(look)

    async def settled(self, within: float = HOUR) -> None:
        """Wait until no batch is open and nothing is on its way."""
        give_up_at = self.now + within
        while await self.service.desk.store.open_batches() or self.service.engine.calls_under_way:
            assert self.now < give_up_at, f"still open: {await self.service.desk.store.open_batches()}"
            await self.sleep(1.0)

    async def account(self) -> Json:
        return await self.emulator.account()

    async def bought(self, text: str) -> tuple[int, int]:
        """How often answers to a text were bought: (synchronously, in batches)."""
        shown: Json = await self.emulator.lines(text)
        bodies = shown["bodies"]
        return sum(int(body["sync"]) for body in bodies), sum(int(body["batch"]) for body in bodies)

    async def ledger_usd(self) -> Decimal:
        """Everything that the ledger says was paid, urgent calls included."""
        await self.service.house.bookings.flush()
        totals = await self.service.desk.store.ledger(since=0.0, until=self.now + 1)
        return sum((total.paid_usd for total in totals), Decimal(0))

    async def assert_books_agree(self) -> None:
        """Our ledger is the provider's bill, and nothing of ours is left in its storage."""
        account = await self.account()
        assert await self.ledger_usd() == Decimal(account["total"]["usd"])
        assert account["files"] == []

    def seen(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


Story = Callable[[World], Awaitable[None]]


def config_for(folder: Path, upstream: str, **changes: Any) -> Config:
    """The default configuration on a free port, with its store in a folder, in front of an upstream."""
    return replace(
        Config(
            server=ServerSettings(port=0),
            store=StoreSettings(url=f"sqlite:{folder / 'standby.db'}"),
            upstreams=(UpstreamSettings(base_url=upstream + "/v1"),),
        ),
        **changes,
    )


@asynccontextmanager
async def living(
    folder: Path,
    provider: Running,
    clock: LoopClock,
    *,
    seed: int = 0,
    environ: Mapping[str, str] | None = None,
    redis: str | None = None,
    **changes: Any,
) -> AsyncIterator[World]:
    """The proxy in front of a provider that lives already: for stories in which it is restarted.

    `redis` is the URL of a server that takes the place of the SQLite file; virtual time has no other replicas.
    """
    config = config_for(folder, provider.url, **changes)
    environ = {"STANDBY_SECRET_KEY": SECRET} | dict(environ or {})
    random_bits = Random(seed).getrandbits
    store = None if redis is None else RedisStore(RedisSettings(redis, folder.as_posix(), shared=False), clock)
    async with running(config, clock, environ, store=store, random_bits=random_bits, with_logs=False) as service:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            world = World(clock, provider, service, http)
            service.announcer.connect(world.events.append)
            yield world


def play(
    folder: Path,
    story: Story,
    *,
    emulator: EmulatorSettings | None = None,
    faults: tuple[Fault, ...] = (),
    batching: BatchingSettings | None = None,
    upstream: UpstreamSettings | None = None,
    redis: str | None = None,
    skew_seconds: float = 0.0,
    **changes: Any,
) -> None:
    """Run a story on virtual time, from Monday noon. `upstream` gets the emulator's address, `redis` is the URL of a
    server that takes the place of the SQLite file; the provider's clock is ahead by `skew_seconds`.
    """
    settings = emulator or EmulatorSettings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0)
    if batching is not None:
        changes["batching"] = batching

    async def whole() -> None:
        clock = LoopClock()
        prices = read_cost_map().models
        theirs = LoopClock(MONDAY_NOON + skew_seconds)
        async with serving(replace(settings, faults=faults), theirs, prices) as provider:
            if upstream is not None:
                changes["upstreams"] = (replace(upstream, base_url=provider.url + "/v1"),)
            async with living(folder, provider, clock, redis=redis, **changes) as world:
                await story(world)

    run(whole(), start_at=MONDAY_NOON)


async def gather(*calls: Awaitable[Reply]) -> list[Reply]:
    """Several calls at once."""
    return list(await asyncio.gather(*calls))

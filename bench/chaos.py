"""Random kills under load, and whether anything was lost or bought twice.

    python -m bench.chaos --seconds 120 --replicas 1                      # SQLite
    python -m bench.chaos --seconds 120 --replicas 3                      # one Redis (the wheel of the dev extra)

Real processes on real time: the strict emulator (a provider's day in about two minutes), replicas of `standby serve` in
front of it, and stock OpenAI clients whose retries carry on over a restart, each with an idempotency key. Every few
seconds one process is killed with -9, paused for longer than its lease, or told to stop, and started again; with
replicas, Redis itself is killed too. At the end the emulator's own account is the judge. Everything random follows from
`--seed`, but for what the scheduler does.

A request that has to move while its batch is nearly done is bought twice, and that is no accident: so is the deadline
met. `--calm` breaks nothing, and shows how often that happens by itself; with `--deadlines 25s,40s` batches have time
enough, and nothing may be bought twice at all.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai

from proxy.config.settings import StoreSettings
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.request import RequestState
from proxy.emulator.ids import account_of
from proxy.runtime.clock import SystemClock
from proxy.runtime.parts import build_store
from tests.processes import FAST_CONFIG, Running, emulator, serve, stop
from tests.redis_server import RedisServer, binaries

CONFIG = FAST_CONFIG + "  sweep: 1s\n  orphan: 3s\nstore: {replicas: {lease: 1.5s, share: 0.3s}}\n"
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
RATE_PER_SECOND = 8.0
DEADLINES = "6s,12s,25s,40s"
SETTLE_SECONDS = 60.0
PAUSE_SECONDS = 3.0
DEFERRED, URGENT = "sk-chaos", "sk-urgent"
"""Two accounts at the provider: an urgent call that a kill breaks off is bought again by its client, and so it is."""
ACCOUNT = "/emulator/account"


@dataclass
class Report:
    """What happened, and what is wrong with it."""

    asked: int = 0
    answered: int = 0
    deferred: int = 0
    disasters: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    lost: int = 0
    bought_too_often: int = 0
    booked_as_waste: int = 0
    why_too_often: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    open_at_the_end: int = 0
    files_left: int = 0
    ledger_usd: Decimal = Decimal(0)
    bill_usd: Decimal = Decimal(0)

    @property
    def is_clean(self) -> bool:
        """Nothing lost, open or left over, and nothing of what was deferred bought that is not in the books."""
        unbooked = self.bought_too_often - self.booked_as_waste - self.unknown
        wrong = self.lost or self.failed or self.open_at_the_end or self.files_left or unbooked > 0
        return not wrong and (self.unknown > 0 or self.ledger_usd == self.bill_usd)


@dataclass(frozen=True)
class Plan:
    """What to do, for how long, and to how many."""

    seconds: float
    replicas: int
    seed: int
    deadlines: str = DEADLINES
    calm: bool = False


class Chaos:
    """One run: a provider, replicas, clients, and a hand that breaks things."""

    def __init__(self, plan: Plan, folder: Path, provider: Running, redis: RedisServer | None) -> None:
        self._plan = plan
        self._deadlines = [None, *plan.deadlines.split(",")]
        self._folder = folder
        self._provider = provider
        self._redis = redis
        self._random = random.Random(plan.seed)
        self.report = Report()
        self._texts: list[str] = []
        self._deferred: list[str] = []
        self._replicas = [self._start(number, "0") for number in range(plan.replicas)]

    @property
    def store(self) -> str:
        return self._redis.url if self._redis else "sqlite:standby.db"

    def _start(self, number: int, port: str) -> Running:
        folder = self._folder / f"replica-{number}"
        folder.mkdir(exist_ok=True)
        environ = {"STANDBY_SECRET_KEY": SECRET}
        options = ("--store", self.store, "--port", port)
        return serve(folder, self._provider, *options, config=CONFIG, environ=environ)

    async def run(self) -> None:
        """Load and disasters for so long; then peace, until every client has its answer."""
        until = time.monotonic() + self._plan.seconds
        async with asyncio.TaskGroup() as group:
            if not self._plan.calm:
                group.create_task(self._break_things(until))
            while time.monotonic() < until:
                group.create_task(self._client(len(self._texts)))
                await asyncio.sleep(self._random.expovariate(RATE_PER_SECOND))

    async def _client(self, number: int) -> None:
        text = f"chaos-{number:05}"
        deadline = self._random.choice(self._deadlines)
        self._texts.append(text)
        if deadline:
            self._deferred.append(text)
        url = self._random.choice(self._replicas).url
        headers = {"Idempotency-Key": text} | ({"X-Deadline": deadline} if deadline else {})
        key = DEFERRED if deadline else URGENT
        self.report.asked += 1
        self.report.deferred += deadline is not None
        try:
            async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=60) as client:
                answer = await client.chat.completions.create(
                    model="gpt-4o-mini", messages=[{"role": "user", "content": text}], extra_headers=headers
                )
        except openai.OpenAIError as error:
            self.report.failed.append(f"{text} ({deadline}): {error}")
            return
        if (answer.choices[0].message.content or "").startswith(f"echo: {text}"):
            self.report.answered += 1
        else:
            self.report.failed.append(f"{text}: another request's answer")

    async def _break_things(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(self._random.uniform(1.0, 5.0))
            kinds = ["kill", "kill", "stop"]
            if self._redis:
                kinds += ["pause", "redis"]
            kind = self._random.choice(kinds)
            number = self._random.randrange(len(self._replicas))
            self.report.disasters[kind] += 1
            await self._disaster(kind, number)

    async def _disaster(self, kind: str, number: int) -> None:
        victim = self._replicas[number]
        match kind:
            case "kill":
                await asyncio.to_thread(victim.kill)
                self._close(victim)
            case "stop":
                await asyncio.to_thread(stop, victim)
            case "pause":
                os.kill(victim.process.pid, signal.SIGSTOP)
                await asyncio.sleep(PAUSE_SECONDS)
                os.kill(victim.process.pid, signal.SIGCONT)
                return
            case _:
                if self._redis:
                    await asyncio.to_thread(self._redis.kill)
                    await asyncio.sleep(self._random.uniform(0.5, 4.0))
                    await asyncio.to_thread(self._redis.start)
                return
        self._replicas[number] = await asyncio.to_thread(self._start, number, str(victim.port))

    def _close(self, running: Running) -> None:
        if running.process.stdout is not None:
            running.process.stdout.close()

    async def judge(self) -> None:
        """Compare what the clients, the store and the provider say."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        while self._page(ACCOUNT)["files"] and time.monotonic() < give_up_at:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.5)
        for running in self._replicas:
            await asyncio.to_thread(stop, running)
        account = self._page(ACCOUNT)
        self.report.files_left = len(account["files"])
        bill = account["accounts"].get(account_of(DEFERRED), {})
        self.report.bill_usd = sum((Decimal(t["usd"]) for tiers in bill.values() for t in tiers.values()), Decimal(0))
        self.report.lost = [self._bought(text) for text in self._texts].count(0)
        self.report.bought_too_often = sum(max(0, self._bought(text) - 1) for text in self._deferred)
        await self._read_books()

    async def _read_books(self) -> None:
        path = self._folder / "replica-0" / "standby.db"
        store = build_store(StoreSettings(self.store if self._redis else f"sqlite:{path}"), SystemClock())
        await store.start()
        views = await store.list_requests(None, after=None, limit=100_000)
        tenant = views[0].tenant if views else None
        totals = await store.ledger(since=0.0, until=SystemClock().now() + 1, tenant=tenant)
        self.report.ledger_usd = sum((total.paid_usd for total in totals), Decimal(0))
        self.report.booked_as_waste = sum(total.rows for total in totals if total.kind is Purchase.DUPLICATE)
        self.report.unknown = sum(total.unknown_paid for total in totals)
        self.report.open_at_the_end = sum(view.state is RequestState.OPEN for view in views)
        for view in views:
            rows = await store.ledger_rows(view.id)
            if sum(row.kind is not Purchase.EXPIRED for row in rows) > 1:
                self.report.why_too_often[_story(rows, view.deadline_at)] += 1
        await store.close()

    def _bought(self, text: str) -> int:
        bodies = self._page(f"/emulator/lines?text={text}")["bodies"]
        return sum(int(body["sync"]) + int(body["batch"]) for body in bodies)

    def _page(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._provider.url + path) as page:
            shown: dict[str, Any] = json.load(page)
            return shown


def _story(rows: Sequence[LedgerRow], deadline_at: float) -> str:
    """What was bought for one request, in order, and how long before its deadline."""
    return ", then ".join(f"{row.kind} at {row.tier} {deadline_at - row.booked_at:+.0f} s" for row in rows)


def run(plan: Plan, folder: Path) -> Report:
    """One run in a folder; several replicas share a Redis, one has an SQLite file."""
    with ExitStack() as stack:
        turnaround = ("--turnaround", "lognormal:600,1.0", "--seed", str(plan.seed))
        provider = stack.enter_context(emulator(folder, *turnaround))
        redis: RedisServer | None = None
        if plan.replicas > 1:
            redis = RedisServer(binaries()["valkey"], folder / "redis")
            redis.start()
            stack.callback(redis.kill)
        chaos = Chaos(plan, folder, provider, redis)

        async def whole() -> None:
            await chaos.run()
            await chaos.judge()

        asyncio.run(whole())
        return chaos.report


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long there is load and trouble")
    parser.add_argument("--replicas", type=int, default=1, help="1: SQLite; more: one Redis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadlines", default=DEADLINES, help="drawn from for each request, beside none at all")
    parser.add_argument("--calm", action="store_true", help="break nothing: for comparison")
    parser.add_argument("--folder", type=Path, help="where the logs go; a temporary one by default")
    said = parser.parse_args()
    plan = Plan(said.seconds, said.replicas, said.seed, said.deadlines, said.calm)
    with tempfile.TemporaryDirectory() as temporary:
        folder = said.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        report = run(plan, folder)
    for name, value in vars(report).items():
        print(f"{name:18} {dict(value) if isinstance(value, Counter) else value}")
    sys.exit(0 if report.is_clean else 1)


if __name__ == "__main__":
    main()

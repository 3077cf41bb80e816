"""Days on which everything goes wrong that can, drawn from a seed: the same seed is the same day, instant by instant.

One runs with every test run; `pytest -m long tests/stories/test_seeded_days.py` plays a hundred on each store.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from proxy.domain.money import Purchase
from proxy.domain.request import RequestState
from proxy.emulator.faults import BATCH_KINDS, CALL_KINDS, Fault, FaultKind
from proxy.emulator.serving import Running, serving
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant, Stuck, Turnaround
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map
from tests.conftest import Servers
from tests.world import HOUR, MINUTE, MONDAY_NOON, Reply, World, gather, living

REQUESTS = 24
LIVES = 3
"""So often the proxy is started on such a day."""
DEADLINES = ("40m", "90m", "3h", "6h", "10h")
CALLS = (
    *("upload_file", "create_batch", "get_batch", "download", "delete_file", "list_batches", "list_files"),
    *("cancel_batch", "chat"),
)
LAST_END_AT = MONDAY_NOON + 13 * HOUR
"""Everything is asked within an hour, has ten hours at most, and is tried for an hour more."""
ALICE = {"Authorization": "Bearer sk-alice"}
QUICK, MANY = range(1), range(1, 100)


@dataclass(frozen=True)
class Day:
    """What is drawn: when the proxy is stopped and for how long, who asks when, and what goes wrong."""

    turnaround: Turnaround
    faults: tuple[Fault, ...]
    asks: tuple[tuple[float, str], ...]
    away_seconds: tuple[float, ...]
    lives_seconds: tuple[float, ...]


def draw(seed: int) -> Day:
    chance = Random(seed)
    return Day(
        turnaround=Constant(chance.uniform(60.0, 5 * HOUR)) if chance.random() < 0.5 else Stuck(chance.random()),
        faults=tuple(_fault(chance) for _ in range(chance.randrange(4, 20))),
        asks=tuple((chance.uniform(0.0, HOUR), chance.choice(DEADLINES)) for _ in range(REQUESTS)),
        away_seconds=tuple(chance.choice([5.0, MINUTE, HOUR, 3 * HOUR]) for _ in range(LIVES - 1)),
        lives_seconds=tuple(chance.uniform(MINUTE, 3 * HOUR) for _ in range(LIVES - 1)),
    )


def _fault(chance: Random) -> Fault:
    """Anything but lines that are billed and never given: those have a test of their own."""
    if chance.random() < 0.3:
        kinds = sorted(BATCH_KINDS - {FaultKind.MISSING_LINES, FaultKind.STUCK})
        kind = chance.choice(kinds)
        return Fault(operation="batch", kind=kind, seconds=chance.uniform(5.0, 100.0), lines=chance.randrange(1, 4))
    if chance.random() < 0.2:
        return Fault(operation="line", kind=FaultKind.STATUS, status=chance.choice([0, 429, 500]))
    operation, kind = chance.choice(CALLS), chance.choice(sorted(CALL_KINDS))
    status, seconds = chance.choice([429, 500, 503]), chance.choice([1.0, 30.0, 20 * MINUTE])
    return Fault(operation=operation, kind=kind, status=status, seconds=seconds, count=chance.randrange(1, 5))


@dataclass(frozen=True)
class Outcome:
    """What can be said at the end of a day, to be compared with another playing of the same."""

    answers: tuple[tuple[str, float | None], ...]
    bought: tuple[tuple[int, int], ...]
    paid_usd: Decimal


def _play(folder: Path, redis: str | None, day: Day) -> Outcome:
    outcomes: list[Outcome] = []
    folder.mkdir(exist_ok=True)

    async def whole() -> None:
        clock = LoopClock()
        settings = Settings(turnaround=day.turnaround, latency_seconds=1.0, lines_in_flight=2, faults=day.faults)
        async with serving(settings, clock, read_cost_map().models) as provider:
            left = await _ask_and_restart(folder, redis, day, provider, clock)
            async with living(folder, provider, clock, seed=LIVES, redis=redis) as world:
                outcomes.append(await _judge(world, left))

    run(whole(), start_at=MONDAY_NOON)
    return outcomes[0]


async def _ask_and_restart(
    folder: Path, redis: str | None, day: Day, provider: Running, clock: LoopClock
) -> dict[str, str]:
    """The first lives; returns where each request's answer is to be had."""
    left: dict[str, str] = {}

    async def ask(world: World, number: int) -> Reply:
        asked_at, deadline = day.asks[number]
        await world.sleep(asked_at)
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"day-{number:03}"}
        reply = await world.ask(f"day-{number:03}", deadline=deadline, headers=headers)
        if reply.status == 202:
            left[f"day-{number:03}"] = reply.headers["Location"]
        return reply

    async with living(folder, provider, clock, redis=redis) as world:
        accepted = await gather(*(ask(world, number) for number in range(REQUESTS)))
        assert {reply.status for reply in accepted} <= {200, 202}
        await world.sleep(day.lives_seconds[0])
    await clock.sleep_until(clock.now() + day.away_seconds[0])
    async with living(folder, provider, clock, seed=1, redis=redis) as world:
        await world.sleep(day.lives_seconds[1])
    await clock.sleep_until(clock.now() + day.away_seconds[1])
    return left


async def _judge(world: World, left: dict[str, str]) -> Outcome:
    """Everybody is answered or told why not; every purchase is in the books; nothing is left lying about."""
    store = world.service.desk.store
    await world.clock.sleep_until(max(LAST_END_AT, world.now + HOUR))
    shown = {text: (await world.send("GET", where, headers=ALICE)).json for text, where in left.items()}
    await world.settled(within=40 * HOUR)
    world.emulator.faults.clear()
    await world.sleep(2 * HOUR)
    for text, one in shown.items():
        assert one["status"] in {"done", "expired"}, one
        if one["status"] == "done":
            assert one["response"]["body"]["choices"][0]["message"]["content"].startswith(f"echo: {text}")
        else:
            assert one["response"]["body"]["error"]["code"] == "deadline_exceeded"
    views = await store.list_requests(None, after=None, limit=1000)
    assert Counter(view.state for view in views)[RequestState.OPEN] == 0
    totals = await store.ledger(since=0.0, until=world.now + 1)
    rows = sum(total.rows for total in totals if total.kind is not Purchase.EXPIRED)
    unknown = sum(total.unknown_paid for total in totals)
    bought = [await world.bought(f"day-{number:03}") for number in range(REQUESTS)]
    purchases = sum(sync + batch for sync, batch in bought)
    assert rows - unknown <= purchases <= rows
    paid, account = await world.ledger_usd(), await world.account()
    if unknown == 0:
        assert paid == Decimal(account["total"]["usd"])
    assert paid <= Decimal(account["total"]["usd"])
    assert account["files"] == []
    answers = tuple((one["status"], one["finished_at"]) for _, one in sorted(shown.items()))
    return Outcome(answers, tuple(bought), paid)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["sqlite", "valkey"])
@pytest.mark.parametrize("seed", [*QUICK, *(pytest.param(seed, marks=pytest.mark.long) for seed in MANY)])
def test_whatever_goes_wrong_on_a_day_everybody_is_answered_or_told_and_the_books_are_right(
    tmp_path: Path, shared_redis: Servers, store: str, seed: int
) -> None:
    redis = None if store == "sqlite" else shared_redis(store).url
    _play(tmp_path, redis, draw(seed))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_same_seed_is_the_same_day_on_either_store(tmp_path: Path, shared_redis: Servers) -> None:
    url = shared_redis("valkey").url
    first = _play(tmp_path / "one", None, draw(7))
    assert _play(tmp_path / "again", None, draw(7)) == first
    assert _play(tmp_path / "elsewhere", url, draw(7)).bought == first.bought

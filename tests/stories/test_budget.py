"""The provider limits the tokens of all unfinished batches together: they are reserved, and given back at any end."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.batching.desk import enqueued_tokens
from proxy.batching.settings import Settings as BatchingSettings
from proxy.config.settings import BatchCapabilities, UpstreamSettings
from proxy.domain.events import BatchSettled, BatchSubmitted
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from tests.world import HOUR, MINUTE, MONDAY_NOON, Reply, World, gather, play

LIMIT = 4000
"""Tokens: about two hundred of these requests' prompts."""
PROMPT = "word " * 40


async def ask_many(world: World, requests: int, deadline: str) -> None:
    answers = await gather(*(world.ask(f"{n:03} {PROMPT}", deadline=deadline) for n in range(requests)))
    assert all(answer.status == 200 for answer in answers)
    assert [answer.tier for answer in answers].count("batch") >= requests - 1  # one goes ahead as a scout
    await world.settled()
    await world.assert_books_agree()
    assert sum(enqueued_tokens(await world.service.desk.store.open_batches()).values()) == 0


def test_a_known_limit_is_kept_and_no_batch_takes_more_than_a_quarter_of_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ask_many(world, 200, "20h")
        outcomes = [settled.outcome.value for settled in world.seen(BatchSettled)]
        assert set(outcomes) == {"completed"}
        assert max(submitted.lines for submitted in world.seen(BatchSubmitted)) <= LIMIT / 4 / 40
        page = (await world.send("GET", "/metrics")).body.decode()
        assert f'standby_batch_enqueued_tokens_limit{{model="gpt-4o-mini",upstream="openai"}} {LIMIT}.0' in page

    emulator = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0, enqueued_tokens_max=LIMIT)
    upstream = UpstreamSettings(batches=BatchCapabilities(enqueued_tokens_max=LIMIT))
    play(tmp_path, story, emulator=emulator, upstream=upstream)


def test_an_unknown_limit_is_learned_from_the_first_refusal_and_costs_no_request_a_try(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await ask_many(world, 200, "20h")
        outcomes = [settled.outcome.value for settled in world.seen(BatchSettled)]
        assert outcomes.count("failed") == 1
        (budget,) = world.service.desk.memory.budgets.values()
        assert budget.limit == LIMIT

    emulator = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0, enqueued_tokens_max=LIMIT)
    play(tmp_path, story, emulator=emulator)


def test_tokens_are_given_back_by_batches_that_were_cancelled_or_expired(tmp_path: Path) -> None:
    """All of the first batches hang: were their tokens not given back, nothing else could ever be sent."""

    async def story(world: World) -> None:
        async with world.background(*(world.ask(f"{n:03} {PROMPT}", deadline="3h") for n in range(100))):
            pass
        await world.settled(within=30 * HOUR)
        assert sum(enqueued_tokens(await world.service.desk.store.open_batches()).values()) == 0
        before = len(world.seen(BatchSubmitted))
        async with world.background(world.ask("after all that", deadline="3h")):
            await world.until(lambda: len(world.seen(BatchSubmitted)) > before, within=HOUR)

    emulator = Settings(turnaround=Constant(30 * HOUR), latency_seconds=1.0, enqueued_tokens_max=LIMIT)
    upstream = UpstreamSettings(batches=BatchCapabilities(enqueued_tokens_max=LIMIT))
    play(tmp_path, story, emulator=emulator, upstream=upstream)


@pytest.mark.timeout(180)
def test_one_stuck_batch_keeps_nothing_else_out(tmp_path: Path) -> None:
    """It holds a quarter of the tokens at most; everything else goes into the batches beside it, and is done."""

    async def story(world: World) -> None:
        async with world.background(*(world.ask(f"{n:03} {PROMPT}", deadline="20h") for n in range(40))):
            await world.until(lambda: bool(world.seen(BatchSubmitted)), within=HOUR)
            assert world.emulator.faults.listed() == []  # one is stuck by now
            answers = await gather(*(world.ask(f"more {n:03} {PROMPT}", deadline="12h") for n in range(100)))
            assert [answer.tier for answer in answers].count("batch") >= 99  # one goes ahead as a scout
            assert max(answer.at for answer in answers) < MONDAY_NOON + 3 * HOUR
            assert max(submitted.lines for submitted in world.seen(BatchSubmitted)) <= LIMIT / 4 / 40

    emulator = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0, enqueued_tokens_max=LIMIT)
    upstream = UpstreamSettings(batches=BatchCapabilities(enqueued_tokens_max=LIMIT))
    stuck = Fault(operation="batch", kind=FaultKind.STUCK, state="in_progress", count=1)
    play(tmp_path, story, emulator=emulator, upstream=upstream, faults=(stuck,))


def test_batches_grow_when_the_provider_takes_few_more_this_hour(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async def ask_at(minute: int) -> Reply:
            await world.sleep(minute * MINUTE)
            return await world.ask(f"{minute}", deadline="5h")

        answers = await gather(*(ask_at(minute) for minute in range(60)))
        assert {answer.tier for answer in answers} == {"batch"}
        lines = [submitted.lines for submitted in world.seen(BatchSubmitted)]
        assert len(lines) <= 12
        assert lines[:3] == [1, 1, 1]
        assert max(lines) >= 5

    usual = BatchingSettings()
    batching = replace(usual, cut=replace(usual.cut, age_seconds=30.0, creations_per_hour=10))
    play(tmp_path, story, batching=batching)

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal

import msgspec
import pytest

from proxy.backtest.provider import ENDPOINT, Provider, Settings, body_of
from proxy.backtest.weather import CompletionPath
from proxy.domain.credential import Auth
from proxy.domain.tier import Tier
from proxy.routing.pricing import PriceBook
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.wire.lines import decode_output_line, encode_line
from proxy.wire.usage import read_usage

MODEL = "gpt-4.1"
NOBODY = Auth(())
PathOf = Callable[[float], CompletionPath]
Story = Callable[[Provider, LoopClock], Awaitable[None]]


def play(prices: PriceBook, path: CompletionPath, story: Story, **settings: float) -> None:
    async def whole() -> None:
        clock = LoopClock()
        values = {"rpm": 60, "seed": 1} | settings
        await story(Provider(clock, {MODEL: path}, prices, Settings(**values)), clock)  # type: ignore[arg-type]

    run(whole(), start_at=1_800_000_000.0)


async def start(provider: Provider, count: int) -> str:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(count):
            yield encode_line(f"line-{number}", ENDPOINT, body_of(MODEL, 1000, 100))

    file_id = await provider.upload(NOBODY, "name", 1, lines(), 3600)
    return (await provider.create(NOBODY, file_id, ENDPOINT, {"standby_batch": "b"})).id


async def results(provider: Provider, file_id: str | None) -> list[str]:
    if file_id is None:
        return []
    read = [decode_output_line(line) async for line in provider.download(NOBODY, file_id)]
    return [f"{line.custom_id} {line.status or line.error_code}" for line in read if line is not None]


def test_a_call_is_billed_by_its_tokens_at_its_tier(prices: PriceBook, constant_path: PathOf) -> None:
    async def story(provider: Provider, clock: LoopClock) -> None:
        began = clock.now()
        call = await provider.call(NOBODY, ENDPOINT, body_of(MODEL, 1_000_000, 100), Tier.STANDARD)
        assert call.answer.status == 200
        reading = read_usage(call.answer.body)
        assert reading.usage is not None
        assert (reading.usage.input_tokens, reading.usage.output_tokens) == (1_000_000, 100)
        assert clock.now() - began == pytest.approx(1.0)
        assert provider.bill.usd == Decimal("2.0008")

    play(prices, constant_path(60.0), story)


def test_calls_over_the_rate_limit_are_refused_and_cost_nothing(prices: PriceBook, constant_path: PathOf) -> None:
    async def story(provider: Provider, _: LoopClock) -> None:
        calls = [provider.call(NOBODY, ENDPOINT, body_of(MODEL, 10, 0), Tier.STANDARD) for _ in range(65)]
        made = await asyncio.gather(*calls)
        assert sorted(call.answer.status for call in made) == [200] * 60 + [429] * 5
        refused = next(call for call in made if call.answer.status == 429)
        assert refused.rate.retry_after_seconds is not None
        assert refused.rate.limit_requests == 60
        assert (provider.bill.calls, provider.bill.refused) == (60, 5)

    play(prices, constant_path(60.0), story)


def test_flex_finds_no_capacity_as_often_as_it_is_told(prices: PriceBook, constant_path: PathOf) -> None:
    async def story(provider: Provider, _: LoopClock) -> None:
        assert provider.capabilities.flex
        calls = [provider.call(NOBODY, ENDPOINT, body_of(MODEL, 10, 0), Tier.FLEX) for _ in range(50)]
        statuses = {call.answer.status for call in await asyncio.gather(*calls)}
        assert statuses == {429}

    play(prices, constant_path(60.0), story, flex_refusals=1.0)


def test_a_batch_appears_whole_at_its_end_and_is_billed_once(prices: PriceBook, constant_path: PathOf) -> None:
    async def story(provider: Provider, clock: LoopClock) -> None:
        job = await start(provider, 4)
        await clock.sleep_until(clock.now() + 300)
        half = await provider.retrieve(NOBODY, job)
        assert (half.status, half.completed_lines, half.output_file_id) == ("in_progress", 2, None)
        await clock.sleep_until(clock.now() + 301)
        done = await provider.retrieve(NOBODY, job)
        assert (done.status, done.completed_lines, done.error_file_id) == ("completed", 4, None)
        assert await results(provider, done.output_file_id) == [f"line-{n} 200" for n in range(4)]
        await provider.retrieve(NOBODY, job)
        assert provider.bill.usd == 4 * (Decimal("0.001") + Decimal("0.0004"))
        for file_id in (done.output_file_id, "file_00000001"):
            await provider.delete_file(NOBODY, str(file_id))
        assert provider.files_left == 0

    play(prices, constant_path(600.0), story)


def test_a_cancelled_batch_keeps_what_was_done_and_what_was_at_work(prices: PriceBook, constant_path: PathOf) -> None:
    async def story(provider: Provider, clock: LoopClock) -> None:
        job = await start(provider, 10)
        await clock.sleep_until(clock.now() + 290)
        assert (await provider.cancel(NOBODY, job)).status == "cancelling"
        await clock.sleep_until(clock.now() + 601)
        ended = await provider.retrieve(NOBODY, job)
        assert (ended.status, ended.completed_lines) == ("cancelled", 5)
        assert await results(provider, ended.output_file_id) == [f"line-{n} 200" for n in range(5)]
        assert await results(provider, ended.error_file_id) == [f"line-{n} batch_cancelled" for n in range(5, 10)]
        assert provider.bill.lines == 5

    play(prices, constant_path(600.0), story)


def test_a_batch_that_takes_more_than_a_day_expires(prices: PriceBook, constant_path: PathOf) -> None:
    async def story(provider: Provider, clock: LoopClock) -> None:
        job = await start(provider, 4)
        await clock.sleep_until(clock.now() + 86_401)
        ended = await provider.retrieve(NOBODY, job)
        assert (ended.status, ended.completed_lines) == ("expired", 2)
        assert len(await results(provider, ended.error_file_id)) == 2

    play(prices, constant_path(2 * 86_400.0), story)


def test_a_body_is_token_counts() -> None:
    assert msgspec.json.decode(body_of("m", 3, 4)) == {"model": "m", "tokens": [3, 4]}

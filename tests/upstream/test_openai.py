"""The adapter against the emulator: every method of the seam, and what each failure says about trying again."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.credential import Auth
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.tier import Tier
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.serving import Running, serving
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.runtime.parts import upstream_settings
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map
from proxy.upstream.http import open_session
from proxy.upstream.openai import OpenAIUpstream
from tests.world import MONDAY_NOON

ALICE = Auth((("authorization", "Bearer sk-alice"),))
CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
LINE = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":' + CHAT + b"}\n"
Story = Callable[[OpenAIUpstream, Running], Awaitable[None]]


def _play(story: Story, *faults: Fault) -> None:
    async def whole() -> None:
        clock = LoopClock()
        settings = Settings(turnaround=Constant(600), faults=faults)
        async with (
            serving(settings, clock, read_cost_map().models) as provider,
            open_session(connections_max=0) as session,
        ):
            configured = upstream_settings(UpstreamSettings(base_url=provider.url + "/v1"))
            await story(OpenAIUpstream(configured, session, clock.now), provider)

    run(whole(), start_at=MONDAY_NOON)


async def _lines(*lines: bytes) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


def test_a_batch_from_upload_to_deletion() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        file_id = await upstream.upload(ALICE, "standby-x-1.jsonl", len(LINE), _lines(LINE), 86_400)
        assert [file.name async for file in upstream.list_files(ALICE)] == ["standby-x-1.jsonl"]
        created = await upstream.create(ALICE, file_id, "/v1/chat/completions", {"standby_batch": "bat-1"})
        assert created.status == "validating"
        await asyncio.sleep(700)
        done = await upstream.retrieve(ALICE, created.id)
        assert (done.status, done.completed_lines, done.error_file_id) == ("completed", 1, None)
        assert done.output_file_id is not None
        (line,) = [line async for line in upstream.download(ALICE, done.output_file_id)]
        assert json.loads(line)["custom_id"] == "a"
        listed = [batch async for batch in upstream.list_batches(ALICE)]
        assert [(batch.id, batch.metadata) for batch in listed] == [(created.id, {"standby_batch": "bat-1"})]
        await upstream.delete_file(ALICE, done.output_file_id)
        await upstream.delete_file(ALICE, done.output_file_id)

    _play(story)


def test_an_upload_that_the_provider_does_not_take_is_given_up() -> None:
    """It has the connection, and reads nothing: what the library calls a read timeout would only begin afterwards."""

    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamFault, match="no answer in time") as caught:
            await upstream.upload(ALICE, "standby-x-1.jsonl", 300 * 2**18, _lines(*[b"x" * 2**18] * 300), 86_400)
        assert caught.value.retry is Retry.UNKNOWN_IF_BILLED
        assert asyncio.get_running_loop().time() - began == pytest.approx(120, abs=1)

    _play(story, Fault(operation="upload_file", kind=FaultKind.DELAY, seconds=3600.0))


def test_an_upload_that_is_refused_before_all_of_it_was_sent_is_a_refusal() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        with pytest.raises(UpstreamFault):
            await upstream.upload(ALICE, "standby-x-1.jsonl", 300 * 2**18, _lines(*[b"x" * 2**18] * 300), 86_400)
        assert [file async for file in upstream.list_files(ALICE)] == []

    _play(story, Fault(operation="upload_file", kind=FaultKind.STATUS, status=503))


@pytest.mark.parametrize(("takes_seconds", "is_whole"), [(600.0, True), (36_000.0, False)])
def test_a_download_may_be_slow_but_has_an_end(takes_seconds: float, is_whole: bool) -> None:  # noqa: FBT001
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        content = LINE * 1000
        file_id = await upstream.upload(ALICE, "standby-x-1.jsonl", len(content), _lines(content), 86_400)
        got: list[bytes] = []

        async def read() -> None:
            got.extend([line async for line in upstream.download(ALICE, file_id)])

        if is_whole:
            await read()
        else:
            with pytest.raises(UpstreamFault, match="no answer in time"):
                await read()
        assert (len(got) == 1000) is is_whole

    _play(story, Fault(operation="download", kind=FaultKind.TRICKLE, seconds=takes_seconds))


def test_lists_longer_than_a_page_are_read_to_their_end() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        for number in range(130):
            await upstream.upload(ALICE, f"f{number}.jsonl", len(LINE), _lines(LINE), 86_400)
        assert len([file async for file in upstream.list_files(ALICE)]) == 130

    _play(story)


def test_an_upload_of_many_chunks_arrives_whole() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        many = [LINE] * 5000
        file_id = await upstream.upload(ALICE, "many.jsonl", len(LINE) * 5000, _lines(*many), 86_400)
        assert [line async for line in upstream.download(ALICE, file_id)] == many

    _play(story)


@pytest.mark.parametrize("lines", [0, 1, 4999, 5001])
def test_an_upload_whose_lines_are_not_those_that_were_measured_breaks_off_at_once(lines: int) -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamFault):
            await upstream.upload(ALICE, "x.jsonl", len(LINE) * 5000, _lines(*[LINE] * lines), 86_400)
        assert asyncio.get_running_loop().time() - began < 1
        assert not [file async for file in upstream.list_files(ALICE)]

    _play(story)


@pytest.mark.parametrize(("tier", "served"), [(Tier.STANDARD, Tier.STANDARD), (Tier.PRIORITY, Tier.PRIORITY)])
def test_a_call_is_bought_at_its_tier(tier: Tier, served: Tier) -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        bought = await upstream.call(ALICE, "/v1/chat/completions", CHAT, tier)
        assert (bought.answer.status, bought.answer.tier) == (200, served)
        assert bought.rate.limit_requests == 10_000
        assert "content-length" not in {name.lower() for name, _ in bought.answer.headers}

    _play(story)


def test_an_error_status_of_a_call_is_an_answer() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        bought = await upstream.call(ALICE, "/v1/chat/completions", b'{"model":"gpt-4o-mini"}', Tier.STANDARD)
        assert bought.answer.status == 400
        assert "messages" in json.loads(bought.answer.body)["error"]["message"]

    _play(story)


@pytest.mark.parametrize(
    ("fault", "retry", "status"),
    [
        (Fault(operation="get_batch", kind=FaultKind.STATUS, status=429, seconds=7.0), Retry.LATER, 429),
        (Fault(operation="get_batch", kind=FaultKind.STATUS, status=500), Retry.UNKNOWN_IF_BILLED, 500),
        (Fault(operation="get_batch", kind=FaultKind.STATUS, status=403), Retry.NEVER, 403),
        (Fault(operation="get_batch", kind=FaultKind.DROP_BEFORE, count=2), Retry.UNKNOWN_IF_BILLED, None),
    ],
    ids=lambda value: str(getattr(value, "kind", value)),
)
def test_a_failure_says_whether_the_call_may_be_made_again(fault: Fault, retry: Retry, status: int | None) -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        with pytest.raises(UpstreamFault) as caught:
            await upstream.retrieve(ALICE, "batch_1")
        assert (caught.value.retry, caught.value.status) == (retry, status)
        assert caught.value.after_seconds == (7.0 if status == 429 else None)

    _play(story, fault)


def test_a_download_that_breaks_off_raises_and_never_ends_early() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        file_id = await upstream.upload(ALICE, "x.jsonl", len(LINE) * 50, _lines(*[LINE] * 50), 86_400)
        with pytest.raises(UpstreamFault):
            _ = [line async for line in upstream.download(ALICE, file_id)]

    _play(story, Fault(operation="download", kind=FaultKind.TRUNCATE))


def test_a_missing_file_or_batch_says_404() -> None:
    async def story(upstream: OpenAIUpstream, _provider: Running) -> None:
        with pytest.raises(UpstreamFault) as no_batch:
            await upstream.retrieve(ALICE, "batch_nope")
        with pytest.raises(UpstreamFault) as no_file:
            _ = [line async for line in upstream.download(ALICE, "file-nope")]
        assert (no_batch.value.status, no_file.value.status) == (404, 404)

    _play(story)

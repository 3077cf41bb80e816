"""The stock openai package against the emulator, on a real clock with the day compressed to a minute."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import aiohttp
import openai
import pytest

from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant


class WallClock:
    """Real time, for a client that cannot be told another."""

    def now(self) -> float:
        return time.time()  # noqa: TID251 - the clock itself

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep_until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self.now()))

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


def with_client(story: Callable[[openai.AsyncOpenAI], Any], prices: Mapping[str, Any], **chosen: Any) -> None:
    async def whole() -> None:
        settings = Settings(time_scale=1440.0, turnaround=Constant(300.0), **chosen)
        async with (
            serving(settings, WallClock(), prices) as running,
            openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="sk-test", max_retries=0) as client,
        ):
            await story(client)

    asyncio.run(whole())


def test_the_sdk_reads_answers_and_streams(prices: Any) -> None:
    async def story(client: openai.AsyncOpenAI) -> None:
        whole = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
        )
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == whole.choices[0].message.content
        async with client.responses.stream(model="gpt-4o-mini", input="hi") as events:
            final = await events.get_final_response()
        assert final.output_text.startswith("echo: hi")
        packed = await client.embeddings.create(model="text-embedding-3-small", input="a")  # asks for base64
        plain = await client.embeddings.create(model="text-embedding-3-small", input="a", encoding_format="float")
        assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
        moderation = await client.moderations.create(input="hate")
        assert moderation.results[0].flagged
        assert len((await client.models.list()).data) > 2

    with_client(story, prices)


def test_the_sdk_raises_the_errors_that_it_should(prices: Any) -> None:
    async def story(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="nobody", input="x")
        with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: deadline"):
            await client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}], extra_body={"deadline": "2h"}
            )
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="sk-unknown").models.list()

    with_client(story, prices, keys=frozenset({"sk-test"}))


def test_the_sdk_drives_a_batch_from_upload_to_clean_up(prices: Any, line: Any) -> None:
    async def story(client: openai.AsyncOpenAI) -> None:
        content = b"".join(json.dumps(line(f"c{n}")).encode() + b"\n" for n in range(50))
        uploaded = await client.files.create(
            file=("in.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 86400}
        )
        batch = await client.batches.create(
            input_file_id=uploaded.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"standby": "b1"},
        )
        seen = {batch.status}
        while batch.status not in ("completed", "failed", "expired"):
            await asyncio.sleep(0.02)
            batch = await client.batches.retrieve(batch.id)
            seen.add(batch.status)
        assert {"validating", "in_progress", "completed"} <= seen | {"validating"}
        assert batch.request_counts is not None
        assert batch.request_counts.completed == 50
        assert batch.output_file_id is not None
        output = await client.files.content(batch.output_file_id)
        assert len(output.text.splitlines()) == 50
        listed = [found.id async for found in client.batches.list(limit=1)]
        assert listed == [batch.id]
        for file_id in (uploaded.id, batch.output_file_id):
            assert (await client.files.delete(file_id)).deleted
        assert [found.id async for found in client.files.list()] == []

    with_client(story, prices)


def test_a_port_in_use_is_an_error_and_leaves_nothing_open(prices: Any) -> None:
    async def whole() -> None:
        async with serving(Settings(), WallClock(), prices) as running:
            port = int(running.url.rsplit(":", 1)[1])
            with pytest.raises(OSError, match="address already in use"):
                async with serving(Settings(), WallClock(), prices, port=port):
                    pass
            async with aiohttp.ClientSession() as session, session.get(f"{running.url}/emulator/account") as response:
                assert response.status == 200

    asyncio.run(whole())

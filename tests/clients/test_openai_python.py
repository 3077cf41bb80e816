"""The stock openai package, as it is installed, pointed at Standby by its base URL and nothing else."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import openai
import pytest

from tests.processes import FAST_CONFIG, Running, emulator, standby

pytestmark = pytest.mark.clients
DEADLINE = {"X-Deadline": "60s"}
MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    folder = tmp_path_factory.mktemp("clients")
    with emulator(folder, "--turnaround", "constant:300") as provider, standby(folder, provider) as proxy:
        yield provider, proxy


@pytest.fixture
def client(processes: tuple[Running, Running]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=processes[1].url + "/v1", api_key="sk-client") as client:
        yield client


def _say(text: str) -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("headers", [{}, DEADLINE], ids=["urgent", "deferred"])
def test_a_chat_completion(client: openai.OpenAI, headers: dict[str, str]) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=_say("good morning"), extra_headers=headers
    )
    assert answer.headers["x-standby-tier"] == ("batch" if headers else "standard")
    completion = answer.parse()
    assert (completion.choices[0].message.content or "").startswith("echo: good morning")
    assert completion.usage is not None


@pytest.mark.parametrize("headers", [{}, DEADLINE], ids=["urgent", "deferred"])
def test_a_streamed_chat_completion_with_usage(client: openai.OpenAI, headers: dict[str, str]) -> None:
    stream = client.chat.completions.create(
        model=MODEL,
        messages=_say("stream this"),
        stream=True,
        stream_options={"include_usage": True},
        extra_headers=headers,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("echo: stream this")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("headers", [{}, DEADLINE], ids=["urgent", "deferred"])
def test_tool_calls_come_back_whole_and_streamed(client: openai.OpenAI, headers: dict[str, str]) -> None:
    tool: openai.types.chat.ChatCompletionToolParam = {
        "type": "function",
        "function": {
            "name": "look_up",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    whole = client.chat.completions.create(model=MODEL, messages=_say("Paris"), tools=[tool], extra_headers=headers)
    (call,) = whole.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments)["city"]
    with client.chat.completions.stream(
        model=MODEL, messages=_say("Paris"), tools=[tool], extra_headers=headers
    ) as stream:
        streamed = stream.get_final_completion()
    (same,) = streamed.choices[0].message.tool_calls or []
    assert same.function.arguments == call.function.arguments
    assert streamed.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("headers", [{}, DEADLINE], ids=["urgent", "deferred"])
def test_a_response_whole_and_streamed(client: openai.OpenAI, headers: dict[str, str]) -> None:
    whole = client.responses.create(model=MODEL, input="respond", extra_headers=headers)
    assert whole.output_text.startswith("echo: respond")
    with client.responses.stream(model=MODEL, input="respond", extra_headers=headers) as stream:
        streamed = stream.get_final_response()
    assert streamed.output_text == whole.output_text


@pytest.mark.parametrize("headers", [{}, DEADLINE], ids=["urgent", "deferred"])
def test_embeddings(client: openai.OpenAI, headers: dict[str, str]) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], extra_headers=headers)
    assert len(answer.data) == 2


@pytest.mark.parametrize("headers", [{}, DEADLINE], ids=["urgent", "deferred"])
def test_errors_are_the_sdks_own_exceptions(client: openai.OpenAI, headers: dict[str, str]) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=MODEL, messages=_say("x"), extra_body={"nope": 1}, extra_headers=headers)
    assert "nope" in bad.value.message
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=_say("x"))


def test_a_wrong_deadline_is_a_bad_request_that_names_the_header(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=MODEL, messages=_say("x"), extra_headers={"X-Deadline": "soonish"})
    assert bad.value.param == "X-Deadline"


def test_native_files_and_batches_pass_through(client: openai.OpenAI) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    body = {"model": MODEL, "messages": _say("by hand")}
    content = json.dumps(line | {"body": body}).encode() + b"\n"
    file = client.files.create(file=("mine.jsonl", content), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert client.batches.retrieve(batch.id).status in {"validating", "in_progress", "finalizing", "completed"}
    assert client.files.content(file.id).read() == content
    assert client.files.delete(file.id).deleted


def test_mixed_calls_of_the_async_client_are_all_right_and_the_books_agree(tmp_path: Path) -> None:
    async def ask(client: openai.AsyncOpenAI, n: int, headers: dict[str, str]) -> bool:
        answer = await client.chat.completions.create(model=MODEL, messages=_say(f"mixed {n}"), extra_headers=headers)
        return (answer.choices[0].message.content or "").startswith(f"echo: mixed {n}")

    async def everything(proxy: Running) -> list[bool]:
        async with openai.AsyncOpenAI(base_url=proxy.url + "/v1", api_key="sk-mixed") as client:
            return await asyncio.gather(*(ask(client, n, {} if n % 5 == 0 else DEADLINE) for n in range(60)))

    with emulator(tmp_path, "--turnaround", "constant:300") as provider, standby(tmp_path, provider) as proxy:
        assert all(asyncio.run(everything(proxy)))
        with urllib.request.urlopen(provider.url + "/emulator/account") as page:
            account = json.load(page)
        with urllib.request.urlopen(proxy.url + "/metrics") as page:
            lines = page.read().decode().splitlines()
    spent = sum(Decimal(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("standby_spend_usd_total{"))
    assert account["tiers"]["batch"]["requests"] == 48
    assert account["tiers"]["standard"]["requests"] == 12
    assert abs(spent - Decimal(account["total"]["usd"])) < Decimal("0.00000001")


def _lines(count: int) -> bytes:
    url = "/v1/chat/completions"
    lines = [
        {"custom_id": str(n), "method": "POST", "url": url, "body": {"model": MODEL, "messages": _say(f"line {n}")}}
        for n in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_a_virtual_batch_is_like_the_providers_own(tmp_path: Path) -> None:
    """What the SDK does with a batch, against a proxy whose upstream sells none."""
    config = FAST_CONFIG + "upstreams: [{name: own, batch: false, flex: false}]\nvirtual_batches: {enabled: true}\n"
    with (
        emulator(tmp_path, "--latency-seconds", "60") as provider,
        standby(tmp_path, provider, config=config) as proxy,
        openai.OpenAI(base_url=proxy.url + "/v1", api_key="sk-client") as client,
    ):
        file = client.files.create(file=("mine.jsonl", _lines(20)), purpose="batch")
        assert client.files.retrieve(file.id) == file
        assert client.files.wait_for_processing(file.id).status == "processed"
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"job": "nightly"},
        )
        give_up_at = time.monotonic() + 30
        while (batch := client.batches.retrieve(batch.id)).status != "completed":
            assert time.monotonic() < give_up_at, batch
            time.sleep(0.2)
        assert batch.request_counts is not None
        assert (batch.request_counts.completed, batch.metadata) == (20, {"job": "nightly"})
        found = [json.loads(line) for line in client.files.content(batch.output_file_id or "").text.splitlines()]
        assert {line["custom_id"] for line in found} == {str(n) for n in range(20)}
        assert [one.id for one in client.batches.list(limit=1)] == [batch.id]
        kept = {kind.id for kind in client.files.list(limit=1)}
        assert kept == {file.id, batch.output_file_id}
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)
        asyncio.run(_cancels(proxy))


async def _cancels(proxy: Running) -> None:
    async with openai.AsyncOpenAI(base_url=proxy.url + "/v1", api_key="sk-client") as client:
        file = await client.files.create(file=("more.jsonl", _lines(400)), purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        with pytest.raises(openai.ConflictError):
            await client.with_options(max_retries=0).files.delete(file.id)
        give_up_at = time.monotonic() + 30
        while (batch := await client.batches.retrieve(batch.id)).status != "cancelled":
            assert time.monotonic() < give_up_at, batch
            await asyncio.sleep(0.2)

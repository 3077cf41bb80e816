"""pydantic-ai: agents with tools and typed output."""

import asyncio
import sys
from collections.abc import Callable

import scenes
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.embeddings import Embedder
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = sys.argv[1:3]


class Place(BaseModel):
    """A place."""

    city: str
    people: int


def _agent(*, key: str = KEY, model: str = scenes.MODEL, responses: bool = False, **more: object) -> Agent:
    kind = OpenAIResponsesModel if responses else OpenAIChatModel
    return Agent(kind(model, provider=OpenAIProvider(base_url=URL, api_key=key)), retries=0, **more)


def _run(agent: Agent, text: str = scenes.QUESTION, **more: object) -> object:
    result = asyncio.run(agent.run(text, **more))
    output = result.output
    return [output if isinstance(output, str) else output.model_dump(), result.usage.input_tokens]


def chat_stream() -> object:
    async def ask() -> str:
        async with _agent().run_stream(scenes.QUESTION) as result:
            return await result.get_output()

    return asyncio.run(ask())


def structured_stream() -> object:
    """Typed output comes as a tool's arguments, piece by piece."""

    async def ask() -> object:
        async with _agent(output_type=Place).run_stream(scenes.QUESTION) as result:
            return (await result.get_output()).model_dump()

    return asyncio.run(ask())


def tools() -> object:
    """The emulator calls its tool once, then answers; what the tool was given is what is seen."""
    given: list[object] = []
    agent = _agent()

    @agent.tool_plain
    def look_up(city: str, limit: int) -> str:
        given.append([city, limit])
        return "found"

    try:
        _run(agent)
    except Exception:  # noqa: BLE001  it calls the tool for ever, until pydantic-ai has had enough
        return given[:1]
    return given[:1]


def embeddings() -> object:
    async def ask() -> object:
        provider = OpenAIProvider(base_url=URL, api_key=KEY)
        embedder = Embedder(OpenAIEmbeddingModel(scenes.EMBEDDING_MODEL, provider=provider))
        return [round(sum(vector), 6) for vector in (await embedder.embed_documents(["a", "b"])).embeddings]

    return asyncio.run(ask())


def error(call: Callable[[], object]) -> object:
    try:
        return call()
    except ModelHTTPError as error:
        return scenes.refused(error, error.status_code)


def cancelled() -> object:
    async def leave() -> None:
        async with asyncio.timeout(scenes.CANCEL_SECONDS):
            await _agent().run(scenes.SLOW)

    try:
        asyncio.run(leave())
    except TimeoutError:
        return "left"
    return None


scenes.play(
    {
        "chat": lambda: _run(_agent()),
        "chat_stream": chat_stream,
        "tools": tools,
        "structured": lambda: _run(_agent(output_type=Place)),
        "tools_stream": structured_stream,
        "embeddings": embeddings,
        "response": lambda: _run(_agent(responses=True)),
        "bad_request": lambda: error(lambda: _run(_agent(), model_settings={"extra_body": {"nope": 1}})),
        "too_many": lambda: error(lambda: _run(_agent(), scenes.TOO_MANY)),
        "not_found": lambda: error(lambda: _run(_agent(model=scenes.UNKNOWN_MODEL))),
        "unauthorized": lambda: error(lambda: _run(_agent(key="sk-nobody"))),
        "impatient": lambda: _run(_agent(), "impatient", model_settings={"timeout": scenes.IMPATIENCE_SECONDS}),
        "cancelled": cancelled,
    }
)

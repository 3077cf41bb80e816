"""instructor: structured output by tools and by JSON schema."""

import asyncio
import sys

import instructor
import openai
import scenes
from pydantic import BaseModel

URL, KEY = sys.argv[1:3]


class Place(BaseModel):
    """A place."""

    city: str
    people: int


def _openai(**more: object) -> openai.OpenAI:
    return openai.OpenAI(**{"base_url": URL, "api_key": KEY, "max_retries": 0} | more)


def _ask(mode: instructor.Mode, text: str = scenes.QUESTION, **more: object) -> object:
    client = instructor.from_openai(_openai(**more), mode=mode)
    return client.chat.completions.create(
        model=scenes.MODEL, messages=scenes.messages(text), response_model=Place, max_retries=0
    ).model_dump()


def partial() -> object:
    client = instructor.from_openai(_openai())
    stream = client.chat.completions.create_partial(
        model=scenes.MODEL, messages=scenes.messages(scenes.QUESTION), response_model=Place
    )
    return list(stream)[-1].model_dump()


def asynchronous() -> object:
    async def ask() -> object:
        async with openai.AsyncOpenAI(base_url=URL, api_key=KEY) as plain:
            client = instructor.from_openai(plain)
            place = await client.chat.completions.create(
                model=scenes.MODEL, messages=scenes.messages("async"), response_model=Place
            )
            return place.model_dump()

    return asyncio.run(ask())


def error(**more: object) -> object:
    try:
        return _ask(instructor.Mode.TOOLS, **more)
    except Exception as error:  # noqa: BLE001  instructor wraps the SDK's exceptions in one of its own
        return type(error).__name__


scenes.play(
    {
        "tools": lambda: _ask(instructor.Mode.TOOLS),
        "structured": lambda: _ask(instructor.Mode.JSON_SCHEMA),
        "chat_stream": partial,
        "asynchronous": asynchronous,
        "unauthorized": lambda: error(api_key="sk-nobody"),
        "too_many": lambda: error(text=scenes.TOO_MANY),
        "impatient": lambda: _ask(instructor.Mode.TOOLS, "impatient", timeout=scenes.IMPATIENCE_SECONDS),
    }
)

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


def _ask(
    mode: instructor.Mode, text: str = scenes.QUESTION, model: str = scenes.MODEL, extra: object = None, **more: object
) -> object:
    client = instructor.from_openai(_openai(**more), mode=mode)
    return client.chat.completions.create(
        model=model, messages=scenes.messages(text), response_model=Place, max_retries=0, extra_body=extra
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
    """instructor wraps the SDK's exception in one of its own."""
    try:
        return _ask(instructor.Mode.TOOLS, **more)
    except Exception as error:  # noqa: BLE001  what is inside is looked for
        inside: BaseException | None = error
        while inside is not None and not isinstance(inside, openai.APIStatusError):
            inside = inside.__cause__ or inside.__context__
        return [type(error).__name__, getattr(inside, "status_code", None)]


def cancelled() -> object:
    async def leave() -> None:
        async with (
            openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as plain,
            asyncio.timeout(scenes.CANCEL_SECONDS),
        ):
            client = instructor.from_openai(plain)
            await client.chat.completions.create(
                model=scenes.MODEL, messages=scenes.messages(scenes.SLOW), response_model=Place
            )

    try:
        asyncio.run(leave())
    except TimeoutError:
        return "left"
    return None


scenes.play(
    {
        "tools": lambda: _ask(instructor.Mode.TOOLS),
        "structured": lambda: _ask(instructor.Mode.JSON_SCHEMA),
        "chat_stream": partial,
        "asynchronous": asynchronous,
        "response": lambda: _ask(instructor.Mode.RESPONSES_TOOLS),
        "bad_request": lambda: error(extra={"nope": 1}),
        "not_found": lambda: error(model=scenes.UNKNOWN_MODEL),
        "unauthorized": lambda: error(api_key="sk-nobody"),
        "too_many": lambda: error(text=scenes.TOO_MANY),
        "impatient": lambda: _ask(instructor.Mode.TOOLS, "impatient", timeout=scenes.IMPATIENCE_SECONDS),
        "cancelled": cancelled,
    }
)

"""LiteLLM's SDK, which calls an OpenAI-shaped provider through the openai package."""

import asyncio
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
import scenes

URL, KEY = sys.argv[1:3]
TO = {"api_base": URL, "api_key": KEY, "num_retries": 0, "max_retries": 0}


def _chat(text: str = scenes.QUESTION, **more: object) -> object:
    return litellm.completion(**{"model": f"openai/{scenes.MODEL}", "messages": scenes.messages(text)} | TO | more)


def chat() -> object:
    answer = _chat()
    (choice,) = answer.choices
    return [choice.message.content, choice.finish_reason, answer.usage.prompt_tokens, answer.usage.completion_tokens]


def chat_stream() -> object:
    chunks = list(_chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usage = next(chunk.usage for chunk in chunks if getattr(chunk, "usage", None))
    return [text, usage.prompt_tokens, usage.completion_tokens]


def tools() -> object:
    choice = _chat(tools=[scenes.TOOL]).choices[0]
    (call,) = choice.message.tool_calls
    return [call.function.name, call.function.arguments, choice.finish_reason]


def tools_stream() -> object:
    whole = litellm.stream_chunk_builder(list(_chat(tools=[scenes.TOOL], stream=True)))
    (call,) = whole.choices[0].message.tool_calls
    return [call.function.name, call.function.arguments, whole.choices[0].finish_reason]


def structured() -> object:
    return _chat(response_format=scenes.FORMAT).choices[0].message.content


def embeddings() -> object:
    answer = litellm.embedding(model=f"openai/{scenes.EMBEDDING_MODEL}", input=["a", "b"], **TO)
    return [round(sum(one["embedding"]), 6) for one in answer.data]


def response() -> object:
    answer = litellm.responses(model=f"openai/{scenes.MODEL}", input=scenes.QUESTION, **TO)
    return [part.content[0].text for part in answer.output]


def error(**more: object) -> object:
    try:
        _chat(**more)
    except openai.APIStatusError as error:  # LiteLLM's own exceptions are derived from it
        return scenes.refused(error, error.status_code)
    return None


def impatient() -> object:
    return _chat("impatient", timeout=scenes.IMPATIENCE_SECONDS).choices[0].message.content


async def _async_chat(text: str) -> object:
    return await litellm.acompletion(model=f"openai/{scenes.MODEL}", messages=scenes.messages(text), **TO)


def asynchronous() -> object:
    return asyncio.run(_async_chat("async")).choices[0].message.content


def cancelled() -> object:
    async def leave() -> None:
        async with asyncio.timeout(scenes.CANCEL_SECONDS):
            await _async_chat(scenes.SLOW)

    try:
        asyncio.run(leave())
    except TimeoutError:
        return "left"
    return None


scenes.play(
    {
        "chat": chat,
        "chat_stream": chat_stream,
        "tools": tools,
        "tools_stream": tools_stream,
        "structured": structured,
        "embeddings": embeddings,
        "response": response,
        "bad_request": lambda: error(extra_body={"nope": 1}),
        "not_found": lambda: error(model=f"openai/{scenes.UNKNOWN_MODEL}"),
        "too_many": lambda: error(text=scenes.TOO_MANY),
        "unauthorized": lambda: error(api_key="sk-nobody"),
        "asynchronous": asynchronous,
        "impatient": impatient,
        "cancelled": cancelled,
    }
)

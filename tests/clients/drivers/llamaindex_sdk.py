"""LlamaIndex's OpenAI language model and embeddings."""

import asyncio
import sys

import openai
import scenes
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses

URL, KEY = sys.argv[1:3]
QUESTION = [ChatMessage(role="user", content=scenes.QUESTION)]


def _model(**more: object) -> OpenAI:
    return OpenAI(**{"model": scenes.MODEL, "api_base": URL, "api_key": KEY, "max_retries": 0} | more)


def chat() -> object:
    answer = _model().chat(QUESTION)
    return [answer.message.content, answer.raw.usage.prompt_tokens, answer.raw.usage.completion_tokens]


def chat_stream() -> object:
    return [chunk.message.content for chunk in _model().stream_chat(QUESTION)][-1]


def _called(answer: object) -> object:
    (call,) = answer.message.additional_kwargs["tool_calls"]
    return [call.function.name, call.function.arguments]


def tools() -> object:
    return _called(_model().chat(QUESTION, tools=[scenes.TOOL]))


def tools_stream() -> object:
    return _called(list(_model().stream_chat(QUESTION, tools=[scenes.TOOL]))[-1])


def structured() -> object:
    return _model().chat(QUESTION, response_format=scenes.FORMAT).message.content


def embeddings() -> object:
    embedder = OpenAIEmbedding(model_name=scenes.EMBEDDING_MODEL, api_base=URL, api_key=KEY)
    return [round(sum(vector), 6) for vector in embedder.get_text_embedding_batch(["a", "b"])]


def response() -> object:
    model = OpenAIResponses(model=scenes.MODEL, api_base=URL, api_key=KEY, max_retries=0)
    return model.chat(QUESTION).message.content


def asynchronous() -> object:
    return asyncio.run(_model().achat([ChatMessage(role="user", content="async")])).message.content


def error(text: str = "error", **more: object) -> object:
    try:
        _model(**more).chat([ChatMessage(role="user", content=text)])
    except openai.APIStatusError as error:
        return scenes.refused(error, error.status_code)
    return None


def impatient() -> object:
    question = [ChatMessage(role="user", content="impatient")]
    return _model(timeout=scenes.IMPATIENCE_SECONDS).chat(question).message.content


def cancelled() -> object:
    async def leave() -> None:
        async with asyncio.timeout(scenes.CANCEL_SECONDS):
            await _model().achat([ChatMessage(role="user", content=scenes.SLOW)])

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
        "asynchronous": asynchronous,
        "bad_request": lambda: error(additional_kwargs={"extra_body": {"nope": 1}}),
        "not_found": lambda: error(additional_kwargs={"model": scenes.UNKNOWN_MODEL}),  # it knows its models itself
        "too_many": lambda: error(scenes.TOO_MANY),
        "unauthorized": lambda: error(api_key="sk-nobody"),
        "impatient": impatient,
        "cancelled": cancelled,
    }
)

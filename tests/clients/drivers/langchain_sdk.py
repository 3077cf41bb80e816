"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

import asyncio
import sys

import openai
import scenes
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

URL, KEY = sys.argv[1:3]


def _model(**more: object) -> ChatOpenAI:
    return ChatOpenAI(**{"model": scenes.MODEL, "base_url": URL, "api_key": KEY, "max_retries": 0} | more)


def _usage(message: object) -> list[int]:
    return [message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]]


def chat() -> object:
    answer = _model().invoke(scenes.QUESTION)
    return [answer.content, answer.response_metadata["finish_reason"], *_usage(answer)]


def chat_stream() -> object:
    whole = None
    for chunk in _model(stream_usage=True).stream(scenes.QUESTION):
        whole = chunk if whole is None else whole + chunk
    return [whole.content, *_usage(whole)]


def tools() -> object:
    (call,) = _model().bind_tools([scenes.TOOL]).invoke(scenes.QUESTION).tool_calls
    return [call["name"], call["args"]]


def tools_stream() -> object:
    whole = None
    for chunk in _model().bind_tools([scenes.TOOL]).stream(scenes.QUESTION):
        whole = chunk if whole is None else whole + chunk
    (call,) = whole.tool_calls
    return [call["name"], call["args"]]


def structured() -> object:
    schema = {"title": "place", "description": "A place.", **scenes.SCHEMA}
    return _model().with_structured_output(schema, method="json_schema", strict=True).invoke(scenes.QUESTION)


def embeddings() -> object:
    embedder = OpenAIEmbeddings(
        model=scenes.EMBEDDING_MODEL, base_url=URL, api_key=KEY, check_embedding_ctx_length=False
    )
    return [round(sum(vector), 6) for vector in embedder.embed_documents(["a", "b"])]


def response() -> object:
    answer = _model(use_responses_api=True).invoke(scenes.QUESTION)
    return [answer.text if isinstance(answer.text, str) else answer.text(), *_usage(answer)]


def asynchronous() -> object:
    return asyncio.run(_model().ainvoke("async")).content


def error(text: str = "error", **more: object) -> object:
    try:
        _model(**more).invoke(text)
    except openai.APIStatusError as error:
        return scenes.refused(error, error.status_code)
    return None


def impatient() -> object:
    return _model(timeout=scenes.IMPATIENCE_SECONDS).invoke("impatient").content


def cancelled() -> object:
    async def leave() -> None:
        async with asyncio.timeout(scenes.CANCEL_SECONDS):
            await _model().ainvoke(scenes.SLOW)

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
        "bad_request": lambda: error(extra_body={"nope": 1}),
        "not_found": lambda: error(model=scenes.UNKNOWN_MODEL),
        "too_many": lambda: error(scenes.TOO_MANY),
        "unauthorized": lambda: error(api_key="sk-nobody"),
        "impatient": impatient,
        "cancelled": cancelled,
    }
)

"""The stock openai package, of whatever version: synchronous and asynchronous."""

import asyncio
import sys

import openai
import scenes

URL, KEY = sys.argv[1:3]
client = openai.OpenAI(base_url=URL, api_key=KEY)
once = client.with_options(max_retries=0)


def chat() -> object:
    answer = client.chat.completions.create(model=scenes.MODEL, messages=scenes.messages(scenes.QUESTION))
    (choice,) = answer.choices
    return [choice.message.content, choice.finish_reason, answer.usage.prompt_tokens, answer.usage.completion_tokens]


def chat_stream() -> object:
    chunks = list(
        client.chat.completions.create(
            model=scenes.MODEL,
            messages=scenes.messages(scenes.QUESTION),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    return [text, *reasons, chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens]


def tools() -> object:
    answer = client.chat.completions.create(
        model=scenes.MODEL, messages=scenes.messages(scenes.QUESTION), tools=[scenes.TOOL]
    )
    return _call(answer.choices[0])


def tools_stream() -> object:
    helper = getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream
    with helper(model=scenes.MODEL, messages=scenes.messages(scenes.QUESTION), tools=[scenes.TOOL]) as stream:
        return _call(stream.get_final_completion().choices[0])


def _call(choice: object) -> object:
    (call,) = choice.message.tool_calls
    return [call.function.name, call.function.arguments, choice.finish_reason]


def structured() -> object:
    answer = client.chat.completions.create(
        model=scenes.MODEL, messages=scenes.messages(scenes.QUESTION), response_format=scenes.FORMAT
    )
    return answer.choices[0].message.content


def embeddings() -> object:
    answer = client.embeddings.create(model=scenes.EMBEDDING_MODEL, input=["a", "b"])
    return [[round(sum(one.embedding), 6) for one in answer.data], answer.usage.prompt_tokens]


def response() -> object:
    return _output(client.responses.create(model=scenes.MODEL, input=scenes.QUESTION))


def response_stream() -> object:
    with client.responses.stream(model=scenes.MODEL, input=scenes.QUESTION) as stream:
        return _output(stream.get_final_response())


def _output(answer: object) -> object:
    return [answer.output_text, answer.status, answer.usage.input_tokens, answer.usage.output_tokens]


def asynchronous() -> object:
    async def ask() -> list[object]:
        async with openai.AsyncOpenAI(base_url=URL, api_key=KEY) as patient:
            create = patient.chat.completions.create
            whole = await create(model=scenes.MODEL, messages=scenes.messages("async"))
            stream = await create(model=scenes.MODEL, messages=scenes.messages("async"), stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            return [whole.choices[0].message.content, "".join(pieces)]

    return asyncio.run(ask())


def _error(**arguments: object) -> object:
    try:
        once.chat.completions.create(**{"model": scenes.MODEL, "messages": scenes.messages("error")} | arguments)
    except openai.APIStatusError as error:
        return scenes.refused(error, error.status_code)
    return None


def unauthorized() -> object:
    try:
        stranger = openai.OpenAI(base_url=URL, api_key="sk-nobody", max_retries=0)
        stranger.chat.completions.create(model=scenes.MODEL, messages=scenes.messages("error"))
    except openai.APIStatusError as error:
        return scenes.refused(error, error.status_code)
    return None


def impatient() -> object:
    hasty = once.with_options(timeout=scenes.IMPATIENCE_SECONDS)
    answer = hasty.chat.completions.create(model=scenes.MODEL, messages=scenes.messages("impatient"))
    return answer.choices[0].message.content


def cancelled() -> object:
    async def leave() -> None:
        async with (
            openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as leaver,
            asyncio.timeout(scenes.CANCEL_SECONDS),
        ):
            await leaver.chat.completions.create(model=scenes.MODEL, messages=scenes.messages(scenes.SLOW))

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
        "response_stream": response_stream,
        "asynchronous": asynchronous,
        "bad_request": lambda: _error(extra_body={"nope": 1}),
        "not_found": lambda: _error(model=scenes.UNKNOWN_MODEL),
        "too_many": lambda: _error(messages=scenes.messages(scenes.TOO_MANY)),
        "unauthorized": unauthorized,
        "impatient": impatient,
        "cancelled": cancelled,
    }
)

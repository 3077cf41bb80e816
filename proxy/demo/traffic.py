"""The client side: the stock openai package, as anybody would use it, and a check of every answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import openai
from openai.types.chat import ChatCompletionMessageParam

from proxy.demo.plan import Ask
from proxy.domain.clock import Clock

FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do "


@dataclass(slots=True)
class Tally:
    """What the client has seen so far."""

    planned: int
    sent: int = 0
    right: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.right + len(self.wrong)


async def drive(url: str, plan: Sequence[Ask], tally: Tally, clock: Clock, stop: asyncio.Event) -> None:
    """Make every call at its time, and wait for all answers. After `stop` nothing new is sent."""
    began_at = clock.now()
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="sk-demo") as client, asyncio.TaskGroup() as group:
        for ask in plan:
            await _wait(clock, began_at + ask.at_seconds, stop)
            if stop.is_set():
                break
            tally.sent += 1
            group.create_task(_call(client, ask, tally), name=ask.text)


async def _wait(clock: Clock, at: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(max(0.0, at - clock.now())):
            await stop.wait()
    except TimeoutError:
        return


async def _call(client: openai.AsyncOpenAI, ask: Ask, tally: Tally) -> None:
    try:
        text = await _answer(client, ask)
    except openai.OpenAIError as error:
        tally.wrong.append(f"{ask.text}: {error}")
        return
    if text.startswith(f"echo: {ask.text}"):
        tally.right += 1
    else:
        tally.wrong.append(f"{ask.text}: {text[:60]!r}")


async def _answer(client: openai.AsyncOpenAI, ask: Ask) -> str:
    filler = (FILLER * (ask.prompt_words // 10 + 1))[: ask.prompt_words * 4]
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": filler},
        {"role": "user", "content": ask.text},
    ]
    headers = {} if ask.deadline_seconds is None else {"X-Deadline": f"{ask.deadline_seconds:g}s"}
    if not ask.stream:
        answer = await client.chat.completions.create(
            model=ask.model, messages=messages, max_completion_tokens=ask.completion_tokens, extra_headers=headers
        )
        return answer.choices[0].message.content or ""
    stream = await client.chat.completions.create(
        model=ask.model,
        messages=messages,
        max_completion_tokens=ask.completion_tokens,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers=headers,
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

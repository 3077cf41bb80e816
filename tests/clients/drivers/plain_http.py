"""HTTP clients without an SDK: `python plain_http.py BASE_URL API_KEY requests|httpx|aiohttp|urllib|curl`."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

import scenes

URL, KEY, CLIENT = sys.argv[1:4]
READ_SECONDS = 60.0
"""The read timeout that is given: the longest silence. curl has none."""
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
Post = Callable[[str, bytes, dict[str, str], float], tuple[int, str]]


def by_requests(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str]:
    import requests  # noqa: PLC0415  only the one that is asked for need be there

    answer = requests.post(url, data=body, headers=headers, timeout=timeout)
    return answer.status_code, answer.text


def by_httpx(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str]:
    import httpx  # noqa: PLC0415  only the one that is asked for need be there

    answer = httpx.post(url, content=body, headers=headers, timeout=timeout)
    return answer.status_code, answer.text


def by_aiohttp(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str]:
    import aiohttp  # noqa: PLC0415  only the one that is asked for need be there

    async def post() -> tuple[int, str]:
        patience = aiohttp.ClientTimeout(total=None, sock_read=timeout)
        async with (
            aiohttp.ClientSession(timeout=patience) as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    return asyncio.run(post())


def by_urllib(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def by_curl(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str]:
    said = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    limit = ["-m", str(timeout)] if timeout < READ_SECONDS else []
    command = ["curl", "-sS", *limit, "-w", "\n%{http_code}", "--data-binary", "@-", *said, url]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    text, _, status = done.stdout.decode().rpartition("\n")
    return int(status), text


POSTS: dict[str, Post] = {
    "requests": by_requests,
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "urllib": by_urllib,
    "curl": by_curl,
}


def ask(path: str, key: str = KEY, timeout: float = READ_SECONDS, **body: object) -> tuple[int, str]:
    headers = HEADERS | {"Authorization": f"Bearer {key}"}
    return POSTS[CLIENT](URL + path, json.dumps(body).encode(), headers, timeout)


def said(text: str, *, model: str = scenes.MODEL, **more: object) -> tuple[int, str]:
    return ask("/chat/completions", model=model, messages=scenes.messages(text), **more)


def chat(**more: object) -> object:
    status, text = said(scenes.QUESTION, **more)
    answer = json.loads(text)
    (choice,) = answer["choices"]
    calls = [call["function"] for call in choice["message"].get("tool_calls") or ()]
    return [status, choice["message"]["content"], calls, choice["finish_reason"], answer["usage"]]


def chat_stream(**more: object) -> object:
    """Every event, without what differs between any two answers."""
    status, text = said(scenes.QUESTION, stream=True, stream_options={"include_usage": True}, **more)
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    calls = [call["function"] for choice in choices for call in choice["delta"].get("tool_calls") or ()]
    return [
        status,
        "".join(choice["delta"].get("content") or "" for choice in choices),
        "".join(call.get("name") or "" for call in calls),
        "".join(call.get("arguments") or "" for call in calls),
        [choice["finish_reason"] for choice in choices if choice["finish_reason"]],
        chunks[-1]["usage"],
        events[-1],
    ]


def embeddings() -> object:
    status, text = ask("/embeddings", model=scenes.EMBEDDING_MODEL, input=["a", "b"])
    answer = json.loads(text)
    return [status, [round(sum(one["embedding"]), 6) for one in answer["data"]], answer["usage"]]


def response() -> object:
    status, text = ask("/responses", model=scenes.MODEL, input=scenes.QUESTION)
    answer = json.loads(text)
    return [status, [part["content"][0]["text"] for part in answer["output"]], answer["usage"]]


def error(text: str = "error", **more: object) -> object:
    status, answer = said(text, **more)
    return [status, sorted(json.loads(answer).get("error", ()))]


def impatient() -> object:
    """With a timeout that these clients do not tell of: only for a proxy that is told how short it is."""
    status, text = said("impatient", timeout=scenes.IMPATIENCE_SECONDS)
    return [status, json.loads(text)["choices"][0]["message"]["content"]]


def cancelled() -> object:
    """All that these clients can do is give up."""
    try:
        return said(scenes.SLOW, timeout=scenes.CANCEL_SECONDS)
    except Exception:  # noqa: BLE001  each has a timeout exception of its own
        return "left"


scenes.play(
    {
        "chat": chat,
        "chat_stream": chat_stream,
        "tools": lambda: chat(tools=[scenes.TOOL]),
        "tools_stream": lambda: chat_stream(tools=[scenes.TOOL]),
        "structured": lambda: chat(response_format=scenes.FORMAT),
        "embeddings": embeddings,
        "response": response,
        "bad_request": lambda: error(nope=1),
        "not_found": lambda: error(model=scenes.UNKNOWN_MODEL),
        "too_many": lambda: error(scenes.TOO_MANY),
        "unauthorized": lambda: error(key="sk-nobody"),
        "impatient": impatient,
        "cancelled": cancelled,
    },
    only_if_named={"impatient"},
)

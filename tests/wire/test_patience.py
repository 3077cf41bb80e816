import math
from dataclasses import replace

import aiohttp
import httpx
import pytest
import requests
from multidict import CIMultiDict
from openai import OpenAI

from proxy.wire.patience import KeepAlive, Patience, Settings, identify
from tests.wire.conftest import Serve

SETTINGS = Settings(heartbeat_seconds=15, unknown_seconds=60, commit_share=0.4)
HTTP_1_1 = (1, 1)
INTERIM, WHITESPACE, SSE, NONE = KeepAlive.INTERIM, KeepAlive.WHITESPACE, KeepAlive.SSE, KeepAlive.NONE
OPENAI_PYTHON = "OpenAI/Python 2.54.0"
OPENAI_NODE = "OpenAI/JS 6.49.0"
READ, TOTAL, ENVOY = "X-Stainless-Read-Timeout", "x-stainless-timeout", "X-Envoy-Expected-Rq-Timeout-Ms"
VIA = ("Via", "1.1 x")


def patience(
    agent: str | None = None,
    *headers: tuple[str, str],
    stream: bool = False,
    version: tuple[int, int] = HTTP_1_1,
    settings: Settings = SETTINGS,
) -> Patience:
    every = CIMultiDict(headers)
    if agent is not None:
        every["User-Agent"] = agent
    return identify(every, http_version=version, stream=stream, settings=settings)


@pytest.mark.parametrize(
    ("agent", "client", "keepalive", "silence_seconds"),
    [
        ("OpenAI/Python 2.54.0", "openai-python", INTERIM, 600),
        ("AsyncOpenAI/Python 3.51.0", "openai-python", INTERIM, 600),
        ("AzureOpenAI/Python 2.54.0", "openai-python", INTERIM, 600),
        ("AsyncAzureOpenAI/Python 2.54.0", "openai-python", INTERIM, 600),
        ("Python/3.11 aiohttp/3.14.5", "aiohttp", INTERIM, 300),
        ("python-httpx/0.28.1", "httpx", INTERIM, 5),
        ("python-httpx2/2.16.2", "httpx", INTERIM, 5),
        ("curl/7.88.1", "curl", INTERIM, 180),
        ("OpenAI/JS 6.49.0", "openai-node", WHITESPACE, 300),
        ("AzureOpenAI/JS 6.49.0", "openai-node", WHITESPACE, 300),
        ("ai/5.0.0 ai-sdk/openai/2.0.0 runtime/node.js/20", "ai-sdk", WHITESPACE, 300),
        ("ai-sdk/provider-utils/3.0.0 runtime/node.js/20", "ai-sdk", WHITESPACE, 300),
        ("node", "node", WHITESPACE, 300),
        ("undici", "node", WHITESPACE, 300),
        ("python-requests/2.34.2", "requests", WHITESPACE, 60),
        ("python-urllib3/2.8.0", "urllib3", WHITESPACE, 60),
        ("Python-urllib/3.11", "urllib", WHITESPACE, 60),
        ("Go-http-client/1.1", "go", WHITESPACE, 60),
        ("Java-http-client/17.0.15", "java", WHITESPACE, 60),
        ("Java/17.0.15", "java", WHITESPACE, 60),
        ("OpenAI/Go 1.0.0", "unknown", WHITESPACE, 60),
        ("Mozilla/5.0 (X11) curl/7.0 OpenAI/Python aiohttp/3", "unknown", WHITESPACE, 60),
        ("Python/3.11", "unknown", WHITESPACE, 60),
        ("", "unknown", WHITESPACE, 60),
        (None, "unknown", WHITESPACE, 60),
    ],
)
def test_each_client_is_kept_alive_in_the_way_that_it_bears(
    agent: str | None, client: str, keepalive: KeepAlive, silence_seconds: float
) -> None:
    found = patience(agent)
    assert (found.client, found.keepalive, found.silence_seconds) == (client, keepalive, silence_seconds)
    assert found.heartbeat_seconds == min(15, silence_seconds / 3)
    assert found.commit_after_seconds == (None if keepalive is INTERIM else silence_seconds * 0.4)


def test_a_stock_openai_client_is_recognized(sdk: Serve, seen: list[dict[str, str]]) -> None:
    client: OpenAI = sdk(b"data: [DONE]\n\n")
    list(client.chat.completions.create(model="m", messages=[], stream=True))
    list(client.with_options(timeout=30).chat.completions.create(model="m", messages=[], stream=True))
    default, hurried = (
        identify(CIMultiDict(headers), http_version=HTTP_1_1, stream=False, settings=SETTINGS) for headers in seen
    )
    assert default == Patience("openai-python", INTERIM, 600.0, 15.0, None)
    assert hurried == Patience("openai-python", INTERIM, 30.0, 10.0, None)


def test_the_names_that_other_stock_clients_give_themselves_are_known() -> None:
    with httpx.Client() as client:
        assert patience(client.headers["User-Agent"]).client == "httpx"
    with requests.Session() as session:
        assert patience(str(session.headers["User-Agent"])).client == "requests"
    assert patience(aiohttp.http.SERVER_SOFTWARE).client == "aiohttp"


@pytest.mark.parametrize(
    ("headers", "silence_seconds"),
    [
        ([(READ, "60")], 60),
        ([(READ, "0.5")], 0.5),
        ([(READ, "7200")], 600),
        ([(TOTAL, "20")], 20),
        ([(TOTAL, "20"), (READ, "10")], 10),
        ([(ENVOY, "15000")], 15),
        ([(READ, "600"), (ENVOY, "15000")], 15),
        ([(READ, "0")], 600),
        ([(READ, "-1")], 600),
        ([(READ, "None")], 600),
        ([(READ, "nan")], 600),
        ([(READ, "inf")], 600),
        ([(READ, "")], 600),
    ],
)
def test_a_client_that_says_how_long_it_waits_is_believed_when_that_is_shorter(
    headers: list[tuple[str, str]], silence_seconds: float
) -> None:
    assert patience(OPENAI_PYTHON, *headers).silence_seconds == silence_seconds


@pytest.mark.parametrize("said", [20.0, 7200.0])
def test_an_unknown_client_that_says_how_long_it_waits_is_believed(said: float) -> None:
    found = patience("Something/1.0", (TOTAL, f"{said}"))
    assert (found.silence_seconds, found.commit_after_seconds) == (said, said * 0.4)


def test_a_client_that_claims_a_tiny_timeout_does_not_set_the_pace() -> None:
    assert patience(OPENAI_PYTHON, (READ, "0.000001")).heartbeat_seconds == 0.1


def test_a_faster_heartbeat_can_be_configured() -> None:
    assert patience(OPENAI_PYTHON, settings=replace(SETTINGS, heartbeat_seconds=0.02)).heartbeat_seconds == 0.02


PROXY_HEADERS = (
    *("Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"),
    *("CF-Ray", "X-Envoy-External-Address", "X-Amzn-Trace-Id"),
)


@pytest.mark.parametrize("name", PROXY_HEADERS)
@pytest.mark.parametrize("agent", [OPENAI_PYTHON, OPENAI_NODE, "curl/7.88.1", "python-requests/2.34.2"])
def test_no_interim_response_goes_through_another_proxy(name: str, agent: str) -> None:
    found = patience(agent, (name, "x"))
    assert found.keepalive is WHITESPACE
    assert found.silence_seconds == 60
    assert found.commit_after_seconds == 24


def test_a_hurried_client_behind_another_proxy_is_still_hurried() -> None:
    assert patience(OPENAI_PYTHON, VIA, (READ, "20")).silence_seconds == 20


@pytest.mark.parametrize("agent", [OPENAI_PYTHON, OPENAI_NODE, "python-requests/2.34.2", None])
@pytest.mark.parametrize("forced", ["auto", "interim", "whitespace", "none"])
def test_a_stream_gets_comments_whoever_reads_it(agent: str | None, forced: str) -> None:
    found = patience(agent, stream=True, settings=settings_with(forced))
    assert found.keepalive is SSE
    assert found.commit_after_seconds == found.silence_seconds * 0.4


def test_a_stream_behind_another_proxy_gets_comments_too() -> None:
    assert patience(OPENAI_PYTHON, VIA, stream=True).keepalive is SSE


@pytest.mark.parametrize("agent", [OPENAI_PYTHON, OPENAI_NODE, None])
@pytest.mark.parametrize("forced", ["interim", "whitespace", "none"])
def test_one_way_can_be_forced_on_everyone(agent: str | None, forced: str) -> None:
    found = patience(agent, VIA, settings=settings_with(forced))
    assert found.keepalive == forced
    assert (found.commit_after_seconds is None) == (forced != "whitespace")


@pytest.mark.parametrize("version", [(1, 0), (0, 9)])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("forced", ["auto", "interim", "whitespace"])
def test_nothing_keeps_an_http_1_0_client_alive(version: tuple[int, int], *, stream: bool, forced: str) -> None:
    found = patience(OPENAI_PYTHON, stream=stream, version=version, settings=settings_with(forced))
    assert (found.keepalive, found.commit_after_seconds) == (NONE, None)


@pytest.mark.parametrize(
    ("heartbeat", "unknown", "share", "said"),
    [
        (0, 60, 0.4, "heartbeat_seconds"),
        (-1, 60, 0.4, "heartbeat_seconds"),
        (math.nan, 60, 0.4, "heartbeat_seconds"),
        (math.inf, 60, 0.4, "heartbeat_seconds"),
        (15, 0, 0.4, "unknown_seconds"),
        (15, math.nan, 0.4, "unknown_seconds"),
        (15, math.inf, 0.4, "unknown_seconds"),
        (15, 60, 0, "commit_share"),
        (15, 60, 1, "commit_share"),
        (15, 60, math.nan, "commit_share"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(heartbeat: float, unknown: float, share: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(heartbeat_seconds=heartbeat, unknown_seconds=unknown, commit_share=share)


def settings_with(forced: str) -> Settings:
    match forced:
        case "auto" | "interim" | "whitespace" | "none":
            return replace(SETTINGS, keepalive=forced)
        case _:
            raise AssertionError(forced)

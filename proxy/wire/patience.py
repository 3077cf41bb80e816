"""How long each client waits in silence, and what keeps it waiting. Measured with real clients; kept true by tests.

- Interim `102 Processing` responses reset the read timer of httpx (openai-python), aiohttp and curl, and leave the
  final status free. requests and urllib3 take a 102 for the final answer, old Go gives up after five, so they are only
  sent to clients that are known to bear them, and never through another proxy: nginx and Envoy break on them.
- White space before the JSON body passes everywhere, but spends the status line: so it begins as late as the
  client's patience allows. fetch in Node waits 300 s for the headers, whatever the SDK's own timeout says.
- Streams get comment lines.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class KeepAlive(StrEnum):
    """What is sent while an answer is waited for."""

    INTERIM = "interim"
    WHITESPACE = "whitespace"
    SSE = "sse"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Settings:
    """How held connections are kept alive.

    - `keepalive`: `auto` picks by client; the others force one way on every client that does not stream.
    - `heartbeat_seconds`: the longest silence on a connection that is being kept alive.
    - `unknown_seconds`: the patience of clients that are not known, and of anything behind another proxy.
    - `commit_share`: the status line is spent after this share of the client's patience.
    """

    keepalive: Literal["auto", "interim", "whitespace", "none"] = "auto"
    heartbeat_seconds: float = 15.0
    unknown_seconds: float = 60.0
    commit_share: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_seconds < math.inf:
            raise ValueError("heartbeat_seconds: must be more than 0 seconds, such as 15s")
        if not 0 < self.unknown_seconds < math.inf:
            raise ValueError("unknown_seconds: must be more than 0 seconds, such as 60s")
        if not 0 < self.commit_share < 1:
            raise ValueError("commit_share: must lie between 0 and 1, such as 0.4")


@dataclass(frozen=True, slots=True)
class Patience:
    """One client's. `client` is a label-sized word. `commit_after_seconds` is when the status line must be spent, from
    the start of the hold; None: never before the answer.
    """

    client: str
    keepalive: KeepAlive
    silence_seconds: float
    heartbeat_seconds: float
    commit_after_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of the table: a User-Agent's beginning, who that is, and how it waits."""

    begins: str
    client: str
    keepalive: KeepAlive
    silence_seconds: float | None


_TABLE = (
    _Known("openai/python", "openai-python", KeepAlive.INTERIM, 600.0),
    _Known("asyncopenai/python", "openai-python", KeepAlive.INTERIM, 600.0),
    _Known("azureopenai/python", "openai-python", KeepAlive.INTERIM, 600.0),
    _Known("asyncazureopenai/python", "openai-python", KeepAlive.INTERIM, 600.0),
    _Known("openai/js", "openai-node", KeepAlive.WHITESPACE, 300.0),
    _Known("azureopenai/js", "openai-node", KeepAlive.WHITESPACE, 300.0),
    _Known("ai/", "ai-sdk", KeepAlive.WHITESPACE, 300.0),
    _Known("ai-sdk/", "ai-sdk", KeepAlive.WHITESPACE, 300.0),
    _Known("node", "node", KeepAlive.WHITESPACE, 300.0),
    _Known("undici", "node", KeepAlive.WHITESPACE, 300.0),
    _Known("python-httpx2/", "httpx", KeepAlive.INTERIM, 5.0),
    _Known("python-httpx/", "httpx", KeepAlive.INTERIM, 5.0),
    _Known("curl/", "curl", KeepAlive.INTERIM, math.inf),
    _Known("python-requests/", "requests", KeepAlive.WHITESPACE, None),
    _Known("python-urllib3/", "urllib3", KeepAlive.WHITESPACE, None),
    _Known("python-urllib/", "urllib", KeepAlive.WHITESPACE, None),
    _Known("go-http-client/", "go", KeepAlive.WHITESPACE, None),
    _Known("java-http-client/", "java", KeepAlive.WHITESPACE, None),
    _Known("java/", "java", KeepAlive.WHITESPACE, None),
)
_AIOHTTP = "aiohttp/"
_AIOHTTP_SECONDS = 300.0
_PROXY_HEADERS = (
    *("via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
    *("cf-ray", "x-envoy-external-address", "x-amzn-trace-id"),
)
_OWN_TIMEOUTS = ("x-stainless-read-timeout", "x-stainless-timeout")
_MILLISECONDS = 1000.0
_BEATS_PER_SILENCE = 3.0
_FASTEST_SECONDS = 0.1
"""No client makes this proxy beat faster, whatever timeout it claims to have."""
_HTTP_1_1 = (1, 1)


def identify(
    headers: Mapping[str, str], *, http_version: tuple[int, int], stream: bool, settings: Settings
) -> Patience:
    """Who is this, how long does it wait, and what keeps it waiting. `headers` must ignore case."""
    known = _known(headers.get("User-Agent", "").lower())
    proxied = any(name in headers for name in _PROXY_HEADERS)
    silence = _silence_seconds(headers, known, settings, proxied=proxied)
    keepalive = _keepalive(known, settings, proxied=proxied, stream=stream, http_version=http_version)
    commits = keepalive in {KeepAlive.WHITESPACE, KeepAlive.SSE}
    return Patience(
        client=known.client,
        keepalive=keepalive,
        silence_seconds=silence,
        heartbeat_seconds=min(settings.heartbeat_seconds, max(_FASTEST_SECONDS, silence / _BEATS_PER_SILENCE)),
        commit_after_seconds=silence * settings.commit_share if commits else None,
    )


def _known(agent: str) -> _Known:
    for row in _TABLE:
        if agent.startswith(row.begins):
            return row
    if _AIOHTTP in agent and agent.startswith("python/"):
        return _Known(_AIOHTTP, "aiohttp", KeepAlive.INTERIM, _AIOHTTP_SECONDS)
    return _Known("", "unknown", KeepAlive.WHITESPACE, None)


def _silence_seconds(headers: Mapping[str, str], known: _Known, settings: Settings, *, proxied: bool) -> float:
    """The shortest of what the client says, what it does unless told otherwise, and what may sit between."""
    said = [seconds for name in _OWN_TIMEOUTS if (seconds := _positive(headers.get(name))) is not None]
    envoy = _positive(headers.get("x-envoy-expected-rq-timeout-ms"))
    if envoy is not None:
        said.append(envoy / _MILLISECONDS)
    if known.silence_seconds is not None:
        said.append(known.silence_seconds)
    if proxied or not said:
        said.append(settings.unknown_seconds)
    return min(said) if math.isfinite(min(said)) else settings.unknown_seconds * _BEATS_PER_SILENCE


def _keepalive(
    known: _Known, settings: Settings, *, proxied: bool, stream: bool, http_version: tuple[int, int]
) -> KeepAlive:
    if http_version < _HTTP_1_1:
        return KeepAlive.NONE  # no interim responses, and no chunks to send white space in
    if stream:
        return KeepAlive.SSE
    if settings.keepalive != "auto":
        return KeepAlive(settings.keepalive)
    if proxied and known.keepalive is KeepAlive.INTERIM:
        return KeepAlive.WHITESPACE
    return known.keepalive


def _positive(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None

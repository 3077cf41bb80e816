"""Real clients, unchanged: what they see directly at the provider they see through Standby, urgent and deferred.

Each has a driver (`drivers/`) that plays chat, streams, tools, structured output, embeddings, responses, errors and
leaving. It is run three times, with nothing but another base URL.
"""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from shutil import which

import pytest

from tests.clients.drivers import scenes
from tests.clients.environments import Node, Python
from tests.processes import FAST_CONFIG, Running, emulator, standby

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
KEY = "sk-client"
OURS = Python()
FRAMEWORKS = Python(
    "frameworks",
    (
        *("langchain-openai", "llama-index-llms-openai", "llama-index-embeddings-openai"),
        *("instructor", "pydantic-ai-slim[openai]"),
    ),
)
NODE = Node("node", ("openai@6", "ai@6", "@ai-sdk/openai@3", "zod"))
ONLY_HERE = {"too_many"}
"""What a deferred request is spared: Standby waits and asks again."""


@dataclass(frozen=True)
class Client:
    """A driver, where it runs, and what it is told besides; `batched` is how many of its scenes are bought so."""

    environment: Python | Node
    driver: str
    arguments: tuple[str, ...] = ()
    batched: int = 8


def _long(client: Client) -> object:
    return pytest.param(client, marks=pytest.mark.long)


CLIENTS: dict[str, object] = {
    "openai-python": Client(OURS, "openai_sdk", batched=12),
    "openai-python-3": Client(Python("openai-3", ("openai>=3,<4",)), "openai_sdk", batched=12),
    "requests": Client(OURS, "plain_http", ("requests",)),
    "httpx": Client(OURS, "plain_http", ("httpx",)),
    "aiohttp": Client(OURS, "plain_http", ("aiohttp",)),
    "curl": pytest.param(
        Client(OURS, "plain_http", ("curl",)), marks=pytest.mark.skipif(which("curl") is None, reason="no curl here")
    ),
    "urllib": Client(OURS, "plain_http", ("urllib",)),
}
CLIENTS_TO_INSTALL = {
    "openai-python-1": Client(Python("openai-1", ("openai<2",)), "openai_sdk", batched=12),
    "litellm": Client(Python("litellm", ("litellm", "mcp")), "litellm_sdk", batched=8),
    "langchain": Client(FRAMEWORKS, "langchain_sdk", batched=10),
    "llamaindex": Client(FRAMEWORKS, "llamaindex_sdk", batched=10),
    "instructor": Client(FRAMEWORKS, "instructor_sdk", batched=6),
    "pydantic-ai": Client(FRAMEWORKS, "pydantic_ai_sdk", batched=7),
    "openai-node": Client(NODE, "openai_node", batched=10),
    "vercel-ai-sdk": Client(NODE, "ai_sdk", batched=8),
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    folder = tmp_path_factory.mktemp("every_client")
    options = ("--turnaround", "constant:300", "--key", KEY)
    with (
        emulator(folder, *options) as provider,
        standby(folder, provider, config=FAST_CONFIG + "server: {return_grace: 1s}\n") as proxy,
    ):
        refused = {"operation": "chat", "kind": "status", "status": 429, "count": None, "marker": scenes.TOO_MANY}
        slow = {"operation": "chat", "kind": "delay", "seconds": 1200, "count": None, "marker": scenes.SLOW}
        faults = json.dumps({"faults": [refused, slow]}).encode()
        urllib.request.urlopen(provider.url + "/emulator/faults", faults).close()
        yield provider, proxy


@pytest.mark.parametrize(
    "client", [*CLIENTS.values(), *map(_long, CLIENTS_TO_INSTALL.values())], ids=[*CLIENTS, *CLIENTS_TO_INSTALL]
)
def test_a_client_sees_the_same_whichever_tier_serves_it(client: Client, processes: tuple[Running, Running]) -> None:
    provider, proxy = processes
    command = client.environment.command(client.driver)
    direct = _drive(command, client, provider.url + "/v1")
    urgent = _drive(command, client, proxy.url + "/v1")
    before = _bought_by_batch(provider)
    deferred = _drive(command, client, proxy.url + "/within/60s/v1")
    assert not {name: seen for name, seen in direct.items() if isinstance(seen, dict) and "broke" in seen}
    assert urgent == direct
    assert _without(deferred, ONLY_HERE) == _without(direct, ONLY_HERE)
    assert _bought_by_batch(provider) - before >= client.batched
    _until_nobody_is_held(proxy)


def _drive(command: list[str], client: Client, url: str) -> dict[str, object]:
    done = subprocess.run(
        [*command, url, KEY, *client.arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout.splitlines()[-1])  # LiteLLM prints advice first
    return seen


def _without(seen: dict[str, object], names: set[str]) -> dict[str, object]:
    return {name: what for name, what in seen.items() if name not in names}


def _bought_by_batch(provider: Running) -> int:
    with urllib.request.urlopen(provider.url + "/emulator/account") as page:
        tiers = json.load(page)["tiers"]
    return int(tiers.get("batch", {"requests": 0})["requests"])


def _until_nobody_is_held(proxy: Running) -> None:
    """Also not whoever has left."""
    give_up_at = time.monotonic() + 10
    while (held := _gauge(proxy, "standby_held_connections ")) != 0:
        assert time.monotonic() < give_up_at, f"{held} clients are held though all have left"
        time.sleep(0.1)


def _gauge(proxy: Running, name: str) -> float:
    with urllib.request.urlopen(proxy.url + "/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

"""Holds that last longer than clients and the proxies between bear in silence: compressed, and once for real."""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.driving import CLIENTS, CLIENTS_TO_INSTALL
from tests.clients.middlemen import MIDDLEMEN, haproxy, nginx
from tests.processes import FAST_CONFIG, Running, emulator, standby

pytestmark = pytest.mark.clients
KEY = "sk-patient"
COMPRESSED = FAST_CONFIG + "server: {hold: {heartbeat: 100ms, unknown: 300ms}}\n"
"""The patience of clients that do not tell of theirs, a two hundredth of what it is otherwise."""
SILENCE = "1s"
REAL_SECONDS = 15 * 60.0
REAL = ("openai-python", "requests", "httpx", "aiohttp", "curl", "urllib", "openai-node", "vercel-ai-sdk")


def _bought(provider: Running) -> int:
    with urllib.request.urlopen(provider.url + "/emulator/account") as page:
        tiers = json.load(page)["tiers"]
    return sum(int(tier["requests"]) for tier in tiers.values())


@pytest.mark.parametrize("name", ["requests", "httpx", "aiohttp", "urllib"])
def test_a_clients_read_timeout_does_not_end_a_hold(name: str, tmp_path: Path) -> None:
    with (
        emulator(tmp_path, "--turnaround", "constant:1500") as provider,
        standby(tmp_path, provider, config=COMPRESSED) as proxy,
    ):
        direct = CLIENTS[name].drive(provider.url + "/v1", KEY, "impatient")
        assert CLIENTS[name].drive(proxy.url + "/within/60s/v1", KEY, "impatient") == direct
        assert _bought(provider) == 2


@pytest.mark.long
@pytest.mark.parametrize("middleman", MIDDLEMEN)
@pytest.mark.parametrize("name", ["openai-python", "requests", "openai-node"])
def test_a_proxy_between_does_not_end_a_hold(name: str, middleman: str, tmp_path: Path) -> None:
    client = (CLIENTS | CLIENTS_TO_INSTALL)[name]
    with (
        emulator(tmp_path, "--turnaround", "constant:1800") as provider,
        standby(tmp_path, provider, config=COMPRESSED) as proxy,
        MIDDLEMEN[middleman](tmp_path, proxy, silence=SILENCE) as url,
    ):
        scenes = ("chat", "chat_stream", "tools", "tools_stream", "embeddings")
        direct = client.drive(provider.url + "/v1", KEY, *scenes)
        assert client.drive(url + "/v1", KEY, *scenes) == direct
        assert client.drive(url + "/within/60s/v1", KEY, *scenes) == direct
        assert _bought(provider) == 3 * len(scenes)


@pytest.mark.long
@pytest.mark.timeout(REAL_SECONDS + 120)
def test_eleven_minutes_are_held_for_stock_clients_as_they_are(tmp_path: Path) -> None:
    """Past the 300 s that fetch in Node waits for headers and the 600 s of OpenAI's SDKs; one purchase each."""
    clients = CLIENTS | CLIENTS_TO_INSTALL
    with ExitStack() as stack:
        provider = stack.enter_context(emulator(tmp_path, "--turnaround", "constant:680", "--time-scale", "1"))
        proxy = stack.enter_context(standby(tmp_path, provider, config="{}\n"))
        between = [stack.enter_context(middleman(tmp_path, proxy)) for middleman in (nginx, haproxy)]
        direct = {name: clients[name].drive(provider.url + "/v1", KEY, "chat") for name in REAL}
        holds = [(name, proxy.url) for name in REAL]
        holds += [(name, url) for name in ("openai-python", "openai-node") for url in between]
        before = _bought(provider)

        def hold(name: str, url: str) -> tuple[str, dict[str, object]]:
            return name, clients[name].drive(url + "/within/2h/v1", KEY, "chat", seconds=REAL_SECONDS)

        with ThreadPoolExecutor(len(holds)) as pool:
            for name, seen in pool.map(lambda held: hold(*held), holds):
                assert seen == direct[name], name
        assert _bought(provider) - before == len(holds)

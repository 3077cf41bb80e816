"""Real clients, unchanged: what they see directly at the provider they see through Standby, urgent and deferred.

Each has a driver (`drivers/`) that plays chat, streams, tools, structured output, embeddings, responses, errors and
leaving. It is run three times, with nothing but another base URL.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from shutil import which

import pytest

from tests.clients.drivers import scenes
from tests.clients.driving import CLIENTS, CLIENTS_TO_INSTALL, Client
from tests.processes import FAST_CONFIG, Running, emulator, standby

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
KEY = "sk-client"
SPARED = {"too_many"}
"""What deferred requests do not see: Standby waits and asks again."""


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


def _when_wanted(name: str, client: Client) -> object:
    if name in CLIENTS_TO_INSTALL:
        return pytest.param(client, marks=pytest.mark.long)
    return pytest.param(client, marks=pytest.mark.skipif(name == "curl" and which("curl") is None, reason="no curl"))


ALL = CLIENTS | CLIENTS_TO_INSTALL


@pytest.mark.parametrize("client", [_when_wanted(name, client) for name, client in ALL.items()], ids=ALL)
def test_a_client_sees_the_same_whichever_tier_serves_it(client: Client, processes: tuple[Running, Running]) -> None:
    provider, proxy = processes
    direct = client.drive(provider.url + "/v1", KEY)
    urgent = client.drive(proxy.url + "/v1", KEY)
    before = _bought_by_batch(provider)
    deferred = client.drive(proxy.url + "/within/60s/v1", KEY)
    assert urgent == direct
    assert _without(deferred, SPARED) == _without(direct, SPARED)
    assert _bought_by_batch(provider) - before >= client.batched
    _until_nobody_is_held(proxy)


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

"""Whom webhooks are told to, when, and how often: with a real receiver, on virtual time."""

import asyncio
import base64
import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from proxy.config.settings import UpstreamSettings
from proxy.delivery.webhooks import Settings
from proxy.domain.events import WebhookCalled
from proxy.domain.ids import TenantId
from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import Constant
from proxy.server.auth import ProxyKey
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map
from tests.world import HOUR, MINUTE, MONDAY_NOON, Reply, World, living, play


def _secret(letter: bytes) -> str:
    return "whsec_" + base64.b64encode(letter * 24).decode()


ENVIRON = {"STANDBY_WEBHOOK_SECRET": _secret(b"c")}
SETTINGS = Settings(hosts=("127.0.0.1",), allow_private=True)


@dataclass
class Receiver:
    """Notes what it is told, and answers with the statuses that a test says, then with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    told: list[tuple[dict[str, str], bytes, float]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.told.append((dict(request.headers), body, asyncio.get_running_loop().time()))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "http://127.0.0.1/"} if status < 400 else {})

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, body, _ in self.told]


@asynccontextmanager
async def _receiver(*statuses: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(statuses=list(statuses))
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def _leave(world: World, receiver: Receiver, text: str = "hello", **more: object) -> Reply:
    headers = {"Prefer": "respond-async", "X-Standby-Webhook": receiver.url}
    return await world.ask(text, deadline="4h", headers=headers, **more)  # type: ignore[arg-type]  # body fields


def test_a_webhook_is_told_of_the_answer_once_with_a_signature(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver() as receiver:
            left = await _leave(world, receiver)
            assert left.status == 202
            await world.until(lambda: bool(receiver.told), within=2 * HOUR)
            await world.sleep(3 * HOUR)
            ((headers, body, _),) = receiver.told
            at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            expected = Webhook(ENVIRON["STANDBY_WEBHOOK_SECRET"]).sign(left.json["id"], at, body.decode())
            assert (headers["webhook-id"], headers["webhook-signature"]) == (left.json["id"], expected)
            (event,) = receiver.events
            assert event["type"] == "deferred.completed"
            data = event["data"]
            assert isinstance(data, dict)
            assert (data["tier"], data["response"]["status_code"]) == ("batch", 200)
            assert "echo: hello" in json.dumps(data["response"]["body"])
            (called,) = world.seen(WebhookCalled)
            assert (called.host, called.status, called.error, called.retry_at) == ("127.0.0.1", 200, "", None)

    play(tmp_path, story, webhooks=SETTINGS, environ=ENVIRON)


@pytest.mark.parametrize("wrong", [500, 404, 307])
def test_a_receiver_that_does_not_say_yes_is_told_again_with_growing_waits(wrong: int, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver(*[wrong] * 5) as receiver:
            await _leave(world, receiver)
            await world.until(lambda: len(receiver.told) == 6, within=2 * HOUR)
            times = [at for _, _, at in receiver.told]
            waits = [later - earlier for earlier, later in itertools.pairwise(times)]
            assert 4 < waits[0] < 8
            assert all(1.5 < later / earlier < 2.6 for earlier, later in itertools.pairwise(waits[1:]))
            assert len({headers["webhook-id"] for headers, _, _ in receiver.told}) == 1
            await world.sleep(2 * HOUR)
            assert len(receiver.told) == 6

    play(tmp_path, story, webhooks=SETTINGS, environ=ENVIRON)


def test_a_receiver_that_is_gone_is_told_nothing_more(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver(410) as receiver:
            await _leave(world, receiver)
            await world.sleep(5 * HOUR)
            assert len(receiver.told) == 1

    play(tmp_path, story, webhooks=SETTINGS, environ=ENVIRON)


def test_failed_and_cancelled_requests_are_told_too(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver() as receiver:
            await _leave(world, receiver, no_such_parameter=1)
            left = await _leave(world, receiver)
            alice = {"Authorization": "Bearer sk-alice"}
            assert (await world.send("DELETE", f"/v1/deferred/{left.json['id']}", headers=alice)).status == 200
            await world.until(lambda: len(receiver.told) == 2, within=5 * HOUR)
            assert {event["type"] for event in receiver.events} == {"deferred.failed", "deferred.cancelled"}

    play(tmp_path, story, webhooks=SETTINGS, environ=ENVIRON)


def test_a_held_client_and_its_webhook_both_hear(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver() as receiver:
            answer = await world.ask("hello", deadline="4h", headers={"X-Standby-Webhook": receiver.url})
            assert answer.status == 200
            await world.until(lambda: bool(receiver.told), within=MINUTE)

    play(tmp_path, story, webhooks=SETTINGS, environ=ENVIRON)


def test_each_tenants_webhooks_are_signed_with_its_own_secret(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver() as receiver:
            for key in ("sb-one", "sb-two"):
                await _leave(world, receiver, key, key=key)
            await world.until(lambda: len(receiver.told) == 2, within=2 * HOUR)
            for headers, body, _ in receiver.told:
                at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
                secret = _secret(b"o") if b"echo: sb-one" in body else _secret(b"c")
                assert headers["webhook-signature"] == Webhook(secret).sign(headers["webhook-id"], at, body.decode())

    def key(name: str, **more: str) -> ProxyKey:
        return ProxyKey(name, TenantId(name), hashlib.sha256(f"sb-{name}".encode()).hexdigest(), **more)  # type: ignore[arg-type]  # text fields

    play(
        tmp_path,
        story,
        webhooks=SETTINGS,
        environ=ENVIRON | {"ONE_SECRET": _secret(b"o"), "PROVIDER_KEY": "sk-real"},
        keys=(key("one", webhook_secret_env="ONE_SECRET"), key("two")),
        upstream=UpstreamSettings(api_key_env="PROVIDER_KEY"),
    )


def test_a_url_that_may_not_be_called_is_refused_before_anything_is_accepted(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        async with _receiver() as receiver:
            refused = await _leave(world, replace(receiver, url="https://evil.example/"))
            assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_webhook")
            assert refused.json["error"]["param"] == "X-Standby-Webhook"
            assert await world.service.desk.store.list_requests(None, after=None, limit=9) == []

    play(tmp_path, story, webhooks=SETTINGS, environ=ENVIRON)


def test_a_restart_forgets_no_webhook(tmp_path: Path) -> None:
    async def whole() -> None:
        settings = EmulatorSettings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0)
        clock = LoopClock()
        async with serving(settings, LoopClock(), read_cost_map().models) as provider:
            async with living(tmp_path, provider, clock, webhooks=SETTINGS, environ=ENVIRON) as world:
                receiver = Receiver(url="http://127.0.0.1:9/nobody")
                await _leave(world, receiver)
                await world.until(lambda: len(world.seen(WebhookCalled)) == 2, within=2 * HOUR)
                assert all(called.error for called in world.seen(WebhookCalled))
            async with living(tmp_path, provider, clock, webhooks=SETTINGS, environ=ENVIRON, seed=1) as world:
                await world.until(lambda: bool(world.seen(WebhookCalled)), within=HOUR)

    run(whole(), start_at=MONDAY_NOON)

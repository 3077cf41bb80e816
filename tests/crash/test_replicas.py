"""Several replicas on one Redis, as real processes: killed, paused, stopped, and with Redis taken away from them."""

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from tests.processes import FAST_CONFIG, Running, emulator, serve, stop, until_paused
from tests.redis_server import RedisServer, binaries

CONFIG = FAST_CONFIG + "  sweep: 0.5s\n  orphan: 3s\nstore: {replicas: {lease: 1.5s, share: 0.3s}}\n"
REQUESTS = 20


@dataclass
class House:
    """A provider, a Redis, and replicas in front of them."""

    folder: Path
    provider: Running
    redis: RedisServer
    replicas: list[Running]

    def start(self, *options: str, failpoint: str = "") -> Running:
        """One more replica."""
        folder = self.folder / f"replica-{len(self.replicas)}"
        folder.mkdir(exist_ok=True)
        environ = {
            "STANDBY_SECRET_KEY": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=",
            "STANDBY_FAILPOINT": failpoint,
        }
        arguments = ("--store", self.redis.url, *(options or ("--port", "0")))
        running = serve(folder, self.provider, *arguments, config=CONFIG, environ=environ)
        self.replicas.append(running)
        return running

    def bought(self, text: str) -> int:
        """How often answers to a text were bought."""
        with urllib.request.urlopen(f"{self.provider.url}/emulator/lines?text={text}") as page:
            bodies = json.load(page)["bodies"]
        return sum(int(body["sync"]) + int(body["batch"]) for body in bodies)

    def gauge(self, replica: Running, name: str) -> float:
        """One of a replica's own metrics."""
        with urllib.request.urlopen(replica.url + "/metrics") as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + " ", name + "{")))

    def leave(self, replica: Running, text: str) -> None:
        """A deferrable request whose answer is fetched later, by its idempotency key."""
        headers = {"X-Deadline": "45s", "Prefer": "respond-async", "Idempotency-Key": text}
        body = {"messages": [{"role": "user", "content": text}], "model": "gpt-4o-mini"}  # as the SDK writes it
        call = urllib.request.Request(
            replica.url + "/v1/chat/completions",
            json.dumps(body, separators=(",", ":")).encode(),
            {"Authorization": "Bearer sk-replicas", **headers},
        )
        urllib.request.urlopen(call).close()

    def held(self) -> list[float]:
        """How many clients each replica holds."""
        return [self.gauge(replica, "standby_held_connections") for replica in self.replicas]

    def until_all_are_held(self) -> None:
        give_up_at = time.monotonic() + 15
        while sum(self.held()) < REQUESTS:
            assert time.monotonic() < give_up_at, self.held()
            time.sleep(0.05)

    def until_no_file_is_left(self) -> None:
        give_up_at = time.monotonic() + 15
        while files := self._account()["files"]:
            assert time.monotonic() < give_up_at, files
            time.sleep(0.2)

    def _account(self) -> dict[str, object]:
        with urllib.request.urlopen(self.provider.url + "/emulator/account") as page:
            account: dict[str, object] = json.load(page)
            return account

    def readiness(self, replica: Running) -> str:
        """What a replica says about taking deferred requests."""
        try:
            with urllib.request.urlopen(replica.url + "/readyz") as page:
                shown = json.load(page)
        except urllib.error.HTTPError as refusal:
            with refusal:
                shown = json.load(refusal)
        return str(shown["status"])

    def buyer_and_other(self) -> tuple[Running, Running]:
        """Of two replicas, the one that looks after the model's deferred requests, and the other one."""
        self.leave(self.replicas[0], "pilot")
        give_up_at = time.monotonic() + 10
        while time.monotonic() < give_up_at:
            for number, replica in enumerate(self.replicas):
                if self.gauge(replica, "standby_open_requests"):
                    return replica, self.replicas[1 - number]
            time.sleep(0.05)
        raise AssertionError("nobody looks after the request")


@contextmanager
def house(tmp_path: Path, replicas: int, *, turnaround: str = "constant:600") -> Iterator[House]:
    with ExitStack() as stack:
        provider = stack.enter_context(emulator(tmp_path, "--turnaround", turnaround))
        redis = RedisServer(binaries()["valkey"], tmp_path / "redis")
        redis.start()
        stack.callback(redis.kill)
        made = House(tmp_path, provider, redis, [])
        try:
            for _ in range(replicas):
                made.start()
            yield made
        finally:
            for running in made.replicas:
                if running.process.poll() is None:
                    running.process.send_signal(signal.SIGCONT)
                stop(running)


async def ask(url: str, text: str, *, deadline: str | None = "45s", retries: int = 12, key: str | None = None) -> str:
    """A stock client; its retries carry on over a restart."""
    headers = ({"X-Deadline": deadline} if deadline else {}) | ({"Idempotency-Key": key} if key else {})
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="sk-replicas", max_retries=retries) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": text}], extra_headers=headers
        )
    return answer.choices[0].message.content or ""


def texts() -> list[str]:
    return [f"replica-{number:03}" for number in range(REQUESTS)]


def test_whoever_holds_a_client_hears_of_an_answer_that_another_has_bought(tmp_path: Path) -> None:
    with house(tmp_path, 3) as made:

        async def story() -> list[str]:
            urls = [replica.url for replica in made.replicas]
            return await asyncio.gather(*(ask(urls[n % 3], text) for n, text in enumerate(texts())))

        began = time.monotonic()
        answers = asyncio.run(story())
        assert [answer.partition(" ")[2].startswith(text) for answer, text in zip(answers, texts(), strict=True)]
        assert [made.bought(text) for text in texts()] == [1] * REQUESTS
        assert time.monotonic() - began < 20
        assert [made.gauge(replica, "standby_replicas") for replica in made.replicas] == [3.0] * 3


@pytest.mark.parametrize("after_seconds", [0.0, 0.3, 0.6, 1.2])
def test_a_killed_replicas_work_is_taken_over_and_nothing_is_bought_twice(tmp_path: Path, after_seconds: float) -> None:
    """The clients are at the other one, and need not know."""
    with house(tmp_path, 2) as made:
        buyer, other = made.buyer_and_other()

        async def story() -> list[str]:
            asking = asyncio.gather(*(ask(other.url, text) for text in texts()))
            await asyncio.to_thread(made.until_all_are_held)
            await asyncio.sleep(after_seconds)
            await asyncio.to_thread(buyer.kill)
            return await asking

        assert len(asyncio.run(story())) == REQUESTS
        assert [made.bought(text) for text in texts()] == [1] * REQUESTS


def test_a_paused_buyer_that_wakes_up_does_no_harm(tmp_path: Path) -> None:
    with house(tmp_path, 2) as made:
        buyer, other = made.buyer_and_other()

        async def story() -> list[str]:
            asking = asyncio.gather(*(ask(other.url, text) for text in texts()))
            await asyncio.to_thread(made.until_all_are_held)
            os.kill(buyer.process.pid, signal.SIGSTOP)
            await asyncio.sleep(4.0)
            os.kill(buyer.process.pid, signal.SIGCONT)
            return await asking

        assert len(asyncio.run(story())) == REQUESTS
        assert [made.bought(text) for text in texts()] == [1] * REQUESTS


@pytest.mark.parametrize(
    "point",
    [
        "upstream.create.before",
        "upstream.upload.before",
        pytest.param("store.Uploaded.before", marks=pytest.mark.long),
        pytest.param("store.BatchCreated.before", marks=pytest.mark.long),
        pytest.param("store.BatchPlanned.before", marks=pytest.mark.long),
        pytest.param("store.AttemptAnswered.before", marks=pytest.mark.long),
        pytest.param("upstream.delete_file.before", marks=pytest.mark.long),
    ],
)
def test_a_buyer_that_is_paused_just_before_an_effect_does_no_harm_when_it_goes_on(tmp_path: Path, point: str) -> None:
    """The hardest is the creation: nobody at the provider could tell its late call from the new owner's."""
    with house(tmp_path, 0) as made:
        paused = made.start(failpoint=f"{point}:1:pause")
        for text in texts():
            made.leave(paused, text)
        until_paused(paused.process.pid)
        other = made.start()

        async def story() -> list[str]:
            answers = await asyncio.gather(*(ask(other.url, text, key=text) for text in texts()))
            os.kill(paused.process.pid, signal.SIGCONT)
            await asyncio.sleep(5.0)
            return answers

        assert len(asyncio.run(story())) == REQUESTS
        assert [made.bought(text) for text in texts()] == [1] * REQUESTS
        made.until_no_file_is_left()


def test_a_stopped_replica_sends_its_clients_to_another(tmp_path: Path) -> None:
    """What a load balancer does: the same address, another process behind it."""
    with house(tmp_path, 2) as made:
        first, second = made.replicas

        async def story() -> str:
            stopping = asyncio.get_running_loop().call_later(0.5, first.process.send_signal, signal.SIGTERM)
            with pytest.raises(openai.InternalServerError) as told:
                await ask(first.url, "replica-000", retries=0, key="one")
            assert told.value.response.headers["x-should-retry"] == "true"
            assert float(told.value.response.headers["Retry-After"]) > 0
            stopping.cancel()
            return await ask(second.url, "replica-000", key="one")

        assert asyncio.run(story()).startswith("echo: replica-000")
        assert made.bought("replica-000") == 1
        assert stop(first) == 0


def test_without_redis_urgent_calls_flow_and_what_was_accepted_is_answered_when_it_is_back(tmp_path: Path) -> None:
    """Killed and started again; a Redis that stalls is the next test's."""
    with house(tmp_path, 2, turnaround="constant:6000") as made:
        urls = [replica.url for replica in made.replicas]

        async def urgent() -> None:
            for number in range(12):
                await ask(urls[number % 2], f"urgent-{number}", deadline=None, retries=0)
                await asyncio.sleep(0.5)

        async def deferrable() -> None:
            with pytest.raises(openai.InternalServerError, match="Urgent calls are served") as told:
                await ask(urls[0], "refused", retries=0)
            assert told.value.status_code == 503
            assert told.value.response.headers["Retry-After"] == "5"

        async def look(replica: Running) -> None:
            assert await asyncio.to_thread(made.gauge, replica, "standby_held_connections") == REQUESTS / 2
            assert await asyncio.to_thread(made.readiness, replica) == "store_unavailable"

        async def story() -> list[str]:
            asking = asyncio.gather(*(ask(urls[n % 2], text) for n, text in enumerate(texts())))
            await asyncio.to_thread(made.until_all_are_held)
            made.redis.kill()
            await asyncio.gather(urgent(), deferrable(), *(look(replica) for replica in made.replicas))
            await asyncio.to_thread(made.redis.start)
            return await asking

        answers = asyncio.run(story())
        assert len(answers) == REQUESTS
        assert [made.bought(text) for text in texts()] == [1] * REQUESTS
        assert made.bought("refused") == 0


def test_a_redis_that_stalls_delays_what_waits_and_nothing_else(tmp_path: Path) -> None:
    """It keeps its connections and answers nothing, for longer than every lease."""
    with house(tmp_path, 2, turnaround="constant:6000") as made:
        urls = [replica.url for replica in made.replicas]

        async def story() -> list[str]:
            asking = asyncio.gather(*(ask(urls[n % 2], text) for n, text in enumerate(texts())))
            await asyncio.to_thread(made.until_all_are_held)
            made.redis.freeze()
            for number in range(4):
                began = time.monotonic()
                await ask(urls[number % 2], f"urgent-{number}", deadline=None, retries=0)
                assert time.monotonic() - began < 5.0
            with pytest.raises(openai.InternalServerError, match="Urgent calls are served"):
                await ask(urls[0], "refused", retries=0)
            made.redis.thaw()
            return await asking

        assert len(asyncio.run(story())) == REQUESTS
        assert [made.bought(text) for text in texts()] == [1] * REQUESTS

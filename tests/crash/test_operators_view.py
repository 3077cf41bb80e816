"""Two replicas on one Redis, looked at by the operator: the store is one, and what a replica has seen is its own."""

import json
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.processes import FAST_CONFIG, Running, emulator, serve, stop

OPERATORS = "operator-of-this-proxy"
ENVIRON = {
    "STANDBY_OPERATOR_KEY": OPERATORS,
    "STANDBY_SECRET_KEY": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I=",
}
CONFIG = FAST_CONFIG + "store: {replicas: {lease: 3s, share: 0.5s}}\n"
MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1-nano")


def overview(replica: Running) -> dict[str, Any]:
    request = urllib.request.Request(
        replica.url + "/operator/overview", headers={"Authorization": f"Bearer {OPERATORS}"}
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        seen: dict[str, Any] = json.load(answer)
        return seen


def leave(replica: Running, model: str) -> str:
    """A deferred request that nobody waits for; its id."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]}).encode()
    headers = {"Authorization": "Bearer sk-a", "X-Deadline": "60s", "Prefer": "respond-async"}
    call = urllib.request.Request(replica.url + "/v1/chat/completions", body, headers)
    with urllib.request.urlopen(call, timeout=15) as answer:
        return str(json.load(answer)["id"])


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.3)


@pytest.mark.timeout(150)
def test_replicas_agree_on_the_money_and_a_decision_gets_its_end_from_whoever_made_it(
    tmp_path: Path, shared_redis: Servers
) -> None:
    redis = shared_redis("valkey")
    with emulator(tmp_path) as provider, ExitStack() as stack:
        config = CONFIG.replace("store: {", f"store: {{namespace: '{tmp_path.as_posix()}', ")
        replicas = []
        for number in range(2):
            folder = tmp_path / f"replica-{number}"
            folder.mkdir()
            options = ("--port", "0", "--store", redis.url)
            replicas.append(serve(folder, provider, *options, config=config, environ=ENVIRON))
            stack.callback(stop, replicas[-1])
        first, second = replicas
        until(lambda: overview(first)["replicas"] == overview(second)["replicas"] == 2)
        left = {leave(first, model) for model in MODELS}

        def is_over() -> bool:
            decisions = overview(first)["replica"]["decisions"]
            return {one["request_id"] for one in decisions if one["outcome"] == "ok"} == left

        until(is_over)
        until(lambda: overview(second)["day"]["money"]["purchases"] >= len(MODELS))
        until(lambda: overview(first)["day"]["money"] == overview(second)["day"]["money"])
        one, other = overview(first), overview(second)
        assert one["store"] == other["store"] == "redis"
        assert one["replica"]["name"] != other["replica"]["name"]
        assert other["replica"]["decisions"] == [], "what the other one has decided is its own"
        judged = [seen["replica"]["deadlines_met"] + seen["replica"]["deadlines_missed"] for seen in (one, other)]
        assert sum(judged) == len(MODELS), "each deadline is counted by one of them"
        assert all(decided["paid_usd"] is not None for decided in one["replica"]["decisions"])

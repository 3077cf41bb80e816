"""The door: bad input gets a clear error in OpenAI's shape, and nothing is left behind."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.ids import TenantId
from proxy.domain.request import RequestState
from proxy.server.auth import ProxyKey
from proxy.server.settings import Settings as ServerSettings
from proxy.upstream.openai import OpenAIUpstream
from tests.world import World, play

ALICE = {"Authorization": "Bearer sk-alice"}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-Deadline": "whenever"}, "'whenever' is no deadline"),
        ({"X-Deadline": "2020-01-01T00:00:00Z"}, "has passed already"),
        ({"X-Deadline": "2030-01-01T00:00:00"}, "a time with its zone"),
        ({"X-Priority": "very"}, "urgent, normal or deferrable"),
    ],
)
def test_a_wrong_header_is_a_400_that_says_what_would_be_right(
    tmp_path: Path, headers: dict[str, str], said: str
) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("x", headers=headers)
        assert answer.status == 400
        error = answer.json["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"] == next(iter(headers))
        assert said in error["message"]
        assert (await world.service.desk.store.changes(None)).waiting == []
        assert (await world.account())["total"]["requests"] == 0

    play(tmp_path, story)


def test_malformed_json_is_a_400_in_openais_shape(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        url = world.service.url + "/v1/chat/completions"
        async with world.http.post(url, data=b'{"model": "gpt', headers=ALICE) as response:
            assert response.status == 400
            error = json.loads(await response.read())["error"]
            assert error["code"] == "invalid_json"

    play(tmp_path, story)


def test_a_body_over_the_limit_is_a_413(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("x" * 2000, deadline="2h")
        assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")

    play(tmp_path, story, server=ServerSettings(port=0, body_max_bytes=1000))


def test_an_unknown_route_outside_v1_is_our_404_and_inside_it_is_the_providers(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        ours = await world.send("GET", "/v2/chat", headers=ALICE)
        assert (ours.status, ours.json["error"]["code"]) == (404, "unknown_url")
        theirs = await world.send("GET", "/v1/no/such/thing", headers=ALICE)
        assert theirs.status == 404
        assert "x-request-id" in theirs.headers

    play(tmp_path, story)


def test_without_any_key_the_call_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.send("POST", "/v1/chat/completions", json_body=CHAT)
        assert (answer.status, answer.json["error"]["code"]) == (401, "missing_api_key")

    play(tmp_path, story)


def test_a_standby_that_is_its_own_upstream_says_so(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        upstream = world.service.house.accounts.of(None).upstream
        assert isinstance(upstream, OpenAIUpstream)
        upstream._base = world.service.url + "/v1"
        answer = await world.ask("round and round")
        assert (answer.status, answer.json["error"]["code"]) == (508, "loop_detected")
        assert "STANDBY_UPSTREAM" in answer.json["error"]["message"]

    play(tmp_path, story)


def test_health_readiness_and_metrics_need_no_key(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await world.send("GET", "/healthz")).status == 200
        assert (await world.send("GET", "/readyz")).json == {"status": "ready"}
        await world.ask("count me")
        page = (await world.send("GET", "/metrics")).body.decode()
        assert 'standby_requests_total{model="gpt-4o-mini",outcome="ok",policy="default",tier="standard"' in page

    play(tmp_path, story)


def test_proxy_keys_map_to_tenants_and_buy_with_the_upstreams_credential(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        wrong = await world.ask("x", key="sk-guess")
        assert (wrong.status, wrong.json["error"]["code"]) == (401, "invalid_api_key")
        right = await world.ask("x", key="sb-team")
        assert right.status == 200
        deferred = await world.ask("y", key="sb-night")
        assert (deferred.status, deferred.tier) == (200, "batch")
        accounts = (await world.account())["accounts"]
        assert len(accounts) == 1
        (view,) = await world.service.desk.store.list_requests(None, after=None, limit=10)
        assert (view.tenant, view.state) == ("night", RequestState.DONE)

    def digest(key: str) -> str:
        return hashlib.sha256(key.encode()).hexdigest()

    keys = (
        ProxyKey("team", TenantId("team"), digest("sb-team")),
        ProxyKey("night", TenantId("night"), digest("sb-night"), deadline_seconds=4 * 3600),
    )
    play(
        tmp_path,
        story,
        keys=keys,
        upstream=UpstreamSettings(api_key_env="PROVIDER_KEY"),
        environ={"PROVIDER_KEY": "sk-real"},
    )


def test_an_operators_key_is_never_sent_upstream(tmp_path: Path) -> None:
    operators = "operator-of-this-proxy"

    async def story(world: World) -> None:
        for path in ("/v1/chat/completions", "/v1/files", "/v1/models"):
            answer = await world.ask("x", key=operators, path=path)
            assert (answer.status, answer.json["error"]["code"]) == (403, "operator_key")
        deferred = await world.ask("y", key=operators, deadline="2h")
        assert (deferred.status, deferred.json["error"]["code"]) == (403, "operator_key")
        assert (await world.account())["accounts"] == {}

    play(tmp_path, story, environ={"STANDBY_OPERATOR_KEY": operators})


def test_a_gzipped_request_body_is_read_deferred_and_answered(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        packed = gzip.compress(json.dumps(CHAT).encode())
        headers = ALICE | {"Content-Encoding": "gzip", "Content-Type": "application/json", "X-Deadline": "3h"}
        url = world.service.url + "/v1/chat/completions"
        async with world.http.post(url, data=packed, headers=headers) as response:
            assert response.status == 200
            assert response.headers["X-Standby-Tier"] == "batch"

    play(tmp_path, story)

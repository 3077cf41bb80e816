"""`/v1/models` in front of one upstream and of several."""

from pathlib import Path

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.events import StepFailed
from proxy.domain.ids import UpstreamName
from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map
from tests.world import MONDAY_NOON, Story, World, living, play

ALICE = {"Authorization": "Bearer sk-alice"}


def _ids(body: object) -> list[str]:
    assert isinstance(body, dict)
    return [model["id"] for model in body["data"]]


@pytest.mark.parametrize("prefix", ["", "/within/2h", "/urgent"])
def test_one_upstream_answers_for_itself(prefix: str, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        listed = await world.send("GET", prefix + "/v1/models", headers=ALICE)
        assert (listed.status, listed.json["object"]) == (200, "list")
        assert "gpt-4o-mini" in _ids(listed.json)
        assert (await world.send("GET", prefix + "/v1/models/gpt-4o-mini", headers=ALICE)).json["id"] == "gpt-4o-mini"
        assert (await world.send("GET", prefix + "/v1/models/no-such-model", headers=ALICE)).status == 404

    play(tmp_path, story)


def _play_with_three(folder: Path, story: Story, *, small_at: str | None = None) -> None:
    """The provider under two names, the second for small models (or at another address), and a translated one."""

    async def whole() -> None:
        async with serving(Settings(), LoopClock(), read_cost_map().models) as provider:
            base_url = provider.url + "/v1"
            upstreams = (
                UpstreamSettings(
                    name=UpstreamName("small"),
                    base_url=small_at or base_url,
                    api_key_env="SMALL_KEY",
                    models=("*-mini",),
                ),
                UpstreamSettings(
                    name=UpstreamName("claude"),
                    litellm_provider="anthropic",
                    models=("claude-*", "claude-sonnet-4-5"),
                    batch=False,
                ),
                UpstreamSettings(name=UpstreamName("rest"), base_url=base_url),
            )
            environ = {"SMALL_KEY": "sk-small"}
            async with living(folder, provider, LoopClock(), upstreams=upstreams, environ=environ) as world:
                await story(world)

    run(whole(), start_at=MONDAY_NOON)


def test_of_several_upstreams_each_lists_what_is_routed_to_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        listed = await world.send("GET", "/v1/models", headers=ALICE)
        ids = _ids(listed.json)
        assert listed.status == 200
        assert {"gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5"} <= set(ids)
        assert "claude-*" not in ids
        assert len(ids) == len(set(ids))
        sonnet = await world.send("GET", "/v1/models/claude-sonnet-4-5", headers=ALICE)
        assert (sonnet.status, sonnet.json["owned_by"]) == (200, "claude")
        assert (await world.send("GET", "/v1/models/claude-other", headers=ALICE)).status == 404
        assert (await world.send("GET", "/v1/models/gpt-4o", headers=ALICE)).json["id"] == "gpt-4o"

    _play_with_three(tmp_path, story)


def test_an_upstream_that_does_not_answer_is_left_out_and_that_is_told(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        ids = _ids((await world.send("GET", "/v1/models", headers=ALICE)).json)
        assert "gpt-4o-mini" not in ids
        assert "gpt-4o" in ids
        (failed,) = world.seen(StepFailed)
        assert (failed.step, failed.upstream) == ("list_models", "small")

    _play_with_three(tmp_path, story, small_at="http://127.0.0.1:9/v1")

"""The tests of the ready policies, sent to the running proxy: it decides what they say."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from proxy.config.load import load_policy
from proxy.config.settings import UpstreamSettings
from proxy.config.shipped import policy_folder, shipped_names
from proxy.config.trial import EXAMPLE_PRICE, Outcome, run_tests, shipped_conditions
from proxy.domain.events import RequestDecided
from proxy.domain.ids import TenantId
from proxy.routing.policytest import EXAMPLE_MODEL, Asked
from proxy.server.auth import ProxyKey
from tests.world import Reply, World, play


def proxy_key(request: Asked) -> ProxyKey:
    name = request.key or "none-in-particular"
    return ProxyKey(name, TenantId(request.tenant or "somebody"), hashlib.sha256(f"sk-{name}".encode()).hexdigest())


def body_of(request: Asked) -> dict[str, object]:
    said = {
        "model": request.model,
        "metadata": dict(request.metadata),
        "stream": request.stream,
        "tools": [{"type": "function", "function": {"name": "look"}}] if request.tools else [],
        "max_completion_tokens": request.output_tokens,
        "service_tier": request.service_tier,
    }
    return {"messages": [{"role": "user", "content": "hello"}]} | {name: value for name, value in said.items() if value}


def headers_of(request: Asked) -> dict[str, str]:
    said = {"X-Deadline": request.deadline, "X-Priority": request.priority}
    own = {name: value for name, value in said.items() if value is not None}
    return {"Authorization": f"Bearer sk-{proxy_key(request).name}", **request.headers, **own}


async def decided(world: World, request: Asked, held: asyncio.TaskGroup) -> tuple[RequestDecided, asyncio.Task[Reply]]:
    """Send it, and do not wait for its answer."""
    before = len(world.seen(RequestDecided))
    call = held.create_task(
        world.send("POST", request.prefix + request.endpoint, headers=headers_of(request), json_body=body_of(request))
    )
    await world.until(lambda: len(world.seen(RequestDecided)) > before, within=10, look=0.1)
    return world.seen(RequestDecided)[-1], call


def is_about_any_time(outcome: Outcome) -> bool:
    """Stories begin on a Friday at noon, and nobody has spent anything yet."""
    return outcome.test.request.at == Asked().at and not outcome.test.request.spent_usd


@pytest.mark.parametrize("name", sorted(set(shipped_names()) - {"overnight-jobs"}))
def test_the_running_proxy_decides_what_the_tests_of_a_ready_policy_say(name: str, tmp_path: Path) -> None:
    file = policy_folder() / f"{name}.yaml"
    outcomes = [one for one in run_tests(load_policy(file).file, shipped_conditions()) if is_about_any_time(one)]
    assert len(outcomes) >= 6

    async def story(world: World) -> None:
        async with asyncio.TaskGroup() as held:
            for one in outcomes:
                found, call = await decided(world, one.test.request, held)
                call.cancel()
                expected = one.decision
                assert expected is not None
                assert (found.policy, found.tier, found.reason) == (expected.policy, expected.tier, expected.reason)
                assert (found.deadline_at is None) is (expected.deadline_at is None), one.test.name
                if found.deadline_at is not None and expected.grounds is not None:
                    assert found.deadline_at - found.at == pytest.approx(expected.grounds.left_seconds)

    keys = {key.name: key for key in (proxy_key(one.test.request) for one in outcomes)}
    play(
        tmp_path,
        story,
        policies=file,
        prices={EXAMPLE_MODEL: EXAMPLE_PRICE},
        keys=tuple(keys.values()),
        upstream=UpstreamSettings(api_key_env="OUR_KEY"),
        environ={"OUR_KEY": "sk-ours"},
    )

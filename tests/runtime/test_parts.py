import asyncio

import aiohttp
import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.ids import UpstreamName
from proxy.runtime.clock import SystemClock
from proxy.runtime.parts import build_upstream, configured_auth, configured_id, upstream_settings
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.openai import OpenAIUpstream

NAMED = UpstreamSettings(name=UpstreamName("main"), api_key_env="PROVIDER_KEY")


def test_the_configured_credential_comes_from_the_environment() -> None:
    auth = configured_auth(NAMED, {"PROVIDER_KEY": "sk-1"})
    assert auth is not None
    assert auth.headers == (("authorization", "Bearer sk-1"),)
    assert configured_auth(NAMED, {}) is None
    assert configured_auth(UpstreamSettings(), {"PROVIDER_KEY": "sk-1"}) is None


def test_a_rotated_key_keeps_its_name_so_that_deferred_requests_go_on() -> None:
    assert configured_id(NAMED) == "configured-main"


def test_what_an_upstream_sells_is_what_is_configured() -> None:
    sold = upstream_settings(UpstreamSettings(batch=False)).capabilities
    assert (sold.batch, sold.window, sold.lines_max) == (False, "24h", 50_000)
    assert upstream_settings(UpstreamSettings()).capabilities.batch


@pytest.mark.parametrize(("provider", "kind"), [(None, OpenAIUpstream), ("anthropic", LiteLLMUpstream)])
def test_the_adapter_follows_from_the_provider(provider: str | None, kind: type) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession() as session:
            upstream = build_upstream(UpstreamSettings(litellm_provider=provider), session, SystemClock())
            assert isinstance(upstream, kind)

    asyncio.run(story())

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.credential import Auth
from proxy.domain.errors import ClientFault
from proxy.domain.ids import CredentialId, TenantId, UpstreamName
from proxy.runtime.parts import upstream_settings
from proxy.server.accounts import Account, Accounts
from proxy.server.auth import Caller
from proxy.upstream.openai import OpenAIUpstream

CALLER = Caller(TenantId("t"), "", Auth((("authorization", "Bearer sk-own"),)))
GUEST = Caller(TenantId("t"), "team", None)


@pytest.fixture
def session() -> Iterator[aiohttp.ClientSession]:
    async def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    with asyncio.Runner() as runner:
        session = runner.run(opened())
        yield session
        runner.run(session.close())


def _account(session: aiohttp.ClientSession, name: str, *models: str, key: str | None = None) -> Account:
    settings = upstream_settings(UpstreamSettings(name=UpstreamName(name), base_url="https://api.example/v1/"))
    auth = None if key is None else Auth((("authorization", f"Bearer {key}"),))
    upstream = OpenAIUpstream(settings, session, lambda: 0.0)
    return Account(upstream, models, auth, CredentialId(f"configured-{name}"))


def test_the_first_upstream_whose_globs_match_gets_the_model_and_the_first_of_all_the_rest(
    session: aiohttp.ClientSession,
) -> None:
    accounts = Accounts([_account(session, "main", "gpt-*"), _account(session, "mini", "gpt-*-mini", "llama-*")])
    assert accounts.of("gpt-4o-mini").upstream.name == "main"
    assert accounts.of("llama-3").upstream.name == "mini"
    assert accounts.of("claude").upstream.name == "main"
    assert accounts.of(None).upstream.name == "main"
    assert [account.upstream.name for account in accounts] == ["main", "mini"]


def test_the_configured_key_buys_and_where_there_is_none_the_clients_own(session: aiohttp.ClientSession) -> None:
    """SDKs cannot be without a key: what they send to an account that has one is no reason to refuse them."""
    assert _account(session, "main", "*").buys_with(CALLER).headers == (("authorization", "Bearer sk-own"),)
    account = _account(session, "main", "*", key="sk-configured")
    assert account.buys_with(CALLER).headers == (("authorization", "Bearer sk-configured"),)
    assert account.buys_with(GUEST).headers == (("authorization", "Bearer sk-configured"),)


def test_a_call_that_nobody_pays_for_is_refused(session: aiohttp.ClientSession) -> None:
    with pytest.raises(ClientFault) as caught:
        _account(session, "main", "*").buys_with(GUEST)
    assert caught.value.status == 401


def test_a_path_lands_behind_the_upstreams_base_url_as_it_is(session: aiohttp.ClientSession) -> None:
    upstream = _account(session, "main", "*").upstream
    assert isinstance(upstream, OpenAIUpstream)
    assert str(upstream.url("/v1/files/a%2Fb?x=%20")) == "https://api.example/v1/files/a%2Fb?x=%20"

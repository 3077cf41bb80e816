import hashlib

import pytest

from proxy.domain.errors import ClientFault
from proxy.domain.ids import TenantId
from proxy.server.auth import LOCAL_TENANT, Doorman, ProxyKey


def _tenant_of(authorization: str) -> TenantId:
    return TenantId(f"t-{authorization[-3:]}")


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _pass_through(*, configured: bool = False) -> Doorman:
    return Doorman((), _tenant_of, has_configured_credential=configured)


def _with_keys() -> Doorman:
    key = ProxyKey("batch-team", TenantId("research"), _sha256("sb-secret"), deadline_seconds=3600.0)
    return Doorman((key,), _tenant_of, has_configured_credential=True)


def test_a_clients_own_key_buys_and_makes_its_tenant() -> None:
    caller = _pass_through().identify({"authorization": "Bearer sk-abc", "openai-organization": "org-1"})
    assert caller.tenant == "t-abc"
    assert caller.auth is not None
    assert dict(caller.auth.headers) == {"authorization": "Bearer sk-abc", "openai-organization": "org-1"}


def test_azures_header_counts_as_a_key() -> None:
    caller = _pass_through().identify({"api-key": "azure-xyz"})
    assert caller.auth is not None
    assert caller.auth.headers == (("api-key", "azure-xyz"),)


def test_without_a_key_and_without_a_configured_one_the_call_is_refused() -> None:
    with pytest.raises(ClientFault) as caught:
        _pass_through().identify({})
    assert (caught.value.status, caught.value.code) == (401, "missing_api_key")


def test_without_a_key_the_configured_credential_buys_for_the_local_tenant() -> None:
    caller = _pass_through(configured=True).identify({})
    assert (caller.tenant, caller.auth) == (LOCAL_TENANT, None)


@pytest.mark.parametrize("headers", [{"authorization": "Bearer sb-secret"}, {"api-key": "sb-secret"}])
def test_a_proxy_key_names_its_tenant_and_default_and_never_buys_itself(headers: dict[str, str]) -> None:
    caller = _with_keys().identify(headers)
    assert (caller.tenant, caller.key, caller.auth, caller.deadline_seconds) == ("research", "batch-team", None, 3600.0)


def test_an_unknown_proxy_key_is_refused_without_being_repeated() -> None:
    with pytest.raises(ClientFault) as caught:
        _with_keys().identify({"authorization": "Bearer sk-somebody-elses"})
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert "somebody" not in caught.value.message


def test_with_proxy_keys_a_call_without_one_is_refused() -> None:
    with pytest.raises(ClientFault) as caught:
        _with_keys().identify({})
    assert caught.value.code == "missing_api_key"


@pytest.mark.parametrize("digest", ["", "abc", "G" * 64, "A" * 64])
def test_a_key_whose_hash_is_no_sha256_is_refused_at_start(digest: str) -> None:
    with pytest.raises(ValueError, match="sha256: must be 64 hex digits"):
        ProxyKey("team", TenantId("t"), digest)


def test_a_credential_does_not_show_in_its_repr() -> None:
    caller = _pass_through().identify({"authorization": "Bearer sk-very-secret"})
    assert "very-secret" not in repr(caller)

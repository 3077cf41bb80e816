import hashlib

import pytest
from multidict import CIMultiDict

from proxy.domain.errors import ClientFault
from proxy.domain.ids import TenantId
from proxy.server.auth import LOCAL_TENANT, Doorman, OperatorKey, ProxyKey

OPERATORS = "operator-of-this-proxy"
OPERATOR = OperatorKey("STANDBY_OPERATOR_KEY", OPERATORS)


def _tenant_of(authorization: str) -> TenantId:
    return TenantId(f"t-{authorization[-3:]}")


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _pass_through(*, configured: bool = False) -> Doorman:
    return Doorman((), _tenant_of, has_configured_credential=configured, operator=OPERATOR)


def _with_keys() -> Doorman:
    key = ProxyKey("batch-team", TenantId("research"), _sha256("sb-secret"), deadline_seconds=3600.0)
    return Doorman((key,), _tenant_of, has_configured_credential=True, operator=OPERATOR)


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


@pytest.mark.parametrize("name", ["Authorization", "authorization", "api-key", "X-Api-Key"])
def test_the_operator_is_known_by_any_header_for_keys(name: str) -> None:
    scheme = "Bearer " if name.lower() == "authorization" else ""
    headers = CIMultiDict({name: scheme + OPERATORS})
    assert _pass_through().is_operator(headers)
    assert _with_keys().is_operator(headers)
    _pass_through().require_operator(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer operator-of-this-prox"},
        {"authorization": f"Bearer {OPERATORS} {OPERATORS}"},
        {"authorization": f"Basic {OPERATORS}"},
        {"authorization": "Bearer operator-\udcff"},
        {"cookie": OPERATORS},
    ],
)
def test_nobody_else_is_the_operator(headers: dict[str, str]) -> None:
    assert not _pass_through().is_operator(headers)
    with pytest.raises(ClientFault) as caught:
        _pass_through().require_operator(headers)
    assert caught.value.status == 401
    assert caught.value.code == ("invalid_operator_key" if "authorization" in headers else "missing_operator_key")
    assert "STANDBY_OPERATOR_KEY" in caught.value.message
    assert OPERATORS not in caught.value.message


def test_without_a_configured_key_there_is_no_operator_and_the_refusal_says_how_to_become_one() -> None:
    doorman = Doorman((), _tenant_of, has_configured_credential=True, operator=OperatorKey("MY_KEY"))
    nothing: tuple[dict[str, str], ...] = ({}, {"authorization": "Bearer "}, {"api-key": ""})
    for headers in nothing:
        assert not doorman.is_operator(headers)
        with pytest.raises(ClientFault, match="set MY_KEY to a long random word") as caught:
            doorman.require_operator(headers)
        assert (caught.value.status, caught.value.code) == (401, "no_operator")


@pytest.mark.parametrize(
    "headers",
    [
        CIMultiDict({"Authorization": f"Bearer {OPERATORS}"}),
        CIMultiDict([("Authorization", "Bearer sk-abc"), ("Authorization", f"Bearer {OPERATORS}")]),
        CIMultiDict({"Authorization": "Bearer sk-abc", "x-api-key": OPERATORS}),
    ],
)
def test_an_operators_key_buys_nothing_wherever_it_stands(headers: CIMultiDict[str]) -> None:
    for doorman in (_pass_through(), _pass_through(configured=True), _with_keys()):
        with pytest.raises(ClientFault) as caught:
            doorman.identify(headers)
        assert (caught.value.status, caught.value.code) == (403, "operator_key")


def test_an_operators_key_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        OperatorKey("STANDBY_OPERATOR_KEY", "hunter2")

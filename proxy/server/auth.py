"""Who is calling, and with what their calls are bought.

Two modes. *Pass-through*: no proxy keys are configured; a client's own provider key buys its calls and makes its
tenant. *Proxy keys*: a client shows a key that the configuration knows by its SHA-256; calls are bought with the
upstream's configured credential. Keys are compared as hashes, and never kept, logged or put into an error.

Beside both, whoever runs the proxy may have an *operator's key*: it shows the state of the whole, requests of every
tenant included, and buys nothing, so that it never goes upstream.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.domain.credential import Auth
from proxy.domain.errors import ClientFault
from proxy.domain.ids import TenantId

UNAUTHORIZED = 401
FORBIDDEN = 403
LOCAL_TENANT = TenantId("local")
"""Whoever calls without a key where a configured credential buys for everybody on this machine."""
KEY_HEADERS = ("authorization", "api-key", "x-api-key")
"""Where clients put their keys: OpenAI's way, Azure's, Anthropic's."""
ACCOUNT_HEADERS = ("openai-organization", "openai-project")
"""What else says whose account is billed."""
OPERATOR_KEY_CHARACTERS_MIN = 16
"""A shorter key could be guessed."""


@dataclass(frozen=True, slots=True)
class ProxyKey:
    """A key that Standby gave out. `sha256` is the hex digest of the key itself.

    `deadline_seconds` is what this key's calls get when they say nothing about time; None leaves it to the policy.
    `whole_account` lets its calls reach what belongs to the provider account as a whole (files, batches, stored
    responses, ...), which all keys share; without it they may only buy answers.
    `webhook_secret_env` names the variable with the secret that signs its tenant's webhooks; None: the common one.
    """

    name: str
    tenant: TenantId
    sha256: str
    deadline_seconds: float | None = None
    webhook_secret_env: str | None = None
    whole_account: bool = False

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or not all(c in "0123456789abcdef" for c in self.sha256):  # noqa: PLR2004  a digest
            raise ValueError("sha256: must be 64 hex digits: printf %s KEY | sha256sum")
        if not self.name:
            raise ValueError("name: must not be empty")


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated client. `auth` is its own credential; None: the upstream's configured one buys.

    `whole_account`: whether it may reach more of the provider account than what it buys.
    """

    tenant: TenantId
    key: str
    auth: Auth | None
    deadline_seconds: float | None = None
    whole_account: bool = True


class OperatorKey:
    """The key of whoever runs the proxy, kept as its hash. `variable` is the environment variable that holds it.

    Raises ValueError for a key that is too short to be safe. Without a key (None) there is no operator.
    """

    def __init__(self, variable: str, key: str | None = None) -> None:
        if key is not None and len(key) < OPERATOR_KEY_CHARACTERS_MIN:
            raise ValueError(f"must have at least {OPERATOR_KEY_CHARACTERS_MIN} characters: openssl rand -hex 24")
        self._variable = variable
        self._digest = None if key is None else _digest(_bare(key))

    def is_shown(self, headers: Mapping[str, str]) -> bool:
        """Whether one of the headers for keys, however often it is there, carries the operator's key."""
        if self._digest is None:
            return False
        shown = [value for name, value in headers.items() if name.lower() in KEY_HEADERS]
        return any(hmac.compare_digest(_digest(_bare(value)), self._digest) for value in shown)

    def refusal(self, headers: Mapping[str, str]) -> ClientFault:
        """What somebody without it is told: how to come by one."""
        if self._digest is None:
            return ClientFault(
                f"This proxy has no operator: set {self._variable} to a long random word (openssl rand -hex 24) in the "
                "environment that Standby starts in. It is the operator's key.",
                status=UNAUTHORIZED,
                code="no_operator",
            )
        if any(name in headers for name in KEY_HEADERS):
            message = f"This is not the operator's key. It is what {self._variable} held when Standby started."
            return ClientFault(message, status=UNAUTHORIZED, code="invalid_operator_key")
        return ClientFault(
            "This is for the operator. Send the operator's key in the Authorization header (Authorization: Bearer "
            f"KEY): it is what {self._variable} held when Standby started.",
            status=UNAUTHORIZED,
            code="missing_operator_key",
        )


class Doorman:
    """Tells who a caller is from its headers."""

    def __init__(
        self,
        keys: tuple[ProxyKey, ...],
        tenant_of: Callable[[str], TenantId],
        *,
        has_configured_credential: bool,
        operator: OperatorKey,
    ) -> None:
        self._keys = {key.sha256: key for key in keys}
        self._tenant_of = tenant_of
        self._has_configured_credential = has_configured_credential
        self._operator = operator

    def is_operator(self, headers: Mapping[str, str]) -> bool:
        """Whether the call shows the operator's key: it may see requests of every tenant, and buys nothing."""
        return self._operator.is_shown(headers)

    def require_operator(self, headers: Mapping[str, str]) -> None:
        """Raises `ClientFault` 401, with a word on how to get the key, for everybody who is not the operator."""
        if not self.is_operator(headers):
            raise self._operator.refusal(headers)

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller; raises `ClientFault` 401 when nobody can be made out, 403 for the operator, whose key buys
        nothing.
        """
        if self.is_operator(headers):
            raise ClientFault(
                "This is the operator's key: it shows what goes on here and buys nothing. Call with a key of your own.",
                status=FORBIDDEN,
                code="operator_key",
            )
        shown = next((headers[name] for name in KEY_HEADERS if name in headers), None)
        if self._keys:
            return self._by_proxy_key(shown)
        if shown is not None:
            names = (*KEY_HEADERS, *ACCOUNT_HEADERS)
            auth = Auth(tuple((name, headers[name]) for name in names if name in headers))
            return Caller(self._tenant_of(shown), "", auth)
        if self._has_configured_credential:
            return Caller(LOCAL_TENANT, "", None)
        raise ClientFault(
            "You didn't provide an API key. Send your provider's key in the Authorization header "
            "(Authorization: Bearer YOUR_KEY).",
            status=UNAUTHORIZED,
            code="missing_api_key",
        )

    def _by_proxy_key(self, shown: str | None) -> Caller:
        if shown is None:
            raise ClientFault(
                "You didn't provide an API key. Send the key that you were given for this proxy in the Authorization "
                "header (Authorization: Bearer YOUR_KEY).",
                status=UNAUTHORIZED,
                code="missing_api_key",
            )
        key = self._keys.get(_digest(_bare(shown)).hex())
        if key is None:
            raise ClientFault("Incorrect API key provided.", status=UNAUTHORIZED, code="invalid_api_key")
        return Caller(key.tenant, key.name, None, key.deadline_seconds, key.whole_account)


def _bare(shown: str) -> str:
    """The key without the scheme before it."""
    return shown.removeprefix("Bearer ").removeprefix("bearer ").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()

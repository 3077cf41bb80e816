"""Who is calling, and with what their calls are bought.

Two modes. *Pass-through*: no proxy keys are configured; a client's own provider key buys its calls and makes its
tenant. *Proxy keys*: a client shows a key that the configuration knows by its SHA-256; calls are bought with the
upstream's configured credential. Keys are compared as hashes, and never kept, logged or put into an error.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.domain.credential import Auth
from proxy.domain.errors import ClientFault
from proxy.domain.ids import TenantId

UNAUTHORIZED = 401
LOCAL_TENANT = TenantId("local")
"""Whoever calls without a key where a configured credential buys for everybody on this machine."""
KEY_HEADERS = ("authorization", "api-key", "x-api-key")
"""Where clients put their keys: OpenAI's way, Azure's, Anthropic's."""
ACCOUNT_HEADERS = ("openai-organization", "openai-project")
"""What else says whose account is billed."""


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


class Doorman:
    """Tells who a caller is from its headers."""

    def __init__(
        self, keys: tuple[ProxyKey, ...], tenant_of: Callable[[str], TenantId], *, has_configured_credential: bool
    ) -> None:
        self._keys = {key.sha256: key for key in keys}
        self._tenant_of = tenant_of
        self._has_configured_credential = has_configured_credential

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The caller; raises `ClientFault` 401 when nobody can be made out."""
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
        secret = shown.removeprefix("Bearer ").removeprefix("bearer ").strip()
        key = self._keys.get(hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest())
        if key is None:
            raise ClientFault("Incorrect API key provided.", status=UNAUTHORIZED, code="invalid_api_key")
        return Caller(key.tenant, key.name, None, key.deadline_seconds, key.whole_account)

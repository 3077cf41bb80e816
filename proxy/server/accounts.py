"""Which configured upstream a call goes to, and with what it is bought there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from proxy.domain.credential import Auth
from proxy.domain.errors import ClientFault
from proxy.domain.ids import CredentialId
from proxy.server.auth import UNAUTHORIZED, Caller
from proxy.store.vault import Vault
from proxy.upstream.litellm import LiteLLMUpstream
from proxy.upstream.openai import OpenAIUpstream


@dataclass(frozen=True, slots=True)
class Account:
    """One upstream as the server uses it. `models` are globs; `auth` is its configured credential, if it has one."""

    upstream: OpenAIUpstream | LiteLLMUpstream
    models: tuple[str, ...]
    auth: Auth | None
    credential_id: CredentialId

    def buys_with(self, caller: Caller) -> Auth:
        """The credential for a call of this client: the configured one, else its own.

        Raises `ClientFault` 401 when there is none.
        """
        auth = self.auth or caller.auth
        if auth is None:
            raise self._no_credential()
        return auth

    async def keeps(self, caller: Caller, vault: Vault) -> CredentialId:
        """The credential's id, durable where it is the client's own."""
        if self.auth is not None or caller.auth is None:
            return self.credential_for(None)
        return await vault.keep(caller.auth)

    def credential_for(self, own: CredentialId | None) -> CredentialId:
        """What buys for a client that has this credential of its own. Raises `ClientFault` 401 when nothing does."""
        if self.auth is not None:
            return self.credential_id
        if own is None:
            raise self._no_credential()
        return own

    def _no_credential(self) -> ClientFault:
        return ClientFault(
            f"The upstream {self.upstream.name!r} has no configured credential, and the call brings none.",
            status=UNAUTHORIZED,
            code="missing_api_key",
        )


class Accounts:
    """Finds the account for a model: the first whose globs match, else the first of all."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._accounts = tuple(accounts)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts)

    def of(self, model: str | None) -> Account:
        if model is not None:
            for account in self._accounts:
                if any(fnmatchcase(model, glob) for glob in account.models):
                    return account
        return self._accounts[0]

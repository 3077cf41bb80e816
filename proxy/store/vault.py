"""Credentials that must outlive the process, sealed at rest.

A deferred request is bought after its client has gone, perhaps after a restart, with the key that came with it. The
vault encrypts such a key (Fernet: AES-128-CBC with HMAC-SHA256) before the store sees it. Its secret comes from the
environment or from a file with mode 0600 beside the store; without the secret the rows are worthless.
"""

import hashlib
import hmac
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from proxy.domain.credential import Auth
from proxy.domain.errors import ConfigFault, StoreFault
from proxy.domain.ids import CredentialId, TenantId
from proxy.store.interface import Credential, Store

SECRET_VARIABLE = "STANDBY_SECRET_KEY"  # noqa: S105  the variable's name, not a secret
DIGEST_CHARACTERS = 32
SECRET_NOTE = "secret"  # noqa: S105  a name
TENANTS_REMEMBERED = 10_000
"""Keys whose tenant is kept at hand: the hash is on the way of every urgent call."""


def read_secret(environ: Mapping[str, str], key_file: Path) -> bytes:
    """The vault's secret: from `STANDBY_SECRET_KEY`, else from `key_file`, which is made when it is not there.

    Raises `ConfigFault` when the secret is no Fernet key, or the file cannot be read or made, or others can read it.
    """
    given = environ.get(SECRET_VARIABLE)
    if given:
        return _checked(given.encode(), SECRET_VARIABLE)
    try:
        return _checked(_read_or_make(key_file), str(key_file))
    except OSError as error:
        raise ConfigFault(f"the key file {key_file} cannot be used: {error.strerror or error}") from error


def _read_or_make(key_file: Path) -> bytes:
    if not key_file.exists():
        _make(key_file)
    if key_file.stat().st_mode & 0o077:
        raise ConfigFault(f"the key file {key_file} can be read by others: chmod 600 it")
    return key_file.read_bytes().strip()


def _make(key_file: Path) -> None:
    """Workers that start together each make a key, and the first one's is everybody's.

    The file appears under its name when it is whole and on the disk: what a link cannot do is to replace another's.
    """
    descriptor, made = tempfile.mkstemp(prefix=f"{key_file.name}.", dir=key_file.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(made, key_file)
    finally:
        Path(made).unlink()


def _checked(secret: bytes, origin: str) -> bytes:
    try:
        Fernet(secret)
    except ValueError as error:
        raise ConfigFault(f"{origin} holds no key: 32 random bytes in URL-safe base64 are wanted") from error
    return secret


class Vault:
    """Names and keeps credentials. `configured` are those of the configuration, which are never stored."""

    def __init__(self, store: Store, secret: bytes, configured: Mapping[CredentialId, Auth]) -> None:
        self._store = store
        self._secret = secret
        self._fernet = Fernet(secret)
        self._open: dict[CredentialId, Auth] = dict(configured)
        self._durable: set[CredentialId] = set(configured)
        self._tenant_of = lru_cache(maxsize=TENANTS_REMEMBERED)(self._tenant)

    async def check(self) -> None:
        """Make sure that this is the secret that the store was used with before, by another process or another day.

        With another one, its sealed credentials would be worthless and its tenants strangers. Raises `ConfigFault`.
        """
        mark = self._digest("the secret of this store").encode()
        known = (await self._store.notes(SECRET_NOTE)).get(SECRET_NOTE)
        if known is None:
            await self._store.save_note(SECRET_NOTE, mark)
        elif known != mark:
            raise ConfigFault(
                "the store was used with another secret: give every process the same one, by "
                f"{SECRET_VARIABLE} or store.key_file"
            )

    def tenant_of(self, authorization: str) -> TenantId:
        """The tenant that a client's own key makes: a keyed hash, so that the key cannot be guessed from it."""
        return self._tenant_of(authorization)

    def _tenant(self, authorization: str) -> TenantId:
        return TenantId(f"key-{self._digest(authorization)[:16]}")

    def name(self, auth: Auth) -> CredentialId:
        """The id of a credential: the same for the same headers, and nothing about them can be read from it."""
        text = "\n".join(f"{name.lower()}: {value}" for name, value in auth.headers)
        return CredentialId(self._digest(text))

    async def keep(self, auth: Auth) -> CredentialId:
        """Make a client's credential durable, sealed; returns its id."""
        credential_id = self.name(auth)
        if credential_id not in self._durable:
            sealed = self._fernet.encrypt(msgspec.json.encode(auth.headers))
            await self._store.save_credential(Credential(credential_id, sealed))
            self._durable.add(credential_id)
            self._open[credential_id] = auth
        return credential_id

    async def open(self, credential_id: CredentialId) -> Auth:
        """The credential; raises `StoreFault` when it is unknown or was sealed with another secret."""
        known = self._open.get(credential_id)
        if known is not None:
            return known
        stored = await self._store.credential(credential_id)
        if stored is None:
            raise StoreFault(f"credential {credential_id} is not configured and not in the store")
        try:
            headers = msgspec.json.decode(self._fernet.decrypt(stored.sealed), type=tuple[tuple[str, str], ...])
        except InvalidToken as error:
            raise StoreFault(f"credential {credential_id} was sealed with another secret") from error
        auth = Auth(headers)
        self._open[credential_id] = auth
        self._durable.add(credential_id)
        return auth

    def _digest(self, text: str) -> str:
        return hmac.new(self._secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[
            :DIGEST_CHARACTERS
        ]

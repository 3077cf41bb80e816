"""The configuration file's whole shape, put together from the Settings that the rooms define.

Every field has the default that is in force without a file, so an empty file is a good one: OpenAI, the clients' own
keys, an SQLite store in the working directory, loopback only.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from proxy.batching.membership import Settings as MembershipSettings
from proxy.batching.settings import Settings as BatchingSettings
from proxy.config.shipped import default_policy
from proxy.delivery.webhooks import Secrets as WebhookSecrets
from proxy.delivery.webhooks import Settings as WebhookSettings
from proxy.domain.errors import ConfigFault
from proxy.domain.ids import UpstreamName
from proxy.routing.planner import Settings as PlannerSettings
from proxy.routing.pricing import ModelPrice
from proxy.routing.ratelimit import Settings as LimitSettings
from proxy.routing.terms import Mode
from proxy.server.auth import KEY_HEADERS, OperatorKey, ProxyKey
from proxy.server.settings import Settings as ServerSettings
from proxy.server.settings import VirtualSettings
from proxy.telemetry.tracing import Settings as TracingSettings
from proxy.wire.durations import parse_duration
from proxy.wire.lines import BATCH_ENDPOINTS, STRIPPED
from proxy.wire.webhooks import require_secret

OPENAI = "https://api.openai.com/v1"
DEFAULT_UPSTREAM = UpstreamName("openai")
KEY_FILE = "standby.key"


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where deferred requests live: `sqlite:PATH` for one process, `redis://HOST:PORT/DB` for many. A relative path
    starts at the working directory, as it does on the command line.

    `key_file` holds the secret that seals clients' credentials, unless STANDBY_SECRET_KEY does; None: `standby.key`
    beside an SQLite store, in the working directory for Redis. All replicas need the same secret.
    `namespace`, `ledger_days` and `patience_seconds` are Redis's: what its keys begin with, how long single ledger rows
    are kept, and how long a lost Redis is tried again before a caller is told.
    """

    url: str = "sqlite:standby.db"
    key_file: Path | None = None
    namespace: str = "standby"
    ledger_days: int = 90
    patience_seconds: float = 3.0
    replicas: MembershipSettings = field(default_factory=MembershipSettings)

    def __post_init__(self) -> None:
        if not self.namespace or set(self.namespace) & set("{}"):
            raise ValueError("namespace: must be a word without braces, such as standby")
        if self.ledger_days < 1:
            raise ValueError("ledger_days: must be at least 1")
        if self.is_redis:
            _require_redis(self.url)
        else:
            self._require_sqlite()

    def _require_sqlite(self) -> None:
        scheme, _, rest = self.url.partition(":")
        if scheme != "sqlite" or not rest:
            raise ValueError(
                f"url: {shown_url(self.url)!r} is no store; write sqlite:PATH, such as sqlite:standby.db, or "
                "redis://HOST:PORT/DB"
            )
        if rest == ":memory:":
            raise ValueError("url: an SQLite store in memory would lose what was accepted; write sqlite:PATH")
        if rest.startswith("//") and not rest.startswith("///"):
            raise ValueError(
                f"url: {self.url!r} would be an absolute path; write sqlite:PATH without slashes before it"
            )

    @property
    def is_redis(self) -> bool:
        """Whether many processes may share the store."""
        return self.url.partition(":")[0] in {"redis", "rediss"}

    @property
    def path(self) -> Path:
        """The file of an SQLite store."""
        return Path(self.url.partition(":")[2]).expanduser()

    @property
    def secret_file(self) -> Path:
        """Where the secret is, unless the environment has it."""
        beside = Path() if self.is_redis else self.path.parent
        return self.key_file or beside / KEY_FILE


def shown_url(url: str) -> str:
    """A store's URL without the password that may be in it, for messages and logs."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()


def _require_redis(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("url: this is no Redis URL; write redis://HOST:PORT/DB") from error
    if not host or not re.fullmatch(r"(/[0-9]*)?", parts.path) or parts.query or parts.fragment:
        raise ValueError(f"url: {shown_url(url)!r} is no Redis URL; write redis://HOST:PORT/DB")


@dataclass(frozen=True, slots=True)
class BatchCapabilities:
    """What an upstream's batches take, by the provider's own rules.

    `window` is the completion window as the provider spells it; `refuses` are body fields that are taken out of a line.
    `enqueued_tokens_max` is how many tokens of one model all unfinished batches together may have; None: the provider
    says so when it refuses a batch.
    """

    endpoints: frozenset[str] = BATCH_ENDPOINTS
    lines_max: int = 50_000
    body_max_bytes: int = 190_000_000
    window: str = "24h"
    refuses: frozenset[str] = STRIPPED
    enqueued_tokens_max: int | None = None

    def __post_init__(self) -> None:
        if self.enqueued_tokens_max is not None and self.enqueued_tokens_max < 1:
            raise ValueError(
                f"enqueued_tokens_max: {self.enqueued_tokens_max} is no limit to work under; give at least 1"
            )
        for endpoint in self.endpoints:
            if not endpoint.startswith("/"):
                raise ValueError(f"endpoints: {endpoint!r} is no path; write it as /v1/chat/completions")
        for name in ("lines_max", "body_max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is no limit to work under; give at least 1")
        if not parse_duration(self.window):
            raise ValueError(f"window: {self.window!r} is no completion window; write it as the provider does: 24h")

    @property
    def window_seconds(self) -> float:
        """How long the completion window is."""
        return parse_duration(self.window) or 0.0


def _require_base_url(url: str) -> None:
    """A URL that calls can be made to, and that can be shown in a log. Raises ValueError without repeating a secret."""
    try:
        parts = urlsplit(url)
        host, has_secret, _ = parts.hostname, parts.username is not None, parts.port
    except ValueError as error:
        raise ValueError(f"base_url: this is no URL; write it as for an SDK, such as {OPENAI}") from error
    if has_secret:
        raise ValueError("base_url: must not contain a user or a password; name the upstream's key by api_key_env")
    if parts.query or parts.fragment:
        raise ValueError("base_url: must end with its path; take out what follows the ? or #")
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"base_url: {url!r} is no base URL; write it as for an SDK, such as {OPENAI}")


def _require_sendable(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if name.lower() in KEY_HEADERS:
            raise ValueError(f"headers.{name}: a key does not belong into this file; name it by api_key_env")
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers.{name}: this cannot be sent as a header; use one line of plain characters")


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One provider account.

    It is OpenAI-shaped, unless `litellm_provider` gives LiteLLM's name of a provider that is not (such as
    `anthropic`): then LiteLLM translates its calls, no batches are sold, and a `base_url` other than the default is the
    provider's own.

    `models` are globs of the models that go there; the first upstream that matches gets a call, the first of all gets
    the rest. `api_key_env` names the environment variable with its key; without one, clients bring their own. `batch`
    false: it sells no batches. `capacity` is how many calls at once it serves well: where there are no batches, what
    can wait is bought while fewer are under way. `headers` are added to every call.
    """

    name: UpstreamName = DEFAULT_UPSTREAM
    base_url: str = OPENAI
    models: tuple[str, ...] = ("*",)
    api_key_env: str | None = None
    litellm_provider: str | None = None
    batch: bool = True
    flex: bool = True
    capacity: int | None = None
    batches: BatchCapabilities = field(default_factory=BatchCapabilities)
    limits: LimitSettings = field(default_factory=LimitSettings)
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = 10.0
    call_seconds: float = 900.0
    control_seconds: float = 60.0
    stall_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name: must not be empty")
        _require_base_url(self.base_url)
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            # what stands there is not repeated: it may be the key
            raise ValueError(
                "api_key_env: must be the name of a variable, such as OPENAI_API_KEY, and not the key itself"
            )
        if self.capacity is not None and self.capacity < 1:
            raise ValueError("capacity: must be at least 1 call at once; leave it out where it is not known")
        _require_sendable(self.headers)
        for name in ("connect_seconds", "call_seconds", "control_seconds", "stall_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: must be more than 0 seconds, such as 60s")


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """What is logged, and how. Bodies and keys never are."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured.

    `policies` None: the policy that comes with Standby. `cost_map` None: the price list of the installed LiteLLM.
    `timezone` is what times of day in policies and in `/by/06:00/` mean. `mode` holds for rules that name none.
    """

    server: ServerSettings = field(default_factory=ServerSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    upstreams: tuple[UpstreamSettings, ...] = (UpstreamSettings(),)
    keys: tuple[ProxyKey, ...] = ()
    policies: Path | None = None
    mode: Mode = Mode.ENFORCE
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    virtual_batches: VirtualSettings = field(default_factory=VirtualSettings)
    prices: Mapping[str, ModelPrice] = field(default_factory=dict)
    cost_map: Path | None = None
    timezone: tzinfo = UTC
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    logging: LoggingSettings = field(default_factory=LoggingSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)

    def __post_init__(self) -> None:
        if not self.upstreams:
            raise ValueError("upstreams: at least one is needed")
        _require_unique("upstreams", "name", [upstream.name for upstream in self.upstreams])
        _require_unique("keys", "name", [key.name for key in self.keys])
        _require_unique("keys", "sha256", [key.sha256 for key in self.keys])  # two tenants cannot share a key
        for number, key in enumerate(self.keys):
            if key.deadline_seconds is not None and key.deadline_seconds <= 0:
                raise ValueError(
                    f"keys.{number}.deadline_seconds: 0s is not a time to wait; give more, or leave it out"
                )
        look, margin = self.batching.look_seconds, self.batching.escalate.margin_seconds
        if look > margin:
            raise ValueError(
                f"batching.escalate.margin_seconds: {margin:g}s is less than batching.look, {look:g}s, so a deadline "
                "could pass between two looks; give a longer margin or a shorter look"
            )

    @property
    def policy_file(self) -> Path:
        """The policy in use."""
        return self.policies or default_policy()


def _require_unique(section: str, name: str, values: Sequence[str]) -> None:
    for number, value in enumerate(values):
        if value in values[:number]:
            first = values.index(value) + 1
            raise ValueError(f"{section}.{number}.{name}: number {first} of {section} has the same; keep one of them")


def check(config: Config, environ: Mapping[str, str]) -> None:
    """What can only be judged with everything known, command line included. Raises `ConfigFault`."""
    server = config.server
    if not config.keys and not server.loopback and not server.open_to_network:
        raise ConfigFault(
            f"listening on {server.host} without proxy keys would let anybody on the network use this proxy: configure "
            "keys, listen on 127.0.0.1, or say --open-to-network (server.open_to_network: true) if that is wanted"
        )
    for upstream in config.upstreams:
        if upstream.api_key_env is not None and not environ.get(upstream.api_key_env):
            raise ConfigFault(
                f"upstream {upstream.name!r}: the environment variable {upstream.api_key_env} (api_key_env) is not set"
            )
        if config.keys and upstream.api_key_env is None:
            raise ConfigFault(
                f"upstream {upstream.name!r} needs api_key_env: with proxy keys, clients bring no provider's key"
            )

    if config.webhooks.hosts:
        read_webhook_secrets(config, environ)
    read_operator_key(config, environ)


def read_operator_key(config: Config, environ: Mapping[str, str]) -> OperatorKey:
    """Whose key shows the operator's routes. Raises `ConfigFault` for one that is unsafe, or that buys as well."""
    variable = config.server.operator_key_env
    key = environ.get(variable) or None
    digest = hashlib.sha256((key or "").encode()).hexdigest()
    bought_with = {environ.get(upstream.api_key_env or "") for upstream in config.upstreams}
    if key is not None and (key in bought_with or any(digest == proxy_key.sha256 for proxy_key in config.keys)):
        raise ConfigFault(f"{variable} (server.operator_key_env) holds a key that buys; the operator needs another one")
    try:
        return OperatorKey(variable, key)
    except ValueError as error:
        raise ConfigFault(f"{variable} (server.operator_key_env) {error}") from error


def read_webhook_secrets(config: Config, environ: Mapping[str, str]) -> WebhookSecrets:
    """What webhooks are signed with. Raises `ConfigFault` where somebody would be left without."""
    own = {
        key.tenant: _webhook_secret(key.webhook_secret_env, f"key {key.name!r}: webhook_secret_env", environ)
        for key in config.keys
        if key.webhook_secret_env is not None
    }
    needs_common = not config.keys or any(key.tenant not in own for key in config.keys)
    variable = config.webhooks.secret_env
    return WebhookSecrets(_webhook_secret(variable, "webhooks.secret_env", environ) if needs_common else None, own)


def _webhook_secret(variable: str, where: str, environ: Mapping[str, str]) -> str:
    secret = environ.get(variable)
    if not secret:
        raise ConfigFault(f"{where}: the environment variable {variable} is not set; webhooks are signed with it")
    try:
        require_secret(secret)
    except ValueError as error:
        raise ConfigFault(f"{where}: what {variable} holds {error}") from error
    return secret


def with_overrides(
    config: Config,
    *,
    host: str | None = None,
    port: int | None = None,
    store: str | None = None,
    upstream: str | None = None,
    open_to_network: bool | None = None,
) -> Config:
    """The configuration with what the command line or the environment says. `upstream` is the first one's base URL."""
    try:
        server = replace(
            config.server,
            host=config.server.host if host is None else host,
            port=config.server.port if port is None else port,
            open_to_network=config.server.open_to_network if open_to_network is None else open_to_network,
        )
        first, *others = config.upstreams
        return replace(
            config,
            server=server,
            store=config.store if store is None else replace(config.store, url=store),
            upstreams=(first if upstream is None else replace(first, base_url=upstream), *others),
        )
    except ValueError as error:
        raise ConfigFault(str(error)) from error

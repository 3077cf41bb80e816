"""The configuration file's whole shape, put together from the Settings that the rooms define.

Every field has the default that is in force without a file, so an empty file is a good one: OpenAI, the clients' own
keys, an SQLite store in the working directory, loopback only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from proxy.batching.settings import Settings as BatchingSettings
from proxy.domain.errors import ConfigFault
from proxy.domain.ids import UpstreamName
from proxy.routing.planner import Settings as PlannerSettings
from proxy.routing.pricing import ModelPrice
from proxy.routing.ratelimit import Settings as LimitSettings
from proxy.server.auth import ProxyKey
from proxy.server.settings import Settings as ServerSettings
from proxy.wire.lines import BATCH_ENDPOINTS, STRIPPED

OPENAI = "https://api.openai.com/v1"
DEFAULT_UPSTREAM = UpstreamName("openai")
PACKAGE = Path(__file__).parent.parent


def default_policy() -> Path:
    """The policy that comes with Standby: in an installed package, else in the checkout."""
    packaged = PACKAGE / "_policies"
    folder = packaged if packaged.is_dir() else PACKAGE.parent / "policies"
    return folder / "default.yaml"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where deferred requests live. `key_file` holds the secret that seals credentials, unless STANDBY_SECRET_KEY does;
    None: `standby.key` beside the store.
    """

    url: str = "sqlite:standby.db"
    key_file: Path | None = None

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition(":")
        if scheme in {"redis", "rediss"}:
            raise ValueError(f"url: {self.url!r}: the Redis store is not built yet; use sqlite:PATH")
        if scheme != "sqlite" or not rest:
            raise ValueError(f"url: {self.url!r} is no store; write sqlite:PATH, such as sqlite:standby.db")

    @property
    def path(self) -> Path:
        """The file of an SQLite store."""
        return Path(self.url.partition(":")[2]).expanduser()


@dataclass(frozen=True, slots=True)
class BatchCapabilities:
    """What an upstream's batches take. `refuses` are body fields that are taken out of a line."""

    endpoints: frozenset[str] = BATCH_ENDPOINTS
    lines_max: int = 50_000
    body_max_bytes: int = 190_000_000
    window: str = "24h"
    window_seconds: float = 86_400.0
    refuses: frozenset[str] = STRIPPED


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One provider account, OpenAI-shaped.

    `models` are globs of the models that go there; the first upstream that matches gets a call, the first of all gets
    the rest. `api_key_env` names the environment variable with its key; without one, clients bring their own. `batch`
    false: it sells no batches. `headers` are added to every call.
    """

    name: UpstreamName = DEFAULT_UPSTREAM
    base_url: str = OPENAI
    models: tuple[str, ...] = ("*",)
    api_key_env: str | None = None
    batch: bool = True
    flex: bool = True
    batches: BatchCapabilities = field(default_factory=BatchCapabilities)
    limits: LimitSettings = field(default_factory=LimitSettings)
    headers: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = 10.0
    call_seconds: float = 900.0
    control_seconds: float = 60.0
    stall_seconds: float = 120.0

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url: {self.base_url!r} is no URL; write it as an SDK's base URL, such as {OPENAI}")
        if not self.name:
            raise ValueError("name: must not be empty")


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    """What is logged, and how. Bodies and keys never are."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured."""

    server: ServerSettings = field(default_factory=ServerSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    upstreams: tuple[UpstreamSettings, ...] = (UpstreamSettings(),)
    keys: tuple[ProxyKey, ...] = ()
    policies: Path | None = None
    planner: PlannerSettings = field(default_factory=PlannerSettings)
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    prices: Mapping[str, ModelPrice] = field(default_factory=dict)
    cost_map: Path | None = None
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    logging: LoggingSettings = field(default_factory=LoggingSettings)

    def __post_init__(self) -> None:
        if not self.upstreams:
            raise ValueError("upstreams: at least one is needed")
        _require_unique("upstreams", [upstream.name for upstream in self.upstreams])
        _require_unique("keys", [key.name for key in self.keys])
        escalate = self.batching.escalate
        if self.batching.look_seconds > escalate.margin_seconds:
            raise ValueError(
                f"batching: look ({self.batching.look_seconds:g}s) must not be longer than escalate.margin "
                f"({escalate.margin_seconds:g}s), or a deadline could pass between two looks"
            )

    @property
    def policy_file(self) -> Path:
        """The policy in use."""
        return self.policies or default_policy()


def _require_unique(name: str, names: list[str]) -> None:
    for one in names:
        if names.count(one) > 1:
            raise ValueError(f"{name}: {one!r} is there twice; names are unique")


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

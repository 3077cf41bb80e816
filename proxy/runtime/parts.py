"""Building single parts from the configuration."""

from collections.abc import Callable, Mapping

import aiohttp

from proxy.batching.desk import Desk
from proxy.batching.membership import Membership
from proxy.config.settings import OPENAI, Config, StoreSettings, UpstreamSettings, read_webhook_secrets
from proxy.delivery.post import Post
from proxy.delivery.webhooks import Secrets, Webhooks
from proxy.domain.clock import Clock
from proxy.domain.credential import Auth
from proxy.domain.events import Announce
from proxy.domain.ids import CredentialId, IdSource
from proxy.routing.latencybook import LatencyBook
from proxy.routing.pricing import PriceBook
from proxy.server.accounts import Account, Accounts
from proxy.server.auth import Doorman, OperatorKey
from proxy.store import redis
from proxy.store.interface import Reader, Store
from proxy.store.redis import RedisStore
from proxy.store.redis_reader import RedisReader
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite_reader import SqliteReader
from proxy.store.vault import Vault, read_secret
from proxy.upstream import litellm, openai
from proxy.upstream.costmap import read_cost_map
from proxy.upstream.interface import Capabilities


def build_store(settings: StoreSettings, clock: Clock) -> Store:
    """The configured store, not started."""
    if not settings.is_redis:
        return SqliteStore(settings.path, clock)
    return RedisStore(
        redis.Settings(
            url=settings.url,
            namespace=settings.namespace,
            patience_seconds=settings.patience_seconds,
            ledger_days=settings.ledger_days,
        ),
        clock,
    )


def build_reader(settings: StoreSettings, clock: Clock) -> Reader:
    """The configured store, only to be read; not started."""
    if not settings.is_redis:
        return SqliteReader(settings.path, clock)
    return RedisReader(
        settings.url,
        clock,
        namespace=settings.namespace,
        patience_seconds=settings.patience_seconds,
        reply_seconds=redis.REPLY_SECONDS,
    )


def build_vault(config: Config, store: Store, environ: Mapping[str, str]) -> Vault:
    """The vault, with the configured credentials in it."""
    secret = read_secret(environ, config.store.secret_file)
    configured = {
        configured_id(upstream): auth
        for upstream in config.upstreams
        if (auth := configured_auth(upstream, environ)) is not None
    }
    return Vault(store, secret, configured)


def build_accounts(
    config: Config, session: aiohttp.ClientSession, environ: Mapping[str, str], clock: Clock
) -> Accounts:
    """Every upstream, with the models that go there."""
    return Accounts(
        Account(
            upstream=build_upstream(upstream, session, clock),
            models=upstream.models,
            auth=configured_auth(upstream, environ),
            credential_id=configured_id(upstream),
        )
        for upstream in config.upstreams
    )


def build_upstream(
    upstream: UpstreamSettings, session: aiohttp.ClientSession, clock: Clock
) -> openai.OpenAIUpstream | litellm.LiteLLMUpstream:
    """The adapter for a configured upstream."""
    if upstream.litellm_provider is None:
        return openai.OpenAIUpstream(upstream_settings(upstream), session, clock.now)
    base_url = None if upstream.base_url == OPENAI else upstream.base_url
    return litellm.LiteLLMUpstream(
        litellm.Settings(
            upstream.name,
            upstream.litellm_provider,
            base_url,
            upstream.headers,
            upstream.call_seconds,
            upstream.capacity,
        )
    )


def build_doorman(config: Config, vault: Vault, accounts: Accounts, operator: OperatorKey) -> Doorman:
    """Who lets callers in: by proxy keys where there are any, else by their own."""
    has_configured = any(account.auth is not None for account in accounts)
    return Doorman(config.keys, vault.tenant_of, has_configured_credential=has_configured, operator=operator)


def build_desk(
    config: Config,
    clock: Clock,
    announce: Announce,
    ids: IdSource,
    prices: PriceBook,
    *,
    store: Store,
    vault: Vault,
    accounts: Accounts,
    membership: Membership,
) -> Desk:
    """What the engine works with. The limits are those that the membership shares."""
    return Desk(
        store=store,
        upstreams={account.upstream.name: account.upstream for account in accounts},
        vault=vault,
        prices=prices,
        limits=membership.limits,
        clock=clock,
        ids=ids,
        announce=announce,
        settings=config.batching,
        planning=config.planner,
        latencies=LatencyBook(config.planner.batches),
        holds=membership.holds,
        keeps=membership.keeps,
    )


def build_webhooks(
    config: Config,
    store: Store,
    clock: Clock,
    announce: Announce,
    environ: Mapping[str, str],
    is_my_turn: Callable[[], bool],
) -> Webhooks:
    """What tells clients' webhooks, with nothing to sign with where there are none."""
    settings = config.webhooks
    secrets = read_webhook_secrets(config, environ) if settings.hosts else Secrets(None, {})
    post = Post(timeout_seconds=settings.timeout_seconds, allow_private=settings.allow_private)
    return Webhooks(store, post, clock, announce, settings, secrets, is_my_turn)


def read_prices(config: Config) -> PriceBook:
    """LiteLLM's cost map with the configured overrides."""
    cost_map = read_cost_map(config.cost_map)
    return PriceBook.from_cost_map(cost_map.models, config.prices, cost_map.source)


def configured_id(upstream: UpstreamSettings) -> CredentialId:
    """The credential's id stays the same when the key behind it is rotated: its deferred requests go on."""
    return CredentialId(f"configured-{upstream.name}")


def configured_auth(upstream: UpstreamSettings, environ: Mapping[str, str]) -> Auth | None:
    """The upstream's own credential, from the environment."""
    key = environ.get(upstream.api_key_env) if upstream.api_key_env else None
    return None if not key else Auth((("authorization", f"Bearer {key}"),))


def upstream_settings(upstream: UpstreamSettings) -> openai.Settings:
    """The adapter's settings for a configured upstream."""
    batches = upstream.batches
    return openai.Settings(
        name=upstream.name,
        base_url=upstream.base_url,
        capabilities=Capabilities(
            batch=upstream.batch,
            flex=upstream.flex,
            endpoints=batches.endpoints,
            lines_max=batches.lines_max,
            bytes_max=batches.body_max_bytes,
            window=batches.window,
            window_seconds=batches.window_seconds,
            refuses=batches.refuses,
            enqueued_tokens_max=batches.enqueued_tokens_max,
            capacity=upstream.capacity,
        ),
        headers=upstream.headers,
        connect_seconds=upstream.connect_seconds,
        call_seconds=upstream.call_seconds,
        control_seconds=upstream.control_seconds,
        stall_seconds=upstream.stall_seconds,
    )

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.runtime.clock import SystemClock
from proxy.store import redis
from proxy.store.interface import Reader, Store
from proxy.store.redis import RedisStore
from proxy.store.redis_reader import RedisReader
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite_reader import SqliteReader
from tests.conftest import Servers
from tests.redis_server import RedisServer

OpenStore = Callable[[], Store]


@dataclass(frozen=True)
class Doors:
    """Two ways into the same data: as a process that runs on it, and only to read."""

    store: OpenStore
    reader: Callable[[], Reader]


@pytest.fixture(params=["sqlite", "valkey", "redis"])
def doors(request: pytest.FixtureRequest, tmp_path: Path, shared_redis: Servers) -> Doors:
    """Both ways into a store of each engine."""
    if request.param == "sqlite":
        path = tmp_path / "standby.db"
        return Doors(lambda: SqliteStore(path, SystemClock()), lambda: SqliteReader(path, SystemClock()))
    server, namespace = shared_redis(request.param), tmp_path.as_posix()
    return Doors(
        _opens_redis(server, tmp_path),
        lambda: RedisReader(server.url, SystemClock(), namespace=namespace, patience_seconds=3.0, reply_seconds=5.0),
    )


@pytest.fixture(params=["sqlite", "valkey", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, shared_redis: Servers) -> OpenStore:
    """Makes a store of each engine; every call opens the same data again, as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "standby.db", SystemClock())
    return _opens_redis(shared_redis(request.param), tmp_path)


@pytest.fixture
def open_sqlite(tmp_path: Path) -> OpenStore:
    """Makes a store of one process."""
    return lambda: SqliteStore(tmp_path / "standby.db", SystemClock())


@pytest.fixture(params=["valkey", "redis"])
def open_shared(request: pytest.FixtureRequest, tmp_path: Path, shared_redis: Servers) -> OpenStore:
    """Makes stores of each engine that several processes may have open at once."""
    return _opens_redis(shared_redis(request.param), tmp_path)


def _opens_redis(server: RedisServer, tmp_path: Path) -> OpenStore:
    settings = redis.Settings(url=server.url, namespace=tmp_path.as_posix())
    return lambda: RedisStore(settings, SystemClock())

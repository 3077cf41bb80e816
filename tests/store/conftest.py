from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.runtime.clock import SystemClock
from proxy.store.interface import Store
from proxy.store.sqlite import SqliteStore

OpenStore = Callable[[], Store]


@pytest.fixture(params=["sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Makes a store of each engine; every call opens the same data again."""
    assert request.param == "sqlite"
    return lambda: SqliteStore(tmp_path / "standby.db", SystemClock())

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.redis_server import RedisServer, binaries

settings.register_profile("standby", deadline=None)  # a busy machine is no finding
settings.load_profile("standby")

Servers = Callable[[str], RedisServer]


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A running server of the kind asked for, shared by all tests: each takes a namespace of its own."""
    known: dict[str, RedisServer] = {}
    with ExitStack() as stack:

        def server(kind: str) -> RedisServer:
            binary = binaries().get(kind)
            if binary is None:
                pytest.skip(f"no {kind}-server on this machine")
            if kind not in known:
                known[kind] = RedisServer(binary, tmp_path_factory.mktemp(kind))
                known[kind].start()
                stack.callback(known[kind].kill)
            return known[kind]

        yield server


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: many tests wait for real time, so one more than there are cores."""
    return (os.cpu_count() or 1) + 1

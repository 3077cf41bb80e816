"""What `standby serve` and `standby emulate` do: set up the process, run until told to stop."""

import asyncio
import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from proxy.config.load import STORE_VARIABLE, UPSTREAM_VARIABLE, load_config, said_by
from proxy.config.settings import Config, check, with_overrides
from proxy.domain.errors import ConfigFault
from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import parse
from proxy.runtime import workers
from proxy.runtime.clock import SystemClock
from proxy.runtime.loop import new_event_loop
from proxy.runtime.service import Service, running
from proxy.runtime.workers import Place
from proxy.telemetry import logs
from proxy.upstream.costmap import read_cost_map

FAREWELL = "Standby drains and stops."


def read_config(
    file: Path | None,
    environ: Mapping[str, str],
    *,
    host: str | None = None,
    port: int | None = None,
    store: str | None = None,
    upstream: str | None = None,
    open_to_network: bool | None = None,
) -> Config:
    """The configuration in force: command line over environment over file over defaults. Raises `ConfigFault`."""
    config = with_overrides(
        read_to_look(file, environ, store=store),
        host=host,
        port=port,
        upstream=upstream or said_by(environ, UPSTREAM_VARIABLE),
        open_to_network=open_to_network,
    )
    check(config, environ)
    return config


def read_to_look(file: Path | None, environ: Mapping[str, str], *, store: str | None = None) -> Config:
    """The configuration for whoever serves nobody, and so needs no keys: with the store that `serve` would use.

    Raises `ConfigFault`.
    """
    return with_overrides(load_config(file), store=store or said_by(environ, STORE_VARIABLE))


async def serve(
    config: Config, environ: Mapping[str, str], say: Callable[[str], None], place: Place | None = None
) -> int:
    """Run the proxy until SIGTERM or SIGINT, alone or as a worker at its place. SIGHUP looks at the policy again."""
    logs.configure(config.logging.level, config.logging.format, sys.stderr)
    async with running(config, SystemClock(), environ, place=place) as service:
        _on_signals(service.stopped.set)
        gc.collect()
        gc.freeze()  # the price map's 100,000 objects live for ever: scanning them again and again took 50 ms each time
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.policy_watch.look_now)
        if place is None:
            say(_greeting(config, service.url))
        else:
            _begin_work(place, service)
        await service.stopped.wait()
        if place is None:
            say(FAREWELL)
    return 0


def serve_with_workers(
    config: Config,
    environ: Mapping[str, str],
    count: int,
    say: Callable[[str], None],
    guard: AbstractContextManager[None],
) -> int:
    """Run so many workers behind one address until SIGTERM or SIGINT. SIGHUP makes each look at the policy file again.
    `guard` makes an exit code of a fault, in each of them.

    Raises `ConfigFault` when the store cannot be shared, or the address cannot be had.
    """
    if not config.store.is_redis:
        raise ConfigFault(
            f"--workers {count} needs a store that processes can share: --store redis://HOST:PORT/DB; an SQLite file "
            "is one process's"
        )
    listening = workers.listen(config)
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def work(place: Place) -> int:
        own_port = config.server.port and config.server.port + 1 + place.nest.number
        own = replace(config, server=replace(config.server, port=own_port))
        with guard, asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(serve(own, environ, say, place))

    def serving(urls: list[str]) -> None:
        say(_greeting(config, url))
        say(f"Its /metrics is of all workers together. Of one alone: {', '.join(urls)}")

    code = workers.watch_over(work, count, listening, serving)
    say(FAREWELL)
    return code


def _greeting(config: Config, url: str) -> str:
    upstreams = ", ".join(f"{upstream.name} ({upstream.base_url})" for upstream in config.upstreams)
    return f"Standby listens on {url} in front of {upstreams}. Base URL for clients: {url}/v1"


def _begin_work(place: Place, service: Service) -> None:
    """Say that this worker serves; stop, and clear up, when the process that watches over it is gone."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(place.alive)
        service.stopped.set()
        shutil.rmtree(place.nest.folder, ignore_errors=True)

    loop.add_reader(place.alive, stop)
    os.write(place.ready, f"{service.url}\n".encode())


async def emulate(
    host: str, port: int, turnaround: str, settings: Mapping[str, object], say: Callable[[str], None]
) -> int:
    """Run the fake provider until SIGTERM or SIGINT."""
    try:
        chosen = EmulatorSettings(turnaround=parse(turnaround), **settings)  # type: ignore[arg-type]  # checked by its own post-init
    except ValueError as error:
        raise ConfigFault(str(error)) from error
    stopped = asyncio.Event()
    _on_signals(stopped.set)
    prices = read_cost_map().models
    async with serving(chosen, SystemClock(), prices, host=host, port=port) as emulator:
        say(f"The emulator listens. Base URL: {emulator.url}/v1  Its account: {emulator.url}/emulator/account")
        await stopped.wait()
    return 0


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)

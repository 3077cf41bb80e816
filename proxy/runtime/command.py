"""What `standby serve` and `standby emulate` do: set up the process, run until told to stop."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from proxy.config.load import STORE_VARIABLE, UPSTREAM_VARIABLE, load_config, said_by
from proxy.config.settings import Config, check, with_overrides
from proxy.domain.errors import ConfigFault
from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import parse
from proxy.runtime.clock import SystemClock
from proxy.runtime.service import running
from proxy.telemetry import logs
from proxy.upstream.costmap import read_cost_map


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
        load_config(file),
        host=host,
        port=port,
        store=store or said_by(environ, STORE_VARIABLE),
        upstream=upstream or said_by(environ, UPSTREAM_VARIABLE),
        open_to_network=open_to_network,
    )
    check(config, environ)
    return config


async def serve(config: Config, environ: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run the proxy until SIGTERM or SIGINT. SIGHUP looks at the policy file again."""
    logs.configure(config.logging.level, config.logging.format, sys.stderr)
    async with running(config, SystemClock(), environ) as service:
        _on_signals(service.stopped.set)
        gc.collect()
        gc.freeze()  # the price map's 100,000 objects live for ever: scanning them again and again took 50 ms each time
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, service.policy_watch.look_now)
        upstreams = ", ".join(f"{upstream.name} ({upstream.base_url})" for upstream in config.upstreams)
        say(f"Standby listens on {service.url} in front of {upstreams}. Base URL for clients: {service.url}/v1")
        await service.stopped.wait()
        say("Standby drains and stops.")
    return 0


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

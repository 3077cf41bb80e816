"""The same day of 24 hours on virtual time, scraped every few minutes, as a file that Prometheus can be filled from."""

import asyncio
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import aiohttp

from grafana.check.day import DAY_SECONDS, LARGE, POLICY, Team, play
from proxy.config.settings import BatchCapabilities, Config, StoreSettings, UpstreamSettings
from proxy.emulator.serving import serving
from proxy.emulator.settings import RateLimit
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import LogNormal
from proxy.runtime.service import Service, running
from proxy.server.settings import Settings as ServerSettings
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.telemetry.pages import Page
from proxy.upstream.costmap import read_cost_map

SCRAPE_SECONDS = 120.0
TARGET = 'instance="standby:8080",job="standby"'
PROVIDER = EmulatorSettings(
    latency_seconds=1.5,
    rpm=500,
    model_limits={LARGE: RateLimit(requests=60, tokens=1_000_000)},
    turnaround=LogNormal(900.0, 0.8),
    seed=4,
)


def live_a_day(file: Path, folder: Path, ends_at: float, environ: Mapping[str, str]) -> None:
    """Play the day until the instant, and write what `/metrics` said all along, in OpenMetrics with times."""
    with file.open("w") as out:
        run(_day(out, folder, environ), start_at=ends_at - DAY_SECONDS)
        out.write("# EOF\n")


async def _day(out: TextIO, folder: Path, environ: Mapping[str, str]) -> None:
    clock = LoopClock()
    async with serving(PROVIDER, clock, read_cost_map().models) as provider:
        upstream = UpstreamSettings(
            base_url=f"{provider.url}/v1", batches=replace(BatchCapabilities(), enqueued_tokens_max=2_000_000)
        )
        config = Config(
            server=ServerSettings(port=0),
            store=StoreSettings(url=f"sqlite:{folder / 'standby.db'}"),
            upstreams=(upstream,),
            policies=POLICY,
        )
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            running(config, clock, environ, with_logs=False) as service,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            scraping = group.create_task(_scrape(service, clock, out))
            await play(Team(clock, http, service.url, provider.url, DAY_SECONDS))
            scraping.cancel()


async def _scrape(service: Service, clock: LoopClock, out: TextIO) -> None:
    while True:
        now = clock.now()
        page = service.metrics.page(await service.state.gauges())
        out.writelines(_lines(page, now))
        await clock.sleep_until(now + SCRAPE_SECONDS)


def _lines(page: Page, at: float) -> Iterator[str]:
    yield f"up{{{TARGET}}} 1 {at:.0f}\n"
    for family in page:
        for point in family.points:
            labels = ",".join([TARGET, *(f'{name}="{value}"' for name, value in point.labels)])
            value = "+Inf" if math.isinf(point.value) else repr(point.value)
            yield f"{point.name}{{{labels}}} {value} {at:.0f}\n"

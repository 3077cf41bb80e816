"""`standby demo` from beginning to end. Ctrl-C sends nothing more, waits for what is owed, and settles."""

import asyncio
import signal
import tempfile
from pathlib import Path

from rich.console import Console
from rich.live import Live

from proxy.demo import screen, setup
from proxy.demo.figures import Figures
from proxy.demo.plan import Ask, read_plan
from proxy.demo.settlement import settle, table
from proxy.demo.traffic import Tally, drive
from proxy.domain.clock import Clock
from proxy.emulator.serving import serving
from proxy.runtime.clock import SystemClock
from proxy.runtime.service import Service, running
from proxy.upstream.costmap import read_cost_map

TRAFFIC_SECONDS = 40.0
FRAMES_PER_SECOND = 4
LINE_SECONDS = 5.0
"""Between two lines where there is no terminal."""
CLEAN_SECONDS = 30.0
"""How long the provider's storage may take to be empty after the last answer."""
INTERRUPTED = 128 + signal.SIGINT


async def show(seed: int, *, requests: int | None = None, seconds: float = TRAFFIC_SECONDS) -> int:
    """Run it. Returns 0 when every figure adds up, 1 when one does not, 130 after Ctrl-C."""
    console = Console()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    plan = read_plan(seed=seed, seconds=seconds, requests=requests)
    clock = SystemClock()
    prices = read_cost_map().models
    with tempfile.TemporaryDirectory(prefix="standby-demo-") as folder:
        async with serving(setup.provider(seed), clock, prices) as provider:
            config = setup.proxy(Path(folder), provider.url)
            async with running(config, clock, {}, with_logs=False) as service:
                figures, tally = Figures(), Tally(len(plan))
                service.announcer.connect(figures.listen)
                screen.say(console, f"fake provider {provider.url}/v1, proxy {service.url}/v1, {len(plan)} requests")
                await _watch(console, service, plan, tally, figures, clock, stop)
                await _until_clean(service, clock)
                settled = await settle(service, provider.emulator, tally, figures)
    console.print(table(settled))
    for fault in settled.faults():
        screen.say(console, f"does not add up: {fault}")
    for wrong in tally.wrong[:5]:
        screen.say(console, f"wrong: {wrong}")
    if stop.is_set():
        screen.say(console, "interrupted: nothing more was sent, and everything that was accepted is settled")
        return INTERRUPTED
    return 1 if settled.faults() else 0


async def _watch(
    console: Console,
    service: Service,
    plan: list[Ask],
    tally: Tally,
    figures: Figures,
    clock: Clock,
    stop: asyncio.Event,
) -> None:
    """Drive the traffic and show it until the last answer."""
    async with asyncio.TaskGroup() as group:
        driving = group.create_task(drive(service.url, plan, tally, clock, stop), name="traffic")
        if not console.is_terminal:
            while not driving.done():
                screen.say(console, screen.line(tally, figures))
                await asyncio.wait({driving}, timeout=LINE_SECONDS)
            return
        with Live(console=console, refresh_per_second=FRAMES_PER_SECOND, transient=True) as live:
            while not driving.done():
                look = await service.state.gauges()
                queued = sum(depth.requests for depth in look.queues)
                live.update(screen.draw(tally, figures, queued, look.held_connections))
                await asyncio.wait({driving}, timeout=1 / FRAMES_PER_SECOND)


async def _until_clean(service: Service, clock: Clock) -> None:
    """Wait until no batch is open: its late results are booked, and its files are deleted."""
    give_up_at = clock.now() + CLEAN_SECONDS
    while await service.desk.store.open_batches() and clock.now() < give_up_at:
        await clock.sleep_until(clock.now() + 0.2)

"""Several policies over one trace, each on a virtual clock of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.backtest import play, workload
from proxy.backtest.provider import Settings as ProviderSettings
from proxy.backtest.report import Figures, figures
from proxy.backtest.traces import Row, read_trace
from proxy.backtest.weather import CompletionPath, World
from proxy.config.load import load_policy
from proxy.config.settings import Config
from proxy.domain.errors import ConfigFault
from proxy.domain.tier import Tier
from proxy.routing.pricing import PriceBook
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map

MONDAY = 1_800_230_400.0
"""2027-01-18 00:00 UTC, a Monday: when every trace begins."""
TICK_SECONDS, LOOK_SECONDS, SWEEP_SECONDS, RETENTION_SECONDS = 15.0, 60.0, 3600.0, 3600.0
"""Coarser than on a real clock: two weeks have to pass in minutes. Deadlines keep a minute's margin."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What all policies are played over."""

    trace: Path
    world: World
    seed: int
    rpm: int
    bulk_per_day: float
    flex_refusals: float | None


Report = Callable[[Path, float], None]
"""Told which policy is being played and the share of the trace that is over, 0 to 1."""


def backtest(
    scenario: Scenario, policies: Sequence[Path], config: Config, report: Report
) -> Iterator[tuple[Figures, play.Outcome]]:
    """Play every policy. Raises `ConfigFault` before anything is played if trace, policies or prices are not usable."""
    loaded = [(file, load_policy(file)) for file in policies]
    shape = workload.measure(read_trace(scenario.trace))
    if not shape.requests:
        raise ConfigFault(f"the trace {scenario.trace} has no requests")
    cost_map = read_cost_map(config.cost_map)
    prices = PriceBook.from_cost_map(cost_map.models, config.prices, cost_map.source)
    for model in shape.models:
        _require_price(prices, model)
    paths = {model: CompletionPath(scenario.world, shape.span_seconds, model, scenario.seed) for model in shape.models}
    for file, policy in loaded:
        settings = play.Play(
            policy=policy,
            config=coarse(config),
            prices=prices,
            paths=paths,
            provider=ProviderSettings(scenario.rpm, scenario.seed, scenario.flex_refusals),
        )
        outcome = run(
            play.play(settings, _rows(scenario, shape), _progress(report, file, shape.span_seconds)), start_at=MONDAY
        )
        yield (
            figures(outcome, policy=file.stem, world=scenario.world.value, seed=scenario.seed, rpm=scenario.rpm),
            outcome,
        )


def coarse(config: Config) -> Config:
    """The configuration with a slower engine."""
    batching = config.batching
    return replace(
        config,
        batching=replace(
            batching,
            tick_seconds=max(TICK_SECONDS, batching.tick_seconds),
            look_seconds=max(min(LOOK_SECONDS, batching.escalate.margin_seconds), batching.look_seconds),
            sweep_seconds=max(SWEEP_SECONDS, batching.sweep_seconds),
            retention_seconds=RETENTION_SECONDS,
        ),
    )


def _rows(scenario: Scenario, shape: workload.Shape) -> Iterator[Row]:
    settings = workload.Settings(seed=scenario.seed, bulk_per_day=scenario.bulk_per_day)
    return workload.workload(read_trace(scenario.trace), shape, settings)


def _progress(report: Report, file: Path, span_seconds: float) -> play.Progress:
    return lambda at: report(file, at / span_seconds if span_seconds else 1.0)


def _require_price(prices: PriceBook, model: str) -> None:
    if prices.rates(model, Tier.STANDARD) is None:
        raise ConfigFault(f"{model!r} has no price in {prices.source}: give it one under prices: in a --config file")

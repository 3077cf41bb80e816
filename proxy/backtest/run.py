"""Policies over one trace, each on a virtual clock of its own."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from proxy.backtest import play, workload
from proxy.backtest.provider import Settings as ProviderSettings
from proxy.backtest.report import Figures, figures
from proxy.backtest.traces import Row, read_trace
from proxy.backtest.weather import CompletionPath, World
from proxy.config.settings import Config
from proxy.domain.errors import ConfigFault
from proxy.domain.tier import Tier
from proxy.routing.policy import Policy
from proxy.routing.pricing import PriceBook
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map

DAY_SECONDS = 86_400.0
MONDAY = 1_800_230_400.0
"""2027-01-18 00:00 UTC, a Monday: when every trace begins."""
TICK_SECONDS, LOOK_SECONDS, SWEEP_SECONDS, RETENTION_SECONDS = 15.0, 60.0, 3600.0, 3600.0
"""Coarser than on a real clock: two weeks have to pass in minutes. Deadlines keep a minute's margin."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What all policies are played over. `days`: only the first ones of the trace; None: all of it."""

    trace: Path
    world: World
    seed: int
    rpm: int
    bulk_per_day: float
    flex_refusals: float | None
    days: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A scenario with everything that has to be read for it."""

    scenario: Scenario
    shape: workload.Shape
    prices: PriceBook
    paths: Mapping[str, CompletionPath]


Report = Callable[[float], None]
"""Told the share of the trace that has been played, 0 to 1."""


def set_stage(scenario: Scenario, config: Config) -> Stage:
    """Read the trace and the prices. Raises `ConfigFault` if they are not usable."""
    shape = workload.measure(_trace(scenario))
    if not shape.requests:
        raise ConfigFault(f"the trace {scenario.trace} has no requests")
    cost_map = read_cost_map(config.cost_map)
    prices = PriceBook.from_cost_map(cost_map.models, config.prices, cost_map.source)
    for model in shape.models:
        _require_price(prices, model)
    paths = {model: CompletionPath(scenario.world, shape.span_seconds, model, scenario.seed) for model in shape.models}
    return Stage(scenario, shape, prices, paths)


def play_policy(
    stage: Stage, policy: Policy, config: Config, report: Report, *, name: str
) -> tuple[Figures, play.Outcome]:
    """Play one policy on a virtual clock of its own."""
    scenario = stage.scenario
    settings = play.Play(
        policy=policy,
        config=coarse(config),
        prices=stage.prices,
        paths=stage.paths,
        provider=ProviderSettings(scenario.rpm, scenario.seed, scenario.flex_refusals),
    )
    span = stage.shape.span_seconds

    def progress(at: float) -> None:
        report(at / span if span else 1.0)

    outcome = run(play.play(settings, _rows(stage), progress), start_at=MONDAY)
    row = figures(outcome, policy=name, world=scenario.world.value, seed=scenario.seed, rpm=scenario.rpm)
    return row, outcome


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


def _trace(scenario: Scenario) -> Iterator[Row]:
    rows = read_trace(scenario.trace)
    if scenario.days is None:
        return rows
    end = scenario.days * DAY_SECONDS
    return takewhile(lambda row: row.at < end, rows)


def _rows(stage: Stage) -> Iterator[Row]:
    settings = workload.Settings(seed=stage.scenario.seed, bulk_per_day=stage.scenario.bulk_per_day)
    return workload.workload(_trace(stage.scenario), stage.shape, settings)


def _require_price(prices: PriceBook, model: str) -> None:
    if prices.rates(model, Tier.STANDARD) is None:
        raise ConfigFault(f"{model!r} has no price in {prices.source}: give it one under prices: in a --config file")

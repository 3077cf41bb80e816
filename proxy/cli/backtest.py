"""`standby backtest`."""

from pathlib import Path

import click

from proxy.cli.process import Faults

WORLDS = ("normal", "congested", "outage", "stuck", "slow3")


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.argument("more_policies", metavar="[POLICY]...", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--policy",
    "policies",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Policy file to compare; others may stand behind it. Default: the policy that comes with Standby.",
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file with prices and batching.")
@click.option("--world", default="normal", show_default=True, type=click.Choice(WORLDS), help="How long batches take.")
@click.option("--rpm", default=60, show_default=True, type=click.IntRange(1), help="Rate limit per model and minute.")
@click.option("--seed", default=1, show_default=True, help="Deadlines, bulk jobs and completion times follow from it.")
@click.option("--bulk-per-day", default=4.0, show_default=True, type=click.FloatRange(0), help="Bulk jobs added.")
@click.option("--flex-refusals", type=click.FloatRange(0, 1), help="Sell flex; so many calls find no capacity.")
@click.option("--days", type=click.FloatRange(0, min_open=True), help="Only so many first days of the trace.")
@click.option("--recommend", is_flag=True, help="Turn the knobs one by one and say which setting saves most.")
@click.option(
    "--deadlines-met",
    default=0.999,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The share of deadlines that a recommended setting has to meet.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to a JSON file.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Draw the figures on a self-contained page.")
def backtest(
    trace: Path,
    more_policies: tuple[Path, ...],
    policies: tuple[Path, ...],
    config_file: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    *,
    world: str,
    rpm: int,
    seed: int,
    bulk_per_day: float,
    flex_refusals: float | None,
    days: float | None,
    recommend: bool,
    deadlines_met: float,
) -> None:
    """What policies would have saved on a recorded TRACE (.csv or .jsonl, plain or .gz), on virtual time.

    The real planner, store and engine are played over the trace in front of a simulated provider. Requests without a
    deadline of their own are given one from a mix, and bulk jobs are added. Columns: offset_ms (or offset_s,
    timestamp), prompt_tokens, completion_tokens, and if known model and deadline_s. The proxy's own JSON log at level
    debug is a trace as well.
    """
    from proxy.backtest.run import Scenario  # noqa: PLC0415  nothing else needs what it imports
    from proxy.backtest.show import Wishes, show  # noqa: PLC0415
    from proxy.backtest.weather import World  # noqa: PLC0415

    with Faults():
        scenario = Scenario(trace, World(world), seed, rpm, bulk_per_day, flex_refusals, days)
        show(scenario, (*policies, *more_policies), config_file, Wishes(json_file, html_file, recommend, deadlines_met))

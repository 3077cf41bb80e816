"""`standby backtest` on the terminal: progress while it runs, then the table and the files that were asked for."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from proxy.backtest.account import Account
from proxy.backtest.page import page
from proxy.backtest.report import Figures, as_json, table
from proxy.backtest.run import Report, Scenario, backtest
from proxy.backtest.weather import World
from proxy.config.load import load_config


def play_all(
    trace: Path,
    policies: Sequence[Path],
    config_file: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    *,
    world: str,
    seed: int,
    rpm: int,
    bulk_per_day: float,
    flex_refusals: float | None,
) -> None:
    """Play every policy, draw the progress, print the table, write the files. Raises `ConfigFault`."""
    scenario = Scenario(trace, World(world), seed, rpm, bulk_per_day, flex_refusals)
    config = load_config(config_file)
    policies = policies or [config.policy_file]
    console = Console()
    results: list[tuple[Figures, Account]] = []
    with _bars(console) as progress:
        tasks = {file: progress.add_task(file.stem, total=1.0, start=False) for file in policies}
        report = _reporter(progress, tasks)
        for row, outcome in backtest(scenario, policies, config, report):
            results.append((row, outcome.account))
            progress.update(tasks[policies[len(results) - 1]], completed=1.0)
    rows = [row for row, _ in results]
    console.print(table(rows))
    if json_file is not None:
        json_file.write_text(as_json(rows) + "\n", encoding="utf-8")
    if html_file is not None:
        html_file.write_text(page(results, f"Backtest of {scenario.trace.name}"), encoding="utf-8")


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)


def _reporter(progress: Progress, tasks: dict[Path, TaskID]) -> Report:
    def report(file: Path, share: float) -> None:
        progress.start_task(tasks[file])
        progress.update(tasks[file], completed=share)

    return report

"""`standby backtest` on the terminal: progress while it runs, then the table and the files that were asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from proxy.backtest.account import Account
from proxy.backtest.page import page
from proxy.backtest.recommend import KNOBS, Setting, Trial, recommend
from proxy.backtest.report import COLUMNS, Figures, as_json, cells, table
from proxy.backtest.run import Report, Scenario, Stage, play_policy, set_stage
from proxy.config.load import load_config, load_policy
from proxy.config.settings import Config
from proxy.config.shipped import policy_path
from proxy.config.trial import Conditions
from proxy.domain.errors import ConfigFault
from proxy.routing.policy import Policy
from proxy.runtime.parts import read_prices


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to come of a backtest. `met_share` is the share of deadlines that a recommended setting has to meet."""

    json_file: Path | None = None
    html_file: Path | None = None
    recommend: bool = False
    met_share: float = 0.999


def show(scenario: Scenario, policies: Sequence[Path], config_file: Path | None, wishes: Wishes) -> None:
    """Play every policy, draw the progress, print the table, write the files. Raises `ConfigFault`."""
    config = load_config(config_file)
    files = policies or [config.policy_file]
    conditions = Conditions(read_prices(config), config.timezone)
    loaded = [load_policy(policy_path(Path(), file), conditions) for file in files]
    if wishes.recommend and len(files) > 1:
        raise ConfigFault("--recommend looks for settings around one policy; give one --policy")
    console = Console()
    results: list[tuple[Figures, Account]] = []
    trials: list[Trial] = []
    with _bars(console) as progress:
        plays = _Plays(set_stage(scenario, config), progress, results)
        if wishes.recommend:
            start = Setting(loaded[0].file, config)
            trials = list(recommend(start, KNOBS, plays.setting, met_share=wishes.met_share))
        else:
            for file, policy in zip(files, loaded, strict=True):
                plays.policy(policy, config, file.stem)
    if wishes.recommend:
        console.print(_trials_table(trials, wishes.met_share))
        console.print(_advice(trials, wishes.met_share))
    else:
        console.print(table([row for row, _ in results]))
    if wishes.json_file is not None:
        wishes.json_file.write_text(as_json([row for row, _ in results]) + "\n", encoding="utf-8")
    if wishes.html_file is not None:
        wishes.html_file.write_text(page(results, f"Backtest of {scenario.trace.name}"), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Plays:
    """Plays on one stage, with a bar for each; what came out is added to `results`."""

    stage: Stage
    progress: Progress
    results: list[tuple[Figures, Account]]

    def setting(self, setting: Setting) -> Figures:
        return self.policy(Policy(setting.policy), setting.config, _name(setting))

    def policy(self, policy: Policy, config: Config, name: str) -> Figures:
        with _task(self.progress, name) as report:
            row, outcome = play_policy(self.stage, policy, config, report, name=name)
        self.results.append((row, outcome.account))
        return row


def _name(setting: Setting) -> str:
    return ", ".join(f"{knob}: {value}" for knob, value in setting.changes) or "as it is"


def _trials_table(trials: Sequence[Trial], met_share: float) -> Table:
    """One row for each setting that was tried."""
    shown = Table(title="Settings, each tried on top of the best before it")
    for column in ("setting", "saved", "of optimum", "missed", "meets", "kept"):
        shown.add_column(column, justify="left" if column == "setting" else "right")
    for trial in trials:
        row = trial.figures
        shown.add_row(
            _name(trial.setting),
            cells(row)[COLUMNS.index("saved")],
            f"{row.share_of_optimum:.3f}",
            f"{row.missed_share:.3%}",
            "yes" if 1 - row.missed_share >= met_share else "no",
            "yes" if trial.best else "no",
        )
    return shown


def _advice(trials: Sequence[Trial], met_share: float) -> str:
    """The recommendation in words."""
    best = [trial for trial in trials if trial.best][-1]
    if 1 - best.figures.missed_share < met_share:
        return f"No setting meets {met_share:.2%} of the deadlines; the one that misses fewest is:\n{_changes(best)}"
    return f"Saves most at {met_share:.2%} of the deadlines or more:\n{_changes(best)}"


def _changes(trial: Trial) -> str:
    return "\n".join(f"  {knob}: {value}" for knob, value in trial.setting.changes) or "  the settings as they are"


@contextmanager
def _task(progress: Progress, name: str) -> Iterator[Report]:
    task: TaskID = progress.add_task(name, total=1.0)
    yield lambda share: progress.update(task, completed=share)
    progress.update(task, completed=1.0)


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True)

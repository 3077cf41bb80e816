"""The live view: progress, tiers, batches, dollars, what was just decided; plain lines where there is no terminal."""

from collections import Counter

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from proxy.demo.figures import Figures
from proxy.demo.traffic import Tally

TIERS = ("batch", "standard")


def draw(tally: Tally, figures: Figures, queued: int, held: int) -> RenderableType:
    """One frame."""
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_row(
        f"answered {tally.answered}/{tally.planned}",
        ProgressBar(total=tally.planned, completed=tally.answered),
        f"sent {tally.sent}, held {held}, queued {queued}",
    )
    said = Text("\n".join(figures.said) or "waiting for the first requests", style="dim")
    return Group(
        Panel(bar, title="Standby demo: a provider's day in a minute", border_style="cyan"),
        Columns([_tiers(figures), _batches(figures), _money(figures)], equal=False, expand=True),
        Panel(said, title="what it does", border_style="dim"),
    )


def line(tally: Tally, figures: Figures) -> str:
    """One frame where nothing can be drawn."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(figures.batches.values()).items()))
    return (
        f"answered {tally.answered}/{tally.planned}  batch {figures.answered['batch']}  "
        f"standard {figures.answered['standard']}  batches: {states or 'none'}  "
        f"list ${figures.list_usd:.4f}  paid ${figures.paid_usd:.4f}"
    )


def say(console: Console, text: str) -> None:
    """A plain line."""
    console.print(text, highlight=False, markup=False)


def _tiers(figures: Figures) -> Table:
    table = Table(title="bought at", expand=True)
    table.add_column("tier")
    table.add_column("answers", justify="right")
    for tier in TIERS:
        table.add_row(tier, str(figures.answered[tier]))
    table.add_row("escalated", str(figures.escalated))
    return table


def _batches(figures: Figures) -> Table:
    table = Table(title="batches", expand=True)
    table.add_column("state")
    table.add_column("count", justify="right")
    for state, count in sorted(Counter(figures.batches.values()).items()):
        table.add_row(state, str(count))
    return table


def _money(figures: Figures) -> Table:
    saved = figures.list_usd - figures.paid_usd
    table = Table(title="so far", expand=True)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("list price", f"${figures.list_usd:.5f}")
    table.add_row("paid", f"${figures.paid_usd:.5f}")
    table.add_row("saved", f"${saved:.5f}", style="green")
    table.add_row("deadlines met", f"{figures.met}/{figures.met + figures.missed}")
    return table

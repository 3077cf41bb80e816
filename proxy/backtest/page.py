"""The figures of a backtest as one self-contained page: a table, and plots for every policy. Nothing is fetched."""

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from proxy.backtest.account import SLACK_EDGES, Account
from proxy.backtest.report import COLUMNS, Figures, cells
from proxy.backtest.svg import Layer, bars, points, stacked_bars
from proxy.domain.tier import Tier

BUCKETS_MAX = 112
COLORS = {Tier.BATCH: "#009E73", Tier.FLEX: "#56B4E9", Tier.STANDARD: "#E69F00", Tier.PRIORITY: "#CC79A7"}
"""Okabe and Ito's colors, which color-blind people can tell apart."""
LIST_COLOR, MET_COLOR, MISSED_COLOR, POINT_COLOR = "#888888", "#0072B2", "#D55E00", "#0072B2"
SLACK_NAMES = ("missed", "1 min", "5 min", "15 min", "1 h", "4 h", "12 h", "24 h", "more")
HOURS_PER_DAY = 24
STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --rule: #d8d8d8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --rule: #3a3a3a; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 1200px; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--rule); padding: .3rem .5rem; text-align: right; white-space: nowrap;
  font-size: 13px; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 1rem; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
svg text.title { font-weight: 600; font-size: 13px; }
svg .grid { stroke: var(--rule); }
"""


def page(results: Sequence[tuple[Figures, Account]], title: str) -> str:
    """The whole document."""
    name = escape(title)
    sections = "".join(_section(row, account) for row, account in results)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style></head>'
        f"<body><h1>{name}</h1>{_table([row for row, _ in results])}"
        f'<div class="plots">{_savings_against_risk([row for row, _ in results])}</div>{sections}</body></html>\n'
    )


def bucketed(by_hour: dict[int, Decimal], hours: int) -> list[float]:
    """Hourly amounts in at most `BUCKETS_MAX` equal stretches; the sum stays."""
    width = max(1, -(-hours // BUCKETS_MAX))
    buckets = [Decimal(0)] * -(-hours // width)
    for hour, amount in by_hour.items():
        buckets[hour // width] += amount
    return [float(amount) for amount in buckets]


def _section(row: Figures, account: Account) -> str:
    heading = escape(f"{row.policy} · {row.world} · seed {row.seed} · {row.rpm} rpm")
    plots = [_spend(account), _slack(account)]
    if account.missed_by_hour:
        plots.append(_misses(account))
    return f'<h2>{heading}</h2><div class="plots">{"".join(plots)}</div>'


def _table(rows: Sequence[Figures]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _spend(account: Account) -> str:
    hours = _hours(account)
    layers = [Layer(tier.value, color, bucketed(_of_tier(account, tier), hours)) for tier, color in COLORS.items()]
    listed = Layer("list price", LIST_COLOR, bucketed(account.list_by_hour, hours))
    return stacked_bars("Spend over time by tier, dollars", layers, listed, _days(hours, len(listed.values)), _dollars)


def _of_tier(account: Account, tier: Tier) -> dict[int, Decimal]:
    return {hour: spent[tier] for hour, spent in account.spend_by_hour.items() if tier in spent}


def _slack(account: Account) -> str:
    values = [
        (name, float(account.slack_classes[index]), MET_COLOR if index else MISSED_COLOR)
        for index, name in enumerate(SLACK_NAMES[: len(SLACK_EDGES) + 1])
    ]
    return bars("Time left at delivery, up to; requests", values, _count)


def _misses(account: Account) -> str:
    hours = _hours(account)
    missed = bucketed({hour: Decimal(count) for hour, count in account.missed_by_hour.items()}, hours)
    nothing = Layer("", "none", [])
    layer = Layer("missed", MISSED_COLOR, missed)
    return stacked_bars("Missed deadlines over time, requests", [layer], nothing, _days(hours, len(missed)), _count)


def _savings_against_risk(rows: Sequence[Figures]) -> str:
    values = [
        (f"{row.policy} ({row.world}, {row.rpm} rpm)", row.missed_share, float(row.saved_usd / row.list_usd))
        for row in rows
        if row.list_usd
    ]
    return points("Savings (share of the list price) against missed deadlines", values, _percent, _percent, POINT_COLOR)


def _hours(account: Account) -> int:
    return 1 + max([*account.spend_by_hour, *account.list_by_hour, *account.missed_by_hour], default=0)


def _days(hours: int, buckets: int) -> dict[int, str]:
    """Which bucket begins which day; few enough to be read."""
    days = hours // HOURS_PER_DAY
    every = max(1, days // 7)
    return {day * HOURS_PER_DAY * buckets // hours: f"day {day}" for day in range(0, days + 1, every)}


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if 0 < value < 10 else f"${value:,.0f}"  # noqa: PLR2004  cents matter where there are few


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"

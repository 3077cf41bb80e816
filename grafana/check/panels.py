"""The panels of a provisioned dashboard, their queries with the variables filled in, and Prometheus's answers."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana.check.prometheus import Sampled, query, query_range

DASHBOARDS = Path(__file__).parent.parent / "dashboards"
FILES = tuple(sorted(DASHBOARDS.glob("*.json")))


@dataclass(frozen=True)
class Span:
    """What a dashboard shows: from, to and between two points, in unix seconds. `rate_seconds` is what `rate()` looks
    back, at least four scrapes.
    """

    start: float
    end: float
    step: float
    rate_seconds: float

    def fill(self, expr: str) -> str:
        """The expression with everything chosen, as Grafana sends it."""
        chosen = {
            "$__rate_interval": f"{self.rate_seconds:.0f}s",
            "$__range": f"{self.end - self.start:.0f}s",
            "$upstream": ".+",
            "$model": ".+",
            "$policy": ".+",
        }
        for name, value in chosen.items():
            expr = expr.replace(name, value)
        return expr


@dataclass(frozen=True)
class Shown:
    """One query of a panel, and its answer."""

    dashboard: str
    panel: str
    expr: str
    series: tuple[Sampled, ...]

    @property
    def numbers(self) -> list[float]:
        return [number for one in self.series for number in one.numbers if math.isfinite(number)]


def panels(file: Path) -> Iterator[dict[str, Any]]:
    """Every panel, those of collapsed rows too; rows are none."""
    for panel in json.loads(file.read_text())["panels"]:
        inner = panel.get("panels", [])
        yield from inner if panel["type"] == "row" else [panel]


def ask_all(url: str, file: Path, span: Span) -> Iterator[Shown]:
    """Every query of a dashboard, asked as Grafana would ask it."""
    for panel in panels(file):
        for target in panel["targets"]:
            expr = span.fill(target["expr"])
            if target["instant"]:
                series = query(url, expr, span.end)
            else:
                series = query_range(url, expr, span.start, span.end, span.step)
            yield Shown(file.stem, panel["title"], expr, series)

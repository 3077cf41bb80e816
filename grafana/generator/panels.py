"""What a panel is, in our few words, and what Grafana calls it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


class Unit(StrEnum):
    """What a panel's numbers are, by Grafana's ids."""

    DOLLARS = "currencyUSD"
    SHARE = "percentunit"
    SECONDS = "s"
    BYTES = "bytes"
    COUNT = "short"
    TIMES = "suffix:x"


class Color(StrEnum):
    """Grafana's names."""

    GREEN = "green"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"
    BLUE = "blue"
    TEXT = "text"


@dataclass(frozen=True)
class Step:
    """From this value on, this color. The first step of a panel has no value."""

    color: Color
    value: float | None = None


NEUTRAL = (Step(Color.TEXT),)


@dataclass(frozen=True)
class Query:
    """A line of PromQL; `legend` is how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. `description` is a sentence for who reads it, not for who wrote it."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    steps: tuple[Step, ...] = NEUTRAL
    decimals: int | None = None
    least: float | None = None
    most: float | None = None

    kind = ""

    @property
    def is_instant(self) -> bool:
        """Whether it shows one value of now, and no line over time."""
        return True

    def defaults(self) -> Json:
        """How its values look."""
        steps = [{"color": step.color.value, "value": step.value} for step in self.steps]
        shown: Json = {
            "unit": self.unit.value,
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "thresholds"},
            "noValue": "none",
        }
        for name, value in (("decimals", self.decimals), ("min", self.least), ("max", self.most)):
            if value is not None:
                shown[name] = value
        return shown

    def options(self) -> Json:
        return {}

    def overrides(self) -> list[Json]:
        return []

    def transformations(self) -> list[Json]:
        return []

    def targets(self) -> list[Json]:
        form = "table" if isinstance(self, Table) else "time_series"
        return [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "format": form,
                "instant": self.is_instant,
                "range": not self.is_instant,
            }
            for number, query in enumerate(self.queries)
        ]

    def json(self, identity: int, x: int, y: int) -> Json:
        """Grafana's own form of the panel, at its place."""
        made = {
            "id": identity,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": self.targets(),
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.options(),
        }
        transformations = self.transformations()
        return made | ({"transformations": transformations} if transformations else {})


@dataclass(frozen=True)
class Stat(Panel):
    """One number, large."""

    width: int = 4
    height: int = 5

    kind = "stat"

    def options(self) -> Json:
        return {
            "graphMode": "none",
            "colorMode": "value",
            "justifyMode": "auto",
            "textMode": "auto",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }


@dataclass(frozen=True)
class Lines(Panel):
    """Lines over time, or areas on top of each other. `limits` draws the steps as lines across. `most_at_least` is
    where the axis ends when nothing is larger.
    """

    stacked: bool = False
    limits: bool = False
    most_at_least: float | None = None
    least: float | None = 0

    kind = "timeseries"

    @property
    def is_instant(self) -> bool:
        return False

    def defaults(self) -> Json:
        custom: Json = {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 60 if self.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if self.limits else "off"},
        }
        if self.most_at_least is not None:
            custom["axisSoftMax"] = self.most_at_least
        return super().defaults() | {"color": {"mode": "palette-classic"}, "custom": custom}

    def options(self) -> Json:
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True)
class Bars(Panel):
    """One bar for each series of now."""

    steps: tuple[Step, ...] = (Step(Color.BLUE),)
    least: float | None = 0

    kind = "bargauge"

    def options(self) -> Json:
        return {
            "displayMode": "basic",
            "valueMode": "text",
            "namePlacement": "left",
            "showUnfilled": True,
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 16,
            "maxVizHeight": 300,
            "orientation": "horizontal",
            "text": {"titleSize": 13, "valueSize": 14},
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }


@dataclass(frozen=True)
class Column:
    """One column of a table: the label or the query that it shows, and how."""

    source: str
    title: str
    unit: Unit | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Table(Panel):
    """A row for each combination of labels. The queries are joined by them."""

    columns: tuple[Column, ...] = field(default=())

    kind = "table"

    def defaults(self) -> Json:
        return super().defaults() | {"custom": {"align": "auto", "inspect": False, "cellOptions": {"type": "auto"}}}

    def options(self) -> Json:
        return {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"}

    def overrides(self) -> list[Json]:
        return [_override(column) for column in self.columns if column.unit is not None or column.steps]

    def transformations(self) -> list[Json]:
        """The queries side by side, under the columns' titles; the instant of the query is no news."""
        names = {column.source: column.title for column in self.columns}
        order = {column.source: number for number, column in enumerate(self.columns)}
        organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
        return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


def _override(column: Column) -> Json:
    properties: list[Json] = []
    if column.unit is not None:
        properties.append({"id": "unit", "value": column.unit.value})
    if column.steps:
        steps = [{"color": step.color.value, "value": step.value} for step in column.steps]
        properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": steps}})
        properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
    return {"matcher": {"id": "byName", "options": column.title}, "properties": properties}

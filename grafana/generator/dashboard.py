"""Rows of panels, the variables above them, and the whole as Grafana's JSON."""

import json
from dataclasses import dataclass

from grafana.generator.panels import DATASOURCE, Json, Panel

COLUMNS = 24
SCHEMA_VERSION = 41
"""Grafana 11.6 and newer; older ones are migrated by Grafana itself."""


@dataclass(frozen=True)
class Row:
    """Panels below a title, laid out from left to right; a full line begins a new one."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One dashboard. `since` is the time range that it opens with."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    since: str = "now-24h"


def to_json(dashboard: Dashboard) -> str:
    """The text of the provisioned file."""
    made = {
        "uid": dashboard.uid,
        "id": None,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["standby"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": dashboard.since, "to": "now"},
        "annotations": {"list": [_restarts()]},
        "templating": {"list": [_datasource(), *(_label(name) for name in dashboard.labels)]},
        "links": [_others()],
        "panels": _panels(dashboard.rows),
    }
    return json.dumps(made, indent=1) + "\n"


def _panels(rows: tuple[Row, ...]) -> list[Json]:
    made: list[Json] = []
    identity, y = 0, 0
    for row in rows:
        identity += 1
        header: Json = {
            "id": identity,
            "type": "row",
            "title": row.title,
            "collapsed": row.collapsed,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y},
        }
        placed, bottom = _placed(row.panels, identity, y + 1)
        identity += len(placed)
        made.append(header | {"panels": placed if row.collapsed else []})
        if not row.collapsed:
            made.extend(placed)
        y = y + 1 if row.collapsed else bottom
    return made


def _placed(panels: tuple[Panel, ...], identity: int, top: int) -> tuple[list[Json], int]:
    made: list[Json] = []
    x, y, height = 0, top, 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, height = 0, y + height, 0
        identity += 1
        made.append(panel.json(identity, x, y))
        x += panel.width
        height = max(height, panel.height)
    return made, y + height


def _datasource() -> Json:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _label(name: str) -> Json:
    source = {"upstream": "upstream", "model": "model", "policy": "policy"}[name]
    metric = "standby_decisions_total" if name == "policy" else "standby_requests_total"
    query = f"label_values({metric}, {source})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _restarts() -> Json:
    """A mark where another version began to run, or other prices are in force."""
    running = "count by (version, price_map) (standby_build_info"
    expr = f"{running}) unless {running} offset 5m)"
    return {
        "name": "Another version or price map",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": expr,
        "titleFormat": "Standby {{version}}, prices of {{price_map}}",
        "step": "60s",
    }


def _others() -> Json:
    return {
        "title": "Standby",
        "type": "dashboards",
        "icon": "external link",
        "tooltip": "The other dashboard",
        "tags": ["standby"],
        "asDropdown": False,
        "targetBlank": False,
        "includeVars": True,
        "keepTime": True,
    }

"""What can be wrong in a dashboard: a metric that does not exist, a panel without a unit, two in one place."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from grafana.check.panels import FILES, Span, panels
from grafana.generator.__main__ import DASHBOARDS, FOLDER
from grafana.generator.dashboard import to_json
from grafana.generator.panels import Unit
from proxy.telemetry.gaugeseries import SERIES
from proxy.telemetry.pages import Family, read
from proxy.telemetry.series import Series
from tests.test_readme import REPOSITORY

Json = dict[str, Any]
RULES = REPOSITORY / "grafana" / "rules.yml"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
GROWING = ("_total", "_bucket", "_sum", "_count")
FROM_PROMETHEUS = frozenset({"job", "instance"})
RANGED = {"rate", "increase"}
SPAN = Span(0.0, 86_400.0, step=60.0, rate_seconds=60.0)


def known() -> dict[str, set[str]]:
    """Every series that Standby can have, and its labels."""
    series = Series({"version": "1", "price_map": "a"})
    labels = {family.name: set(family.label_names) for family in declared(series)}
    found: dict[str, set[str]] = {}
    for family in (*series.page(), *process()):
        for suffix in SUFFIXES.get(family.kind, ("",)):
            name = family.name if family.name.endswith(suffix) and suffix else family.name + suffix
            found[name] = labels.get(family.name, set()) | ({"le"} if suffix == "_bucket" else set())
    found["standby_build_info"] = {"version", "price_map"}
    found |= {gauge.name: set(gauge.labels) for gauge in SERIES}
    found["standby_listener_failures_total"] = set()
    found["up"] = set()
    return found


class Declared:
    """A metric's name and labels, whether it has a child yet or not."""

    def __init__(self, name: str, label_names: tuple[str, ...]) -> None:
        self.name = name
        self.label_names = label_names


def declared(series: Series) -> Iterator[Declared]:
    for family in vars(series).values():
        metric = getattr(family, "_metric", None)
        if metric is not None:
            yield Declared(metric._name, metric._labelnames)


def process() -> Iterator[Family]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    yield from read(registry)


KNOWN = known()
RECORDED = {
    rule["record"]
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}


def selectors(node: Any) -> Iterator[tuple[Any, str]]:
    """Every selector in an expression, with the function that it is in."""
    yield from _selectors(node, "")


def _selectors(node: Any, function: str) -> Iterator[tuple[Any, str]]:
    match node:
        case promql_parser.VectorSelector():
            yield node, function
        case promql_parser.MatrixSelector():
            yield node.vector_selector, function
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument, node.func.name)
        case promql_parser.AggregateExpr():
            yield from _selectors(node.expr, function)
        case promql_parser.BinaryExpr():
            yield from _selectors(node.lhs, function)
            yield from _selectors(node.rhs, function)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selectors(node.expr, function)
        case _:
            return


def faults_of(expr: str) -> list[str]:
    """What is wrong with a query."""
    faults = []
    for selector, function in selectors(promql_parser.parse(SPAN.fill(expr))):
        if selector.name in RECORDED:
            continue
        if selector.name not in KNOWN:
            faults.append(f"{selector.name} does not exist")
            continue
        labels = {matcher.name for matcher in selector.matchers.matchers}
        if unknown := labels - KNOWN[selector.name] - FROM_PROMETHEUS:
            faults.append(f"{selector.name} has no label {', '.join(sorted(unknown))}")
        if selector.name.endswith(GROWING) != (function in RANGED):
            faults.append(f"{selector.name} in {function or 'no function'}: counters are for rate, gauges are not")
    return faults


def grouped_by(expr: str) -> set[str]:
    return {label for labels in re.findall(r"\bby \(([^)]*)\)", expr) for label in re.findall(r"\w+", labels)}


EXPRESSIONS = [
    pytest.param(target["expr"], id=f"{file.stem}: {panel['title']} {target['refId']}")
    for file in FILES
    for panel in panels(file)
    for target in panel["targets"]
]
ALERTS = [
    pytest.param(rule["expr"], id=rule.get("alert") or rule["record"])
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
]


@pytest.mark.parametrize("expr", [*EXPRESSIONS, *ALERTS])
def test_every_query_asks_for_what_there_is(expr: str) -> None:
    assert not faults_of(expr)
    all_labels = {"le", *FROM_PROMETHEUS, *(label for labels in KNOWN.values() for label in labels)}
    assert grouped_by(expr) <= all_labels


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("rate(standby_request_total[5m])", "standby_request_total does not exist"),
        ('rate(standby_requests_total{tenant="a"}[5m])', "standby_requests_total has no label tenant"),
        ("sum(standby_requests_total)", "standby_requests_total in no function: counters are for rate, gauges are not"),
        ("rate(standby_leader[5m])", "standby_leader in rate: counters are for rate, gauges are not"),
    ],
)
def test_a_wrong_query_is_found(expr: str, fault: str) -> None:
    assert faults_of(expr) == [fault]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_what_grafana_is_given_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == to_json(DASHBOARDS[name]), "run: python -m grafana.generator"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_panel_has_what_its_reader_needs(file: Any) -> None:
    for panel in panels(file):
        title = panel["title"]
        assert panel["description"].endswith("."), f"{title} is not explained"
        assert panel["fieldConfig"]["defaults"]["unit"] in list(Unit), f"{title} has no unit"
        assert panel["targets"], f"{title} asks nothing"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"
            assert (
                "$__rate_interval" in target["expr"] or "rate(" not in target["expr"] or "[$__range]" in target["expr"]
            )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_have_ids_and_places_of_their_own(file: Any) -> None:
    dashboard = json.loads(file.read_text())
    assert dashboard["id"] is None
    assert 8 <= len(dashboard["uid"]) <= 40
    assert "__inputs" not in dashboard
    everything = [*dashboard["panels"], *(inner for row in dashboard["panels"] for inner in row.get("panels", []))]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids))
    for group in (dashboard["panels"], *(row.get("panels", []) for row in dashboard["panels"])):
        for panel in group:
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for first, second in combinations(group, 2):
            assert not overlap(first["gridPos"], second["gridPos"]), (first["title"], second["title"])


def overlap(first: Json, second: Json) -> bool:
    beside = first["x"] + first["w"] <= second["x"] or second["x"] + second["w"] <= first["x"]
    below = first["y"] + first["h"] <= second["y"] or second["y"] + second["h"] <= first["y"]
    return not beside and not below


def test_the_first_rows_are_open_and_begin_with_money() -> None:
    rows = [panel for panel in json.loads((FOLDER / "overview.json").read_text())["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows if not row["collapsed"]] == ["Money", "Deadlines"]


def test_the_uids_are_different_and_the_data_source_is_the_provisioned_one() -> None:
    uids = {json.loads(file.read_text())["uid"] for file in FILES}
    assert len(uids) == len(FILES) == len(DASHBOARDS)
    provisioned = yaml.safe_load((FOLDER.parent / "provisioning/datasources/prometheus.yaml").read_text())
    (source,) = provisioned["datasources"]
    assert (source["uid"], source["type"]) == ("standby-prometheus", "prometheus")

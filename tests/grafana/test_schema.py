"""Grafana's own JSON Schemas judge the form of the dashboards, where they lie beside the repository."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from grafana.check.panels import FILES
from tests.test_readme import REPOSITORY

SCHEMAS = REPOSITORY.parent / "shared" / "grafana-schema"
ANYTHING = (("MatcherConfig", "options"), ("DynamicConfigValue", "value"))
"""What is `any` in Grafana's own types (a column's name, a unit), and was written down as an object in the schemas."""
Json = dict[str, Any]


def schema(name: str) -> Json:
    file = SCHEMAS / f"{name}.jsonschema.json"
    if not file.exists():
        pytest.skip(f"Grafana's schemas are not in {SCHEMAS}")
    loaded: Json = json.loads(file.read_text())
    for definition, member in ANYTHING:
        if definition in loaded["definitions"]:
            loaded["definitions"][definition]["properties"][member] = {}
    return loaded


def errors(validator: Draft7Validator, value: object) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(value)]


def of_options(kind: str) -> Draft7Validator:
    """The schema of what a panel of this kind may be told."""
    whole = schema(kind)
    return Draft7Validator({"definitions": whole["definitions"], "$ref": "#/definitions/Options"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dashboards_are_what_grafana_says_a_dashboard_is(file: Path) -> None:
    assert not errors(Draft7Validator(schema("dashboard")), json.loads(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_are_told_only_what_their_kind_knows(file: Path) -> None:
    dashboard = json.loads(file.read_text())
    for row in dashboard["panels"]:
        for panel in [row, *row.get("panels", [])]:
            if panel["type"] != "row":
                assert not errors(of_options(panel["type"]), panel["options"]), panel["title"]


def test_seeded_faults_are_found() -> None:
    validator = Draft7Validator(schema("dashboard"))
    right = json.loads(FILES[0].read_text())
    for path, value in ((("panels", 1, "gridPos", "w"), 99), (("panels", 1, "titel"), "x"), (("schemaVersion",), "41")):
        wrong = deepcopy(right)
        place = wrong
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert errors(validator, wrong), path
    assert errors(of_options("stat"), {"graphMode": "none"})

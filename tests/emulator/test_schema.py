"""Values that conform to schemas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.emulator.schema import conforming


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"type": "string", "minLength": 6}, "text.."),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "number", "maximum": 0.5}, 0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 7}, 7),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}}, 1),
        ({}, "text"),
    ],
)
def test_a_value_conforms(schema: dict[str, object], value: object) -> None:
    assert conforming(schema, "text") == value


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    node: dict[str, object] = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert conforming(node, "x") is not None
    assert conforming({"$ref": "#"}, "x") == "x"


SCALARS = st.sampled_from([None, True, 0, -3, 2.5, "", "object", "array", "string", "#", "#/items", "#/a/b"])
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from(["type", "items", "$ref"]), SCALARS)
WORDS = ["type", "enum", "items", "minItems", "properties", "required", "anyOf", "$ref", "minLength", "maximum"]


@given(st.dictionaries(st.sampled_from(WORDS), JSON))
def test_nonsense_never_raises(schema: dict[str, object]) -> None:
    conforming(schema, "x")

"""Making a small JSON value that conforms to a simple JSON schema, from nothing but the schema and one text."""

from proxy.emulator.shape import JsonObject, as_int, as_list, as_object, as_text

DEPTH_MAX = 20
FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "echo@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def conforming(schema: JsonObject, text: str) -> object:
    """Return a value of this schema: required properties only, shortest arrays, and `text` wherever text may stand.

    Understands type, properties, required, items, minItems, enum, const, anyOf, oneOf, allOf, local $ref, format,
    minLength, maxLength, minimum and maximum. Ignores pattern.
    """
    return _value(schema, schema, text, 0)


def _value(schema: JsonObject, root: JsonObject, text: str, depth: int) -> object:
    if depth > DEPTH_MAX:
        return None
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if choices := as_list(schema.get("enum")):
        return choices[0]
    for union in ("anyOf", "oneOf", "allOf"):
        if branches := as_list(schema.get(union)):
            return _value(as_object(branches[0]), root, text, depth + 1)
    match _type_of(schema):
        case "object":
            properties = as_object(schema.get("properties"))
            wanted = [as_text(name) for name in as_list(schema.get("required"))]
            return {name: _value(as_object(properties.get(name)), root, text, depth + 1) for name in wanted}
        case "array":
            items = as_object(schema.get("items"))
            return [_value(items, root, text, depth + 1) for _ in range(as_int(schema.get("minItems")) or 0)]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema, text)


def _resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    for _ in range(DEPTH_MAX):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        schema = root
        for step in reference.split("/")[1:]:
            schema = as_object(schema.get(step))
    return schema


def _type_of(schema: JsonObject) -> str:
    given = schema.get("type")
    if isinstance(given, list):
        return next((as_text(name) for name in given if name != "null"), "null")
    return as_text(given) or ("object" if "properties" in schema else "string")


def _number(schema: JsonObject) -> object:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float) and low > 1:
        return low
    return high if isinstance(high, int | float) and high < 1 else 1


def _string(schema: JsonObject, text: str) -> str:
    fixed = FORMATS.get(as_text(schema.get("format")))
    if fixed is not None:
        return fixed
    padded = text.ljust(as_int(schema.get("minLength")) or 0, ".")
    longest = as_int(schema.get("maxLength"))
    return padded if longest is None else padded[:longest]

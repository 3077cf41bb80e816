"""Reading and writing JSON, and looking into values whose shape is not known."""

import msgspec

JsonObject = dict[str, object]
"""A JSON object; what is inside is found out by looking."""


def parse(raw: bytes | str) -> object:
    """Parse strict JSON (no NaN, no trailing commas). Raises ValueError when it is malformed."""
    try:
        value: object = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    return value


def dump(value: object) -> bytes:
    """Write compact JSON, keys in the order given."""
    return msgspec.json.encode(value)


def canonical(value: object) -> bytes:
    """Write compact JSON with sorted keys, so that equal values give equal bytes."""
    return msgspec.json.encode(value, order="sorted")


def as_object(value: object) -> JsonObject:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return the value if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Return the value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def as_int(value: object) -> int | None:
    """Return the value if it is an integer (a boolean is none), else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def named_type(value: object) -> str:
    """Name a JSON type the way OpenAI's messages do: `a string`, `an array`..."""
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal"}
    names |= {list: "an array", dict: "an object"}
    return names.get(type(value), "null")

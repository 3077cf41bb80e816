"""A JSON Schema of what `decode` reads, made from the same dataclasses: for editors that complete and check files.

Descriptions are the classes' own docstrings, a field's the item of the list in it that begins with its name. The
schema says what a file can look like; what only makes sense together is said when the file is loaded.

Numbers with `_` in them are texts for editors, which read YAML 1.2, and patterns are written so that every dialect
of regular expressions knows them.
"""

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import tzinfo
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from proxy.config.decode import written_name
from proxy.config.sizes import SIZE
from proxy.routing.shape import Shape
from proxy.wire.durations import DURATION

Schema = dict[str, Any]
DIALECT = "http://json-schema.org/draft-07/schema#"
"""The one that editors know best."""
_UNDERSCORED = r"[1-9][0-9]*(?:_[0-9]+)+"
_ITEM = re.compile(r"^- (`[^:]*`): (.*?)(?=^- `|\Z|^$)", re.DOTALL | re.MULTILINE)


def schema_of(wanted: type, title: str) -> Schema:
    """The schema of a file that is decoded into this dataclass."""
    definitions: dict[str, Schema] = {}
    root = _object(wanted, definitions)
    return {"$schema": DIALECT, "title": title, **root, "definitions": dict(sorted(definitions.items()))}


def _object(wanted: type, definitions: dict[str, Schema]) -> Schema:
    described, hints = field_texts(wanted), get_type_hints(wanted, include_extras=True)
    known = {written_name(field.name): field for field in fields(wanted)}
    properties = {name: _property(field, hints[field.name], described, definitions) for name, field in known.items()}
    required = [name for name, field in known.items() if field.default is field.default_factory is MISSING]
    return {
        "description": _paragraph(inspect.getdoc(wanted) or ""),
        "type": "object" if required else ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _property(field: Field[Any], hint: Any, described: Mapping[str, str], definitions: dict[str, Schema]) -> Schema:
    schema = _schema(hint, field.name, definitions)
    told = [described.get(field.name), schema.pop("description", None)]
    default = _plain(field)
    if "$ref" in schema:  # in this dialect nothing counts beside a reference
        schema = {"allOf": [schema]}
    words = " ".join(text for text in told if text)
    return {**({"description": words} if words else {}), **schema, **({} if default is None else {"default": default})}


def field_texts(wanted: type) -> dict[str, str]:
    """What a class's docstring says of each of its fields, by the field's name."""
    texts: dict[str, str] = {}
    names = {field.name for field in fields(wanted)}
    for heads, text in _ITEM.findall(inspect.getdoc(wanted) or ""):
        for name in re.findall(r"`(\w+)`", heads):
            for own in names & {name, f"{name}_seconds", f"{name}_bytes"}:
                texts[own] = _in_the_files_words(" ".join(text.split()), wanted)
    return texts


def _in_the_files_words(text: str, wanted: type) -> str:
    """As a sentence, with fields called as they are written; a word of the language at its beginning stays small."""
    for field in fields(wanted):
        text = re.sub(rf"\b{field.name}\b", written_name(field.name), text)
    return (text if text.startswith("`") else text[:1].upper() + text[1:]).replace("`", "")


def _paragraph(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].replace("`", "").split())


def _schema(wanted: Any, name: str, definitions: dict[str, Schema]) -> Schema:
    wanted = wanted.__supertype__ if isinstance(wanted, NewType) else wanted
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _shaped(arguments[0], arguments[1], name)
    if origin in {Union, types.UnionType}:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _or_null(_schema(inner, name, definitions))
    if origin is Literal:
        return {"enum": [str(word) for word in arguments]}
    if origin in {tuple, list, frozenset}:
        item = _schema(arguments[0], name, definitions)
        return {"anyOf": [{"type": "array", "items": item}, _or_null(item)]}
    if origin in {dict, Mapping}:
        return {"type": ["object", "null"], "additionalProperties": _schema(arguments[1], name, definitions)}
    if isinstance(wanted, type) and is_dataclass(wanted):
        name_there = f"{wanted.__module__.removeprefix('proxy.')}.{wanted.__name__}"
        definitions[name_there] = _object(wanted, definitions)
        return {"$ref": f"#/definitions/{name_there}"}
    if issubclass(wanted, StrEnum):
        return {"enum": [member.value for member in wanted]}
    return _scalar(wanted, name)


def _or_null(schema: Schema) -> Schema:
    """The same, or nothing behind the name."""
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*dict.fromkeys([*kinds, "null"])]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {"anyOf": [schema, {"type": "null"}]}


def _shaped(wanted: type, shape: Shape, name: str) -> Schema:
    if shape.pattern is None:
        return {"description": shape.meaning, **_scalar(wanted, name)}
    return {"description": shape.meaning, "type": "string", "pattern": _whole(shape.pattern)}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _scalar(wanted: type, name: str) -> Schema:
    if name.endswith("_seconds"):
        return {"type": ["string", "number"], "minimum": 0, "pattern": _whole(DURATION)}
    if "bytes" in name.split("_"):
        return {"type": ["string", "integer"], "minimum": 0, "pattern": _whole(SIZE)}
    scalars: dict[type, Schema] = {
        bool: {"type": "boolean"},
        int: {"type": ["integer", "string"], "pattern": _whole(_UNDERSCORED)},
        float: {"type": "number"},
        Decimal: {"type": ["number", "string"], "pattern": r"^[0-9]+(?:\.[0-9]+)?$"},
        str: {"type": ["string", "number", "boolean"]},
        Path: {"type": "string"},
        tzinfo: {"type": "string"},
    }
    return scalars[wanted]


def _plain(field: Field[Any]) -> object:
    """A default as the file would say it; None where it has none that is short."""
    value = field.default
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, bool | int | float):
        return value
    return str(value) if isinstance(value, str) and value else None

"""From the tree to the frozen Settings that the rooms define: strictly, and with the place of every mistake.

One rule for names: a field `age_seconds` is written `age` and takes a duration (`90s`, `15m`, or a bare number of
seconds); a field `body_max_bytes` is written `body_max` and takes a size (`64MB`, `200MiB`, or a number of bytes).
Everything else is written as the field is called; a field such as `bytes_max` takes a size, too.

A list may be a single value. A name with nothing behind it is an empty list, an empty mapping, a section with its
defaults, or None where the field can be None; anywhere else it is a mistake.

A room's own check raises ValueError("field: message"), or "section.field: message" from further up, with list items by
number: `ConfigFault` then points at that field's line and spells it as the file does.
"""

import math
import re
import types
from collections.abc import Callable, Iterable
from collections.abc import Mapping as AbstractMapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, tzinfo
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from proxy.config.sizes import parse_size
from proxy.config.tree import Mapping, Node, Scalar, Sequence
from proxy.domain.errors import ConfigFault, Place
from proxy.wire.durations import parse_duration

Decoded = TypeVar("Decoded")
_DURATION = "a duration such as 90s, 15m or 2h"
_SIZE = "a size such as 64MB or 200MiB"
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
"""Whole numbers as people mean them: YAML 1.1 would read 010 as 8."""


def decode(node: Node, into: type[Decoded]) -> Decoded:
    """The tree as an `into`, a frozen dataclass. Raises `ConfigFault` at the first mistake."""
    return cast(Decoded, _dataclass(node, into))


def written_name(field_name: str) -> str:
    """How a field is written in a file."""
    return field_name.removesuffix("_seconds").removesuffix("_bytes")


def _dataclass(node: Node, into: type) -> object:
    if _is_empty(node):
        node = Mapping((), node.place)
    if not isinstance(node, Mapping):
        raise ConfigFault(f"names with values are expected here ({_allowed(into)})", node.place)
    known = {written_name(field.name): field for field in fields(into)}
    hints = get_type_hints(into)
    given: dict[str, object] = {}
    for key, value in node.entries:
        field = known.get(key.text)
        if field is None:
            raise ConfigFault(_unknown(key.text, list(known)), key.place)
        given[field.name] = _value(value, hints[field.name], field.name)
    _require(known.values(), given, node.place)
    try:
        return into(**given)
    except ValueError as error:
        raise _at_field(str(error), node, into) from error


def _require(known: Iterable[Field[Any]], given: AbstractMapping[str, object], place: Place) -> None:
    for field in known:
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in given:
            raise ConfigFault(f"{written_name(field.name)!r} is missing here", place)


def _at_field(message: str, node: Mapping, into: type) -> ConfigFault:
    """A room's own check names its field first: point at that field's line, in the file's spelling."""
    for field in fields(into):
        message = re.sub(rf"\b{field.name}\b", written_name(field.name), message)
    path, colon, rest = message.partition(": ")
    steps = path.split(".")
    if not colon or written_name(steps[0]) not in {written_name(field.name) for field in fields(into)}:
        return ConfigFault(message, node.place)
    shown = ".".join(written_name(step) for step in steps if not step.isdecimal())
    return ConfigFault(f"{shown}: {rest}", _place_of(node, steps))


def _place_of(node: Node, steps: list[str]) -> Place:
    """Where the path leads, or the last of its steps that is in the file."""
    place = node.place
    for step in steps:
        if isinstance(node, Mapping):
            entry = next(((key, value) for key, value in node.entries if key.text == written_name(step)), None)
            if entry is None:
                return place
            place, node = entry[0].place, entry[1]
        elif isinstance(node, Sequence) and step.isdecimal():
            node = node.items[int(step)]
            place = node.place
    return place


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _value(node: Node, wanted: Any, name: str) -> object:
    wanted = wanted.__supertype__ if isinstance(wanted, NewType) else wanted
    origin = get_origin(wanted)
    if origin in {Union, types.UnionType}:
        return _optional(node, wanted, name)
    if origin is Literal:
        return _one_of(node, {str(word): word for word in get_args(wanted)})
    if origin in {tuple, list, frozenset}:
        return _collection(node, origin, get_args(wanted)[0], name)
    if origin in {dict, AbstractMapping}:
        return _mapping(node, get_args(wanted)[1], name)
    if isinstance(wanted, type) and is_dataclass(wanted):
        return _dataclass(node, wanted)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return _one_of(node, {member.value: member for member in wanted})
    return _scalar(node, wanted, name)


def _optional(node: Node, wanted: Any, name: str) -> object:
    if _is_empty(node):
        return None
    (inner,) = (argument for argument in get_args(wanted) if argument is not type(None))
    return _value(node, inner, name)


def _one_of(node: Node, words: AbstractMapping[str, object]) -> object:
    if not isinstance(node, Scalar) or node.text not in words:
        shown = node.text if isinstance(node, Scalar) else "this"
        raise ConfigFault(f"{shown!r} is not possible here: {_choice(shown, list(words))}", node.place)
    return words[node.text]


def _collection(node: Node, kind: Callable[[list[object]], object], inner: Any, name: str) -> object:
    """A list; a single value is a list of one."""
    if _is_empty(node):
        return kind([])
    items = node.items if isinstance(node, Sequence) else (node,)
    return kind([_value(item, inner, name) for item in items])


def _mapping(node: Node, inner: Any, name: str) -> dict[str, object]:
    if _is_empty(node):
        return {}
    if not isinstance(node, Mapping):
        raise ConfigFault(f"{written_name(name)!r} takes names with values", node.place)
    return {key.text: _value(value, inner, name) for key, value in node.entries}


def _scalar(node: Node, wanted: type, name: str) -> object:
    if not isinstance(node, Scalar):
        raise ConfigFault(f"{written_name(name)!r} takes a single value", node.place)
    if name.endswith("_seconds"):
        return _duration(node, wanted)
    if "bytes" in name.split("_"):
        return _size(node)
    readers: dict[type, Callable[[Scalar], object]] = {
        bool: _bool,
        int: _int,
        float: _float,
        str: _str,
        Decimal: _decimal,
        Path: lambda scalar: Path(_str(scalar)).expanduser(),
        tzinfo: _zone,
    }
    return readers[wanted](node)


def _duration(node: Scalar, wanted: type) -> float | int:
    seconds = parse_duration(node.text)
    if seconds is None or not math.isfinite(seconds):
        raise ConfigFault(f"{node.text!r} is not {_DURATION}", node.place)
    if wanted is not int:
        return seconds
    if not seconds.is_integer():
        raise ConfigFault(f"{node.text!r} has to be whole seconds", node.place)
    return int(seconds)


def _size(node: Scalar) -> int:
    size = parse_size(node.text)
    if size is None:
        raise ConfigFault(f"{node.text!r} is not {_SIZE}", node.place)
    return size


def _bool(node: Scalar) -> bool:
    if not isinstance(node.value, bool):
        raise ConfigFault(f"{node.text!r} is neither true nor false", node.place)
    return node.value


def _int(node: Scalar) -> int:
    if isinstance(node.value, bool) or not isinstance(node.value, int) or not _WHOLE.fullmatch(node.text):
        raise ConfigFault(f"{node.text!r} is not a whole number{_unquoted(node)}", node.place)
    return node.value


def _float(node: Scalar) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not math.isfinite(node.value):
        raise ConfigFault(f"{node.text!r} is not a number{_unquoted(node)}", node.place)
    return float(node.value)


def _unquoted(node: Scalar) -> str:
    return "; write it without quotes" if isinstance(node.value, str) and _WHOLE.fullmatch(node.text) else ""


def _str(node: Scalar) -> str:
    if node.value is None:
        raise ConfigFault("a text is expected here", node.place)
    return node.text


def _decimal(node: Scalar) -> Decimal:
    try:
        amount = Decimal(node.text)
    except InvalidOperation:
        raise ConfigFault(f"{node.text!r} is not an amount", node.place) from None
    if not amount.is_finite():
        raise ConfigFault(f"{node.text!r} is not an amount", node.place)
    return amount


def _zone(node: Scalar) -> tzinfo:
    if node.text == "UTC":
        return UTC  # known without the system's time zone files, which a small machine may lack
    try:
        return ZoneInfo(node.text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: `Europe`, a folder of the tzdata package
        raise ConfigFault(f"{node.text!r} is no time zone; write UTC or Europe/Berlin", node.place) from error


def _unknown(name: str, known: list[str]) -> str:
    return f"{name!r} is unknown here: {_choice(name, known)}"


def _choice(name: str, known: list[str]) -> str:
    near = get_close_matches(written_name(name.lower()), known, n=1)
    listed = ", ".join(sorted(known))
    return f"did you mean {near[0]!r}? Possible: {listed}" if near else f"possible: {listed}"


def _allowed(into: type) -> str:
    names: tuple[Field[object], ...] = fields(into)
    return ", ".join(written_name(field.name) for field in names)

"""From the tree to the frozen Settings that the rooms define: strictly, and with the place of every mistake.

One rule for names: a field `age_seconds` is written `age` and takes a duration (`90s`, `15m`, or a bare number of
seconds); a field `body_max_bytes` is written `body_max` and takes a size (`64MB`, `200MiB`, or a number of bytes).
Everything else is written as the field is called.
"""

import types
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from dataclasses import MISSING, Field, fields, is_dataclass
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
_SUFFIXES = {"_seconds": "a duration such as 90s, 15m or 2h", "_bytes": "a size such as 64MB or 200MiB"}


def decode(node: Node, into: type[Decoded]) -> Decoded:
    """The tree as an `into`, a frozen dataclass. Raises `ConfigFault` at the first mistake."""
    return cast(Decoded, _dataclass(node, into))


def written_name(field_name: str) -> str:
    """How a field is written in a file."""
    for suffix in _SUFFIXES:
        if field_name.endswith(suffix):
            return field_name.removesuffix(suffix)
    return field_name


def _dataclass(node: Node, into: type) -> object:
    if isinstance(node, Scalar) and node.value is None:
        node = Mapping((), node.place)
    if not isinstance(node, Mapping):
        raise ConfigFault(f"names with values are expected here ({_allowed(into)})", node.place)
    known = {written_name(field.name): field for field in fields(into)}
    hints = get_type_hints(into)
    given: dict[str, object] = {}
    places: dict[str, Place] = {}
    for key, value in node.entries:
        field = known.get(key.text)
        if field is None:
            raise ConfigFault(_unknown(key.text, list(known)), key.place)
        given[field.name] = _value(value, hints[field.name], field.name)
        places[field.name] = value.place
    _require(known.values(), given, node.place)
    try:
        return into(**given)
    except ValueError as error:
        raise _at_field(str(error), places, node.place) from error


def _require(known: Any, given: AbstractMapping[str, object], place: Place) -> None:
    for field in known:
        required = field.default is MISSING and field.default_factory is MISSING
        if required and field.name not in given:
            raise ConfigFault(f"{written_name(field.name)!r} is missing here", place)


def _at_field(message: str, places: AbstractMapping[str, Place], place: Place) -> ConfigFault:
    """A room's own check names its field first: point at that field's line, in the file's spelling."""
    name, colon, rest = message.partition(": ")
    if colon and name in places:
        return ConfigFault(f"{written_name(name)}: {rest}", places[name])
    return ConfigFault(message, place)


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
    if isinstance(node, Scalar) and node.value is None:
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
    items = node.items if isinstance(node, Sequence) else (node,)
    return kind([_value(item, inner, name) for item in items])


def _mapping(node: Node, inner: Any, name: str) -> dict[str, object]:
    if not isinstance(node, Mapping):
        raise ConfigFault(f"{written_name(name)!r} takes names with values", node.place)
    return {key.text: _value(value, inner, name) for key, value in node.entries}


def _scalar(node: Node, wanted: type, name: str) -> object:
    if not isinstance(node, Scalar):
        raise ConfigFault(f"{written_name(name)!r} takes a single value", node.place)
    for suffix, shape in _SUFFIXES.items():
        if name.endswith(suffix):
            return _measured(node, wanted, suffix, shape)
    readers: dict[type, Callable[[Scalar], object]] = {
        bool: _bool,
        int: _int,
        float: _float,
        str: _str,
        Decimal: _decimal,
        Path: lambda scalar: Path(_str(scalar)).expanduser(),
        ZoneInfo: _zone,
    }
    return readers[wanted](node)


def _measured(node: Scalar, wanted: type, suffix: str, shape: str) -> object:
    amount = parse_duration(node.text) if suffix == "_seconds" else parse_size(node.text)
    if amount is None:
        raise ConfigFault(f"{node.text!r} is not {shape}", node.place)
    return wanted(amount)


def _bool(node: Scalar) -> bool:
    if not isinstance(node.value, bool):
        raise ConfigFault(f"{node.text!r} is neither true nor false", node.place)
    return node.value


def _int(node: Scalar) -> int:
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        raise ConfigFault(f"{node.text!r} is not a whole number", node.place)
    return node.value


def _float(node: Scalar) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise ConfigFault(f"{node.text!r} is not a number", node.place)
    return float(node.value)


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


def _zone(node: Scalar) -> ZoneInfo:
    try:
        return ZoneInfo(node.text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigFault(f"{node.text!r} is no time zone; write UTC or Europe/Berlin", node.place) from error


def _unknown(name: str, known: list[str]) -> str:
    return f"{name!r} is unknown here: {_choice(name, known)}"


def _choice(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    listed = ", ".join(sorted(known))
    return f"did you mean {near[0]!r}? Possible: {listed}" if near else f"possible: {listed}"


def _allowed(into: type) -> str:
    names: tuple[Field[object], ...] = fields(into)
    return ", ".join(written_name(field.name) for field in names)

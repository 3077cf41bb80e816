"""YAML as a small tree in which every value knows its place, so that a mistake can be pointed at."""

from dataclasses import dataclass

import yaml

from proxy.domain.errors import ConfigFault, Place

NODES_MAX = 100_000
"""More than anybody writes by hand; a file whose aliases multiply is refused."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value: None, bool, int, float or str. `text` is as it stands in the file."""

    value: bool | int | float | str | None
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple["Node", ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping with text keys, each with its own place."""

    entries: tuple[tuple[Scalar, "Node"], ...]
    place: Place


Node = Scalar | Sequence | Mapping


def parse(text: str, file: str) -> Node:
    """The file's tree; an empty file is an empty mapping. Raises `ConfigFault` for what is no YAML."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return Mapping((), Place(file, 1))
        return _Builder(file).build(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1) if mark else None
        raise ConfigFault(f"this is not valid YAML: {error.problem or error.context}", place) from error
    except yaml.YAMLError as error:
        raise ConfigFault(f"{file}: this is not valid YAML: {error}") from error


class _Builder:
    def __init__(self, file: str) -> None:
        self._file = file
        self._scalars = yaml.SafeLoader("")
        self._built = 0

    def build(self, node: yaml.Node) -> Node:
        place = Place(self._file, node.start_mark.line + 1)
        self._built += 1
        if self._built > NODES_MAX:
            raise ConfigFault("the file is too large once its aliases are followed", place)
        match node:
            case yaml.ScalarNode():
                return self._scalar(node, place)
            case yaml.SequenceNode():
                return Sequence(tuple(self.build(item) for item in node.value), place)
            case yaml.MappingNode():
                return self._mapping(node, place)
            case _:
                raise ConfigFault(f"this kind of YAML value is not used here: {node.tag}", place)

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar:
        if node.tag in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"}:
            return Scalar(node.value, node.value, place)
        if node.tag == "tag:yaml.org,2002:int" and ":" in node.value:  # YAML 1.1 reads 22:00 in base 60
            return Scalar(node.value, node.value, place)
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigFault(f"{node.value!r} cannot be read: {error}", place) from error
        return Scalar(value, node.value, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> Mapping:
        entries: list[tuple[Scalar, Node]] = []
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self.build(key_node)
            if not isinstance(key, Scalar):
                raise ConfigFault("a name is expected here", key.place)
            if key.text in seen:
                raise ConfigFault(f"{key.text!r} is here twice; keep one of them", key.place)
            seen.add(key.text)
            entries.append((key, self.build(value_node)))
        return Mapping(tuple(entries), place)

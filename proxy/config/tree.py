"""YAML as a small tree in which every value knows its place, so that a mistake can be pointed at.

What is left out of YAML on purpose: merge keys (`<<`), types of one's own (`!name`), names that are there twice,
several documents in one file. Anchors and aliases work.
"""

from dataclasses import dataclass

import yaml

from proxy.domain.errors import ConfigFault, Place

NODES_MAX = 100_000
"""More than anybody writes by hand; a file whose aliases multiply is refused."""

_CONTAINER_TAGS = frozenset({"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
_TEXT_TAGS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary", "tag:yaml.org,2002:value"})
_NUMBER_TAGS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_MERGE_TAG = "tag:yaml.org,2002:merge"
_QUOTED = "while scanning a quoted scalar"
_PLAIN_WORDS = {
    "'\\t'": "a tab stands here; YAML wants spaces",
    "cannot start any token": "a text that begins with this character needs quotes",
    "mapping values are not allowed here": "no ': ' is possible here; check the indentation, and put "
    "texts that contain ': ' in quotes",
    "but found another document": "a second document begins here; a file holds one, so take out the '---'",
}
"""What the parser says, by a part of it, and what a person can use."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value: None, bool, int, float or str. `text` is as it stands in the file, without quotes."""

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
        raise _no_yaml(error, file) from error
    except yaml.reader.ReaderError as error:
        place = Place(file, text.count("\n", 0, error.position) + 1)
        raise ConfigFault("this line contains a control character; take it out", place) from error
    except RecursionError:
        raise ConfigFault(f"{file}: values are nested too deeply, or an alias contains itself") from None


def _no_yaml(error: yaml.MarkedYAMLError, file: str) -> ConfigFault:
    """The parser's complaint in plain words, where possible, at its place."""
    problem = error.problem or error.context or "it cannot be parsed"
    if error.context == _QUOTED and error.context_mark:
        place = Place(file, error.context_mark.line + 1)
        return ConfigFault(f"this is not valid YAML: the quoted text that begins here is broken: {problem}", place)
    words = next((words for part, words in _PLAIN_WORDS.items() if part in problem), problem)
    mark = error.problem_mark or error.context_mark
    return ConfigFault(f"this is not valid YAML: {words}", Place(file, mark.line + 1) if mark else None)


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
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if node.tag not in _CONTAINER_TAGS:
            raise _strange_type(node, place)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        return Sequence(tuple(self.build(item) for item in node.value), place)

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar:
        if node.tag == _MERGE_TAG:
            raise ConfigFault("'<<' is not used here; write the values out", place)
        in_base_60 = node.tag in _NUMBER_TAGS and ":" in node.value  # YAML 1.1 reads 22:00 as 1320
        if node.tag in _TEXT_TAGS or in_base_60:
            return Scalar(node.value, node.value, place)
        try:
            value = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise _strange_type(node, place) from error
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


def _strange_type(node: yaml.Node, place: Place) -> ConfigFault:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    return ConfigFault(f"a value of the type {kind!r} is not possible here; write it as plain text", place)

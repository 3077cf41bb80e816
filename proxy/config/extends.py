"""A policy file with what it extends taken in: a tree in which every value still knows its own file and line.

The rules of the extending file come first. Of `timezone` and of each field of `default`, the extended file gives what
is left out. Its rules keep the time zone that it names; where it names none, they take that of the extending file. Its
tests are not taken in: they are about the file as it stands there.

Both trees have been decoded before: what is asked of them here is there in the right shape, or is empty.
"""

from proxy.config.tree import Mapping, Node, Scalar, Sequence
from proxy.domain.errors import ConfigFault, Place

EXTENDS = "extends"
_TESTS, _RULES, _DEFAULT, _TIMEZONE = "tests", "rules", "default", "timezone"
_NAME, _MATCH = "name", "match"
_TIMES = ("hours", "weekdays")


def value_of(node: Node, name: str) -> Node | None:
    """What a mapping says under a name; None where it says nothing."""
    entries = node.entries if isinstance(node, Mapping) else ()
    found = next((value for key, value in entries if key.text == name), None)
    return None if found is None or _is_empty(found) else found


def without_tests(root: Node) -> Node:
    """The same without its tests, which may be about rules that are not in it yet."""
    if not isinstance(root, Mapping):
        return root
    return Mapping(tuple((key, value) for key, value in root.entries if key.text != _TESTS), root.place)


def with_base(root: Node, base: Node) -> Node:
    """The extending file with the extended one in it. Raises `ConfigFault` where both have a rule of one name."""
    if not isinstance(root, Mapping):  # an empty file, which extends nothing
        return root
    _require_own_names(root, base)
    zone = value_of(base, _TIMEZONE)
    rules = [*_items(root), *(rule if zone is None else _in_zone(rule, zone) for rule in _items(base))]
    taken: dict[str, Node | None] = {
        _RULES: Sequence(tuple(rules), root.place),
        _TIMEZONE: value_of(root, _TIMEZONE) or zone,
        _DEFAULT: _over(value_of(root, _DEFAULT), value_of(base, _DEFAULT)),
    }
    kept = [(key, value) for key, value in root.entries if key.text not in taken]
    names = {key.text: key for key, _ in root.entries}
    made = [(names.get(name, _word(name, node)), node) for name, node in taken.items() if node is not None]
    return Mapping((*kept, *made), root.place)


def _require_own_names(root: Node, base: Node) -> None:
    taken = dict(_names(base))
    for text, place in _names(root):
        if text in taken:
            raise ConfigFault(f"name: {text!r} is taken already at {taken[text]}; give the rule another one", place)


def _names(root: Node) -> list[tuple[str, Place]]:
    named = [value_of(rule, _NAME) for rule in _items(root)]
    return [(name.text, name.place) for name in named if isinstance(name, Scalar)]


def _items(root: Node) -> tuple[Node, ...]:
    """A file's rules; a single one is a list of one."""
    rules = value_of(root, _RULES)
    if isinstance(rules, Sequence):
        return rules.items
    return () if rules is None else (rules,)


def _over(node: Node | None, base: Node | None) -> Node | None:
    """A mapping with what another one says beside it. A name with nothing behind it has been said, too."""
    if not isinstance(node, Mapping) or not isinstance(base, Mapping):
        return node or base
    names = {key.text for key, _ in node.entries}
    return Mapping((*node.entries, *(entry for entry in base.entries if entry[0].text not in names)), node.place)


def _in_zone(rule: Node, zone: Node) -> Node:
    """A rule with its file's time zone in it, where it asks for a time and names none of its own."""
    match = value_of(rule, _MATCH)
    if match is None or value_of(match, _TIMEZONE) is not None or not isinstance(rule, Mapping):
        return rule
    if not any(_says_something(match, name) for name in _TIMES):
        return rule
    return Mapping(
        tuple((key, _with(value, _TIMEZONE, zone) if key.text == _MATCH else value) for key, value in rule.entries),
        rule.place,
    )


def _says_something(match: Node, name: str) -> bool:
    value = value_of(match, name)
    return value is not None and value != Sequence((), value.place)


def _with(node: Node, name: str, value: Node) -> Node:
    entries = node.entries if isinstance(node, Mapping) else ()
    return Mapping((*(entry for entry in entries if entry[0].text != name), (_word(name, value), value)), node.place)


def _word(name: str, node: Node) -> Scalar:
    return Scalar(name, name, node.place)


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None

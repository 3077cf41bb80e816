"""Reading policy files, and those that they extend, each with its place for every mistake. No test is run here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.config.decode import decode
from proxy.config.extends import EXTENDS, value_of, with_base, without_tests
from proxy.config.shipped import policy_path
from proxy.config.tree import Node, Sequence, parse
from proxy.domain.errors import ConfigFault, Place
from proxy.routing.policy import PolicyFile

Note = Callable[[Path], None]
"""Told of every file before it is read, so that a watch knows them even where one has a mistake."""


@dataclass(frozen=True, slots=True)
class Source:
    """A policy file that was read: its tree and what it says, with `base`, the file that it extends, taken in."""

    file: Path
    root: Node
    policy: PolicyFile
    base: "Source | None" = None

    def lineage(self) -> Iterator["Source"]:
        """This file, what it extends, what that extends, and so on."""
        source: Source | None = self
        while source is not None:
            yield source
            source = source.base

    def place_of_test(self, number: int) -> Place:
        """Where a test stands."""
        return self._place("tests", number)

    def place_of_rule(self, number: int) -> Place:
        """Where a rule stands, in this file or in one that it extends."""
        return self._place("rules", number)

    def place_of_default(self) -> Place:
        """Where the default terms stand; the file's beginning where none are given."""
        return (value_of(self.root, "default") or self.root).place

    def _place(self, name: str, number: int) -> Place:
        items = value_of(self.root, name)
        return (items.items[number] if isinstance(items, Sequence) else items or self.root).place


def read_policy(file: Path, note: Note = lambda _: None) -> Source:
    """A policy file with all that it extends. Raises `ConfigFault` for what cannot be used, at its place."""
    return _read(file, note, ())


def _read(file: Path, note: Note, extending: tuple[Path, ...]) -> Source:
    note(file)
    root = parse(read_text(file), str(file))
    if value_of(root, EXTENDS) is None:
        return Source(file, root, decode(root, PolicyFile))
    said = decode(without_tests(root), PolicyFile).extends or ""
    try:
        base = _read(_base_path(said, (*extending, file)), note, (*extending, file))
    except ConfigFault as fault:
        raise _at_extends(fault, root) from fault
    whole = with_base(root, base.root)
    return Source(file, whole, decode(whole, PolicyFile), base)


def _base_path(said: str, extending: tuple[Path, ...]) -> Path:
    base = policy_path(extending[-1].parent, Path(said))
    if base.resolve() in [other.resolve() for other in extending]:
        raise ConfigFault(f"{' -> '.join(map(str, (*extending, base)))} is a circle; take one of them out")
    return base


def _at_extends(fault: ConfigFault, root: Node) -> ConfigFault:
    """The same fault; one that is at no place of its own is at the line that led to it."""
    said = value_of(root, EXTENDS)
    return fault if fault.place or said is None else ConfigFault(f"{EXTENDS}: {fault.message}", said.place)


def read_text(file: Path) -> str:
    """A file's text. Raises `ConfigFault` for what is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigFault(f"{file} is not UTF-8 text") from error
    except OSError as error:
        raise ConfigFault(f"{file} cannot be read: {error.strerror or error}") from error

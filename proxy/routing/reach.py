"""Which rules can never match, proved: rules before them take all that they ask for, or nothing is what they ask for.

What a rule asks is taken apart into *aspects* (the model, one header, the time in one zone ...), each with what it lets
through. Rules before another one take all of it when they let through, aspect by aspect, what it does; together they
do when each of them does so in all aspects but one, and in that one all of them together do. This is sound: a request
that the later rule is for passes the others in every aspect, and at least one of them in the last one as well. It does
not find everything; nothing that it finds is wrong.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time, tzinfo
from itertools import groupby

from proxy.routing.globs import covers
from proxy.routing.localtime import Weekday, read_hours
from proxy.routing.policy import DEFAULT_NAME, Match, PolicyFile

MINUTES_OF_DAY = 1440
_EVERY_MINUTE = (1 << MINUTES_OF_DAY * len(Weekday)) - 1
_ANY_TEXT = ("*",)


@dataclass(frozen=True, slots=True)
class Dead:
    """A rule that can never match: `behind` names the rules that take all its requests; without any, it contradicts
    itself.
    """

    rule: str
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts that match one of these globs. `always` is whether every request has such a text."""

    globs: tuple[str, ...]
    always: bool


@dataclass(frozen=True, slots=True)
class _Flags:
    values: frozenset[bool]


@dataclass(frozen=True, slots=True)
class _Counts:
    """Whole numbers from `least` to `most`. `always` is whether every request has such a count."""

    least: float
    most: float
    always: bool


@dataclass(frozen=True, slots=True)
class _Minutes:
    """Minutes of the week, local: a bit for each, from Monday's midnight."""

    bits: int


_Part = _Texts | _Flags | _Counts | _Minutes
_Aspect = tuple[str, object]
"""What a part is of: its kind, and which one (a header's name, a time zone)."""


def dead_rules(file: PolicyFile) -> list[Dead]:
    """The rules that no request can come to, in their order; `default` last, if none comes to it."""
    named = [(rule.name, dict(_parts(rule.match, file.timezone))) for rule in file.rules]
    dead = []
    for number, (name, parts) in enumerate([*named, (DEFAULT_NAME, {})]):
        if any(_is_empty(part) for part in parts.values()):
            dead.append(Dead(name, ()))
            continue
        behind = _taken_by(parts, named[:number])
        if behind:
            dead.append(Dead(name, behind))
    return dead


def _taken_by(
    parts: Mapping[_Aspect, _Part], earlier: Sequence[tuple[str, Mapping[_Aspect, _Part]]]
) -> tuple[str, ...]:
    """The names of rules that together take everything; none where that is not proved."""
    missed: list[tuple[str, Mapping[_Aspect, _Part], set[_Aspect]]] = []
    for name, others in earlier:
        lacking = {aspect for aspect, part in others.items() if not _covered(parts.get(aspect), [part])}
        if not lacking:
            return (name,)
        missed.append((name, others, lacking))
    single = sorted(
        ((next(iter(lacking)), name, others) for name, others, lacking in missed if len(lacking) == 1),
        key=lambda entry: repr(entry[0]),
    )
    for aspect, group in groupby(single, key=lambda entry: entry[0]):
        takers = list(group)
        if _covered(parts.get(aspect), [others[aspect] for _, _, others in takers]):
            return tuple(name for name, _ in earlier if name in {taker for _, taker, _ in takers})
    return ()


def _parts(match: Match, zone: tzinfo | None) -> Iterator[tuple[_Aspect, _Part]]:
    """What a match asks, aspect by aspect; nothing for what it does not ask."""
    for kind in ("model", "endpoint", "tenant", "key"):
        globs: tuple[str, ...] = getattr(match, kind)
        if globs:
            yield (kind, None), _Texts(globs, always=True)
    for name, glob in match.header.items():
        yield ("header", name.lower()), _Texts((glob,), always=False)
    for name, glob in match.metadata.items():
        yield ("metadata", name), _Texts((glob,), always=False)
    for kind in ("stream", "tools"):
        flag: bool | None = getattr(match, kind)
        if flag is not None:
            yield (kind, None), _Flags(frozenset({flag}))
    for kind, always in (("input_tokens", True), ("output_tokens", False)):
        least, most = getattr(match, f"{kind}_min"), getattr(match, f"{kind}_max")
        if (least, most) != (None, None):
            lowest, highest = -math.inf if least is None else least, math.inf if most is None else most
            yield (kind, None), _Counts(lowest, highest, always)
    if match.asks_time:
        yield ("time", match.timezone or zone), _minutes(match)


def _minutes(match: Match) -> _Minutes:
    day = (1 << MINUTES_OF_DAY) - 1
    if match.hours is not None:
        begin, end = (_minute(moment) for moment in read_hours(match.hours))
        until_begin, until_end = (1 << begin) - 1, (1 << end) - 1
        day = until_end & ~until_begin if begin < end else until_end | (day & ~until_begin)
    days = match.weekdays or tuple(Weekday)
    return _Minutes(sum(day << number * MINUTES_OF_DAY for number, name in enumerate(Weekday) if name in days))


def _minute(moment: time) -> int:
    return moment.hour * 60 + moment.minute


def _is_empty(part: _Part) -> bool:
    """Whether nothing can pass. What else cannot, such as too few tokens at most, is refused before it is a rule."""
    return isinstance(part, _Texts) and all(covers((), glob) for glob in part.globs)


def _covered(part: _Part | None, by: Sequence[_Part]) -> bool:
    """Whether everything that passes `part` (None: everything) passes one of the others, which are of its aspect."""
    first = by[0]
    if isinstance(first, _Texts):
        wanted = _Texts(_ANY_TEXT, first.always) if part is None else part
        return _covered_texts(wanted, by) and (part is not None or first.always)
    if isinstance(first, _Flags):
        values = part.values if isinstance(part, _Flags) else {True, False}
        return values <= {value for other in by if isinstance(other, _Flags) for value in other.values}
    if isinstance(first, _Counts):
        counts = part if isinstance(part, _Counts) else _Counts(-math.inf, math.inf, first.always)
        return (part is not None or first.always) and _covered_counts(counts, by)
    bits = part.bits if isinstance(part, _Minutes) else _EVERY_MINUTE
    for other in by:
        bits &= ~(other.bits if isinstance(other, _Minutes) else 0)
    return not bits


def _covered_texts(part: _Part, by: Sequence[_Part]) -> bool:
    globs = [glob for other in by if isinstance(other, _Texts) for glob in other.globs]
    return isinstance(part, _Texts) and all(covers(globs, glob) for glob in part.globs)


def _covered_counts(counts: _Counts, by: Sequence[_Part]) -> bool:
    """Whether the others leave no gap in it: 1 to 4 and 5 to 9 are 1 to 9."""
    reached = counts.least
    for other in sorted((other for other in by if isinstance(other, _Counts)), key=lambda other: other.least):
        if other.least > reached:
            return False
        if other.most >= counts.most:
            return True
        reached = max(reached, other.most + 1)
    return False

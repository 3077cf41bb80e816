"""Whether globs match everything that another one matches: proved, by walking both as automata at once.

A glob is a row of pieces: a character, `?`, a set, or `*`. A state of the automaton of one is a place in that row; of
several globs together, a set of places. Texts are infinitely many, but the globs tell only so many characters apart:
those that are written in them, and one for each gap between those. Trying these in every state that can be reached
tries every text.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

STATES_MAX = 2_000
"""More than globs of a policy ever need; those that do count as not covered."""

_LAST = 0x10FFFF
_STRANGE = "\ue000"
"""A character that nobody writes."""
_PIECE = re.compile(r"\*|\?|\[!?+\]?+[^\]]*+\]|.", re.DOTALL)
"""As `fnmatch` takes a glob apart; a bracket that is not closed is a character."""

Places = frozenset[tuple[int, int]]
"""Where several globs can be after some text: (which glob, which piece comes next)."""


@dataclass(frozen=True, slots=True)
class _Piece:
    is_star: bool
    takes: Callable[[str], bool]


def covers(globs: Sequence[str], glob: str) -> bool:
    """Whether every text that `glob` matches is matched by one of `globs`. False when that cannot be proved."""
    if glob in globs:
        return True
    example = _example(glob)
    if example is not None and not any(fnmatchcase(example, other) for other in globs):
        return False  # nearly always, and much sooner than by walking
    automata = [_pieces(glob), *map(_pieces, globs)]
    alphabet = _alphabet([glob, *globs])
    if any(not any(map(piece.takes, alphabet)) for piece in automata[0]):
        return True  # a set without a character: it matches nothing
    one, others = _closed(automata, {(0, 0)}), _closed(automata, {(n, 0) for n in range(1, len(automata))})
    seen = {(one, others)}
    open_states = [(one, others)]
    while open_states:
        one, others = open_states.pop()
        if not others or (_accepts(automata, one) and not _accepts(automata, others)):
            return False
        for character in alphabet:
            after = _step(automata, one, character), _step(automata, others, character)
            if after[0] and after not in seen:
                seen.add(after)
                open_states.append(after)
        if len(seen) > STATES_MAX:
            return False
    return True


def _example(glob: str) -> str | None:
    """A text that it matches, as far from being matched by others as can be; None where sets make that hard to say."""
    return None if "[" in glob else glob.replace("*", _STRANGE).replace("?", _STRANGE)


def _pieces(glob: str) -> list[_Piece]:
    return [_Piece(part == "*", _takes(part)) for part in _PIECE.findall(glob)]


def _takes(part: str) -> Callable[[str], bool]:
    """Which characters a piece matches, as `fnmatch` itself says: that is what rules are matched by."""
    if len(part) == 1:
        return (lambda _: True) if part in {"*", "?"} else part.__eq__
    matches = re.compile(translate(part)).match
    return lambda character: matches(character) is not None


def _alphabet(globs: Sequence[str]) -> list[str]:
    """One character of every kind that the globs tell apart: sets begin and end at characters that are written out."""
    written = sorted({ord(character) for glob in globs for character in glob})
    gaps = zip([-1, *written], [*written, _LAST + 1], strict=True)
    return [chr(code) for code in [*written, *(left + 1 for left, right in gaps if left + 1 < right)]]


def _closed(automata: Sequence[Sequence[_Piece]], places: set[tuple[int, int]]) -> Places:
    """With the places behind stars, which may match nothing."""
    reached = set(places)
    for glob, place in places:
        behind = place
        while behind < len(automata[glob]) and automata[glob][behind].is_star:
            behind += 1
            reached.add((glob, behind))
    return frozenset(reached)


def _step(automata: Sequence[Sequence[_Piece]], places: Places, character: str) -> Places:
    after: set[tuple[int, int]] = set()
    for glob, place in places:
        if place == len(automata[glob]):
            continue
        piece = automata[glob][place]
        if piece.takes(character):
            after.add((glob, place if piece.is_star else place + 1))
    return _closed(automata, after)


def _accepts(automata: Sequence[Sequence[_Piece]], places: Places) -> bool:
    return any(place == len(automata[glob]) for glob, place in places)

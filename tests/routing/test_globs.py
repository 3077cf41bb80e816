"""Whether globs cover another one: by example, and never against what `fnmatch` says."""

from fnmatch import fnmatchcase as fits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.globs import covers


@pytest.mark.parametrize(
    ("globs", "glob"),
    [
        (["*"], "gpt-4o"),
        (["*"], "*"),
        (["*"], ""),
        (["gpt-*"], "gpt-4o*"),
        (["gpt-4o"], "gpt-4o"),
        (["*mini"], "gpt-*-mini"),
        (["**"], "*"),
        (["?*"], "a*"),
        (["*?"], "?*"),
        (["[a-z]*"], "[b-d]x"),
        (["[!a]"], "b"),
        (["[!a]"], "[b-z]"),
        (["a?c"], "a[xyz]c"),
        (["[a-m]*", "[n-z]*"], "[a-z]*"),
        (["a", "b"], "[ab]"),
        (["", "?*"], "*"),
        (["a*", "[!a]*", ""], "*"),
        (["[z-a]"], "[z-a]"),
        ([], "[z-a]"),
        (["[[]x"], "[[]x"),
        (["[]x"], "[]x"),
        (["[!]"], "[!]"),
        (["[]]"], "]"),
    ],
)
def test_what_is_covered_is_found(globs: list[str], glob: str) -> None:
    assert covers(globs, glob)


@pytest.mark.parametrize(
    ("globs", "glob"),
    [
        ([], "a"),
        (["gpt-4o*"], "gpt-*"),
        (["GPT-4o"], "gpt-4o"),
        (["?*"], "*"),
        (["a*", "b*"], "*"),
        (["[a-m]*", "[o-z]*"], "[a-z]*"),
        (["[!a]"], "?"),
        (["a.c"], "a?c"),
        (["[ab]"], "[!z]"),
        (["*a"], "*"),
        (["[]"], "x"),
    ],
)
def test_what_is_not_covered_is_not_claimed(globs: list[str], glob: str) -> None:
    assert not covers(globs, glob)


def test_globs_that_are_too_much_to_walk_count_as_not_covered() -> None:
    assert covers(["*a???"], "*a??x")
    assert not covers(["*a" + "?" * 20], "*a" + "?" * 19 + "x")


PARTS = st.sampled_from(["a", "b", "-", "*", "?", "[ab]", "[!a]", "[a-b]", "[", "]", "[b-a]", "!", "\\"])
GLOBS = st.lists(PARTS, max_size=5).map("".join)
TEXTS = st.text(alphabet="abcx-![]\\^", max_size=5)


@given(globs=st.lists(GLOBS, max_size=3), glob=GLOBS, texts=st.lists(TEXTS, max_size=30))
def test_no_text_is_matched_by_a_covered_glob_and_by_none_that_cover_it(
    globs: list[str], glob: str, texts: list[str]
) -> None:
    if covers(globs, glob):
        assert all(any(fits(text, other) for other in globs) for text in texts if fits(text, glob))


@given(glob=GLOBS, more=st.lists(GLOBS, max_size=2))
def test_every_glob_covers_itself_and_a_star_covers_all(glob: str, more: list[str]) -> None:
    assert covers([*more, glob], glob)
    assert covers(["*"], glob)

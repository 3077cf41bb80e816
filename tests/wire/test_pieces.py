import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.pieces import PIECE_CHARACTERS, pieces


@given(st.text() | st.text("ab \n\u2028é", max_size=400))
def test_pieces_join_to_the_text_again(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert all(0 < len(piece) <= PIECE_CHARACTERS for piece in cut)


@given(st.lists(st.text("ab", min_size=1, max_size=20), max_size=40))
def test_words_are_not_cut_where_there_is_white_space(words: list[str]) -> None:
    assert all(piece.endswith(" ") for piece in pieces(" ".join(words))[:-1])


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", []),
        ("short", ["short"]),
        ("x" * 64, ["x" * 64]),
        ("x" * 65, ["x" * 64, "x"]),
        ("x" * 60 + " " + "y" * 10, ["x" * 60 + " ", "y" * 10]),
        ("x" * 64 + " y", ["x" * 64, " y"]),
        ("\n" * 65, ["\n" * 64, "\n"]),
    ],
)
def test_pieces_are_as_long_as_they_may_be(text: str, cut: list[str]) -> None:
    assert pieces(text) == cut

"""Cutting text into the pieces of a stream, and the one thing that can be wrong with an answer to be streamed."""

import re

PIECE_CHARACTERS = 64
"""The longest text in one delta; pieces end behind white space where there is some."""
_PIECE = re.compile(rf".{{1,{PIECE_CHARACTERS}}}(?:(?<=\s)|$)|.{{1,{PIECE_CHARACTERS}}}", re.DOTALL)


class NotAnAnswer(ValueError):
    """The body is not the complete JSON answer of its endpoint, so that no stream can be made of it."""


def pieces(text: str) -> list[str]:
    """The text in pieces that join to it again."""
    return _PIECE.findall(text)

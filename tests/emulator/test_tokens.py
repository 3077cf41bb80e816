"""Estimating tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.emulator.catalog import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES
from proxy.emulator.tokens import charged_ahead, count, cut, last_user_text, prompt_tokens


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("é" * 4, 2)])
def test_four_bytes_are_a_token(text: str, tokens: int) -> None:
    assert count(text) == tokens


@given(st.text(), st.integers(0, 50))
def test_a_cut_text_is_a_beginning_that_fits(text: str, tokens: int) -> None:
    shown = cut(text, tokens)
    assert text.startswith(shown)
    assert count(shown) <= tokens
    assert shown == text or count(shown) >= tokens


def test_prompts_of_each_endpoint_are_counted() -> None:
    user = {"role": "user", "content": "abcdefgh"}
    assert prompt_tokens(CHAT, {"messages": [user, user]}) == 2 * (2 + 3)
    assert prompt_tokens(RESPONSES, {"instructions": "abcd", "input": "abcdefgh"}) == (1 + 3) + (2 + 3)
    assert prompt_tokens(EMBEDDINGS, {"input": ["abcd", "abcdefgh"]}) == 3
    assert prompt_tokens(EMBEDDINGS, {"input": [[1, 2, 3], [4]]}) == 4
    assert prompt_tokens(COMPLETIONS, {"prompt": [1, 2, 3]}) == 3


def test_a_call_is_charged_ahead_with_all_that_it_may_produce() -> None:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "abcd"}], "max_tokens": 100, "n": 2}
    assert charged_ahead(CHAT, body) == 4 + 200
    assert charged_ahead(COMPLETIONS, {"prompt": "abcd"}) == 1 + 16
    assert charged_ahead(EMBEDDINGS, {"input": "abcd"}) == 1


def test_the_last_user_message_is_found_behind_others() -> None:
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": [{"type": "text", "text": "last"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "mine"},
    ]
    assert last_user_text(CHAT, {"messages": messages}) == "last"
    assert last_user_text(CHAT, {"messages": messages[2:]}) == ""

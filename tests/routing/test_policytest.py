"""The tests in a policy, as records: what cannot be meant is refused."""

from decimal import Decimal
from typing import Any

import pytest

from proxy.routing.policytest import Asked, Expected, PolicyTest


@pytest.mark.parametrize(
    ("request_of_a_test", "words"),
    [
        ({"at": "noonish"}, r"^at: 'noonish' is no time"),
        ({"input_tokens": 0}, r"^input_tokens: 0 is no size of a request; give at least 1"),
        ({"output_tokens": -1}, r"^output_tokens: -1 is no size"),
        ({"spent_usd": Decimal(-1)}, r"^spent_usd: -1 is no amount; give 0 or more"),
        ({"endpoint": "chat"}, r"^endpoint: 'chat' is no path; write it as /v1/chat/completions"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(request_of_a_test: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Asked(**request_of_a_test)


def test_a_test_that_expects_nothing_is_refused_because_it_could_not_fail() -> None:
    with pytest.raises(ValueError, match="expects nothing"):
        Expected()
    assert Expected(deferred=False).deferred is False


def test_a_test_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^name: "):
        PolicyTest(" ", Expected(rule="default"))

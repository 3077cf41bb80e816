import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.money import Usage
from proxy.wire.native import EndedBatch, read_ended

ENDED = {
    "id": "batch_1",
    "object": "batch",
    "status": "completed",
    "endpoint": "/v1/chat/completions",
    "model": "gpt-4o-mini-2024-07-18",
    "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 7}, "output_tokens": 20},
    "metadata": {"mine": "yes"},
}
READ = EndedBatch(
    "batch_1", "/v1/chat/completions", "gpt-4o-mini-2024-07-18", Usage(100, 20, cached_tokens=7), {"mine": "yes"}
)


def _dump(content: object) -> bytes:
    return json.dumps(content).encode()


def test_one_batch_and_a_page_of_them_are_read() -> None:
    assert read_ended(_dump(ENDED)) == [READ]
    assert read_ended(_dump({"object": "list", "data": [ENDED, ENDED | {"status": "in_progress"}]})) == [READ]


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling", "failed", ""])
def test_a_batch_that_has_not_ended_or_has_done_nothing_is_none(status: str) -> None:
    assert read_ended(_dump(ENDED | {"status": status})) == []


def test_what_the_provider_does_not_say_is_none() -> None:
    (batch,) = read_ended(_dump({key: value for key, value in ENDED.items() if key not in {"usage", "model"}}))
    assert (batch.usage, batch.model) == (None, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{", b"\xff", _dump(ENDED | {"object": "file"}), _dump(ENDED | {"id": 7})],
)
def test_anything_else_is_none(content: bytes) -> None:
    assert read_ended(content) == []


@given(st.binary())
def test_it_never_raises(content: bytes) -> None:
    assert read_ended(content) == []

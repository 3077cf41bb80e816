import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.money import Usage
from proxy.domain.tier import Tier
from proxy.wire.usage import Reading, read_stream_usage, read_usage, served_tier
from tests.wire.anything import JSON_VALUES, damaged, encoded, objects_with

NOTHING = Reading()
COUNTS = (
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"),
    *("prompt_tokens_details", "input_tokens_details", "cached_tokens"),
)
CHAT_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
TOO_DEEP = 100_000


def stream(*events: object, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


@pytest.mark.parametrize(
    ("body", "reading"),
    [
        (
            {"model": "m-2", "service_tier": "default", "usage": CHAT_USAGE},
            Reading(Usage(10, 5, 4), "m-2", "default"),
        ),
        (
            {
                "model": "m",
                "usage": {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}},
            },
            Reading(Usage(7, 3, 2), "m"),
        ),
        ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, Reading(Usage(8, 0))),
        ({"usage": {"prompt_tokens": 8, "completion_tokens": None}}, Reading(Usage(8, 0))),
        ({"usage": {"prompt_tokens": 8, "prompt_tokens_details": None}}, Reading(Usage(8, 0))),
        ({"usage": {"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": None}}}, Reading(Usage(8, 0))),
        ({"usage": {"prompt_tokens": 8, "prompt_tokens_details": [4]}}, Reading(Usage(8, 0))),
        ({"usage": {"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": 99}}}, Reading(Usage(8, 0, 8))),
        ({"usage": {"prompt_tokens": 8, "completion_tokens": -1}}, Reading(Usage(8, 0))),
        ({"usage": {"input_tokens": 0, "output_tokens": 0}}, Reading(Usage(0, 0))),
        ({"usage": {"input_tokens": None, "prompt_tokens": 8}}, Reading(Usage(8, 0))),
        ({"usage": {"type": "duration", "seconds": 3}}, NOTHING),
        ({"usage": {"prompt_tokens": -1}}, NOTHING),
        ({"usage": {"prompt_tokens": True}}, NOTHING),
        ({"usage": {"prompt_tokens": 1.5}}, NOTHING),
        ({"usage": {"prompt_tokens": 10**13}}, NOTHING),
        ({"usage": None}, NOTHING),
        ({"usage": [1]}, NOTHING),
        ({"model": 5, "service_tier": {}, "usage": CHAT_USAGE}, Reading(Usage(10, 5, 4))),
        ({"model": "", "service_tier": None}, NOTHING),
        ({"error": {"message": "no"}}, NOTHING),
        ([], NOTHING),
        ("text", NOTHING),
    ],
)
def test_an_answer_says_what_it_cost(body: object, reading: Reading) -> None:
    assert read_usage(json.dumps(body).encode()) == reading


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"{", b'{"model":"\xff"}', b'{"usage":' + b"[" * TOO_DEEP + b"]" * TOO_DEEP + b"}"]
)
def test_an_answer_that_cannot_be_read_says_nothing(body: bytes) -> None:
    assert read_usage(body) == NOTHING
    assert read_stream_usage(b"data: " + body + b"\n\n") == NOTHING


def chunk(**fields: object) -> dict[str, object]:
    return {"object": "chat.completion.chunk", "model": "m", "choices": [{"delta": {"content": "x"}}]} | fields


@pytest.mark.parametrize(
    ("tail", "reading"),
    [
        (
            stream(chunk(usage=None), chunk(usage=None), chunk(choices=[], usage=CHAT_USAGE, service_tier="flex")),
            Reading(Usage(10, 5, 4), "m", "flex"),
        ),
        (stream(chunk(), chunk(service_tier="default")), Reading(None, "m", "default")),
        (stream({"usage": CHAT_USAGE}, chunk(usage=None)), Reading(Usage(10, 5, 4), "m")),
        (stream({"model": "m", "usage": CHAT_USAGE}, {"service_tier": "flex"}), Reading(Usage(10, 5, 4), "m", "flex")),
        (stream({"usage": CHAT_USAGE}), Reading(Usage(10, 5, 4))),
        (stream(chunk(), {"usage": {"nonsense": 1}}), Reading(None, "m")),
        (
            stream(
                {"type": "response.created", "response": {"model": "m", "usage": None, "service_tier": "auto"}},
                {"type": "response.output_text.delta", "delta": '"usage"'},
                {
                    "type": "response.completed",
                    "response": {
                        "model": "m",
                        "usage": {"input_tokens": 9, "output_tokens": 1},
                        "service_tier": "flex",
                    },
                },
                end=b"",
            ),
            Reading(Usage(9, 1), "m", "flex"),
        ),
        (stream({"response": "text"}), NOTHING),
        (b'cut":"off"}]}\n\n' + stream(chunk(usage=CHAT_USAGE)), Reading(Usage(10, 5, 4), "m")),
        (stream(chunk(usage=CHAT_USAGE)).replace(b"\n", b"\r\n"), Reading(Usage(10, 5, 4), "m")),
        (stream(chunk(usage=CHAT_USAGE)).replace(b"data: ", b"data:"), Reading(Usage(10, 5, 4), "m")),
        (stream(chunk(usage=CHAT_USAGE), end=b": ping\n\nevent: end\ndata: cut o"), Reading(Usage(10, 5, 4), "m")),
        (b": standby\n\n", NOTHING),
        (b"", NOTHING),
    ],
)
def test_a_stream_says_at_its_end_what_it_cost(tail: bytes, reading: Reading) -> None:
    assert read_stream_usage(tail) == reading


@pytest.mark.parametrize(
    ("word", "tier"),
    [
        ("flex", Tier.FLEX),
        ("priority", Tier.PRIORITY),
        ("fast", Tier.PRIORITY),
        ("ultrafast", Tier.PRIORITY),
        ("default", Tier.STANDARD),
        ("auto", Tier.STANDARD),
        ("scale", Tier.STANDARD),
        ("batch", Tier.STANDARD),
        ("", Tier.STANDARD),
        (None, Tier.STANDARD),
    ],
)
def test_the_tier_behind_the_providers_word(word: str | None, tier: Tier) -> None:
    assert served_tier(word) is tier


ANSWERS = st.builds(
    lambda outer, usage: outer | {"usage": usage},
    objects_with("model", "service_tier", "response", "choices"),
    objects_with(*COUNTS) | JSON_VALUES,
)


@given(damaged(encoded(ANSWERS)))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    for reading in (read_usage(body), read_stream_usage(body), read_stream_usage(b"\ndata:" + body + b"\n\n")):
        usage = reading.usage
        assert usage is None or 0 <= usage.cached_tokens <= usage.input_tokens
        assert usage is None or usage.output_tokens >= 0

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError, OpenAI

from proxy.wire.sse import DONE, comment, error_event, event
from tests.wire.anything import damaged, encoded, objects_with

Serve = Callable[[bytes], OpenAI]
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
RATE_LIMIT = b'{"error":{"message":"too many","type":"rate_limit_error","param":"model","code":"slow"}}'
TOO_DEEP = 100_000


def drain(client: OpenAI, endpoint: str) -> list[object]:
    match endpoint:
        case "/v1/chat/completions":
            return list(client.chat.completions.create(model="m", messages=[], stream=True))
        case "/v1/completions":
            return list(client.completions.create(model="m", prompt="", stream=True))
        case _:
            return list(client.responses.create(model="m", input="", stream=True))


def told(frame: bytes) -> dict[str, object]:
    """The error in a frame of a chat stream."""
    head, _, rest = frame.partition(b"\n\n")
    assert rest == DONE
    error = json.loads(head.removeprefix(b"data: "))["error"]
    assert isinstance(error, dict)
    return error


def test_an_event_is_one_line_of_data() -> None:
    assert event(b"{}") == b"data: {}\n\n"
    assert event(b"{}", "response.created") == b"event: response.created\ndata: {}\n\n"


def test_a_comment_is_skipped_by_a_stock_client(sdk: Serve) -> None:
    assert comment() == b": standby\n\n"
    assert comment("still here") == b": still here\n\n"
    assert drain(sdk(comment() * 3 + DONE), CHAT) == []


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, RESPONSES])
def test_a_stock_client_raises_an_error_that_comes_in_a_stream(sdk: Serve, endpoint: str) -> None:
    with pytest.raises(APIError, match="too many") as caught:
        drain(sdk(comment() + error_event(RATE_LIMIT, endpoint)), endpoint)
    assert (caught.value.code, caught.value.param, caught.value.type) == ("slow", "model", "rate_limit_error")


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, RESPONSES])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "upstream gave no reason"),
        (b"<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (b'{"error":null}', '{"error":null}'),
        (b'{"error":{}}', '{"error":{}}'),
        (b'{"error":[1]}', '{"error":[1]}'),
        (b'{"error":""}', "upstream gave no reason"),
        (b'{"error":"down"}', "down"),
        (b'{"detail":"down"}', '{"detail":"down"}'),
        (b'{"error":{"message":"\xff"}}', '{"error":{"message":"\ufffd"}}'),
        (b"two\nlines", "two\nlines"),
        (b"x" * 5000, "x" * 1000),
        (b'{"error":' + b"[" * TOO_DEEP + b"]" * TOO_DEEP + b"}", '{"error":' + "[" * 991),
    ],
)
def test_an_error_of_any_shape_is_raised_with_its_words(sdk: Serve, body: bytes, message: str, endpoint: str) -> None:
    with pytest.raises(APIError) as caught:
        drain(sdk(error_event(body, endpoint)), endpoint)
    assert caught.value.message == message


def test_an_error_keeps_every_field_and_is_on_one_line() -> None:
    body = b'{\n  "error": {\n    "message": "no",\n    "innererror": {"code": "x\\ny"}\n  }\n}'
    assert told(error_event(body, CHAT)) == {"message": "no", "innererror": {"code": "x\ny"}}


def test_an_error_of_a_response_stream_has_its_words_twice() -> None:
    name, data, *rest = error_event(RATE_LIMIT, RESPONSES).split(b"\n")
    error = json.loads(RATE_LIMIT)["error"]
    assert name == b"event: error"
    assert rest == [b"", b""]
    assert json.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "code": "slow",
        "message": "too many",
        "param": "model",
        "sequence_number": 0,
        "error": error,
    }


@given(damaged(encoded(objects_with("error", "message", "code"))), st.sampled_from([CHAT, RESPONSES]))
def test_any_answer_makes_an_error_event_with_an_error_in_it(body: bytes, endpoint: str) -> None:
    *head, data, end, nothing = error_event(body, endpoint).removesuffix(DONE).split(b"\n")
    assert (head, end, nothing) == ([b"event: error"] if endpoint == RESPONSES else [], b"", b"")
    assert json.loads(data.removeprefix(b"data: "))["error"]

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.errors import ClientFault
from proxy.wire.lines import (
    BATCH_ENDPOINTS,
    EMBEDDING_INPUTS_MAX,
    STRIPPED,
    LineFault,
    OutputLine,
    decode_output_line,
    encode_line,
    line_body,
    validate,
)
from tests.wire.anything import JSON_VALUES, damaged, encoded, objects_with

FIELDS = ("model", "messages", "input", "prompt", "stream", "stream_options", "service_tier", "metadata", "temperature")
RESULT_FIELDS = ("id", "custom_id", "response", "error", "status_code", "body", "request_id", "code", "message")
CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"
COMPLETIONS, MODERATIONS, IMAGES = "/v1/completions", "/v1/moderations", "/v1/images/generations"
MESSAGES = [{"role": "user", "content": "hello"}]
TOO_DEEP = 100_000


def refusal(endpoint: str, **fields: object) -> ClientFault:
    with pytest.raises(ClientFault) as caught:
        validate(endpoint, json.dumps({"model": "m"} | fields).encode())
    return caught.value


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"model":"m"}', b'{"model":"m"}'),
        (b'{ "model" : "m" ,\n"n":1 }\n', b'{"model":"m","n":1}'),
        (
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"service_tier":"auto"}',
            b'{"model":"m"}',
        ),
        (b'{"metadata":{"deadline":"2h","team":"a"},"model":"m"}', b'{"metadata":{"team":"a"},"model":"m"}'),
        (b'{"metadata":{"priority":"low"},"model":"m"}', b'{"model":"m"}'),
        (b'{"model":"a","model":"b"}', b'{"model":"b"}'),
        (
            b'{"temperature":1.000e-0,"seed":99999999999999999999999,"a":"\\u00e9\\/ \xc3\xa9","b":[ 1 ]}',
            b'{"temperature":1.000e-0,"seed":99999999999999999999999,"a":"\\u00e9\\/ \xc3\xa9","b":[ 1 ]}',
        ),
        (
            b'{"a": {\r\n  "x": [1.50,\n 2],\n  "y": "\\n  z", "big": 18446744073709551616.0\n}}',
            b'{"a":{"x":[1.50,2],"y":"\\n  z","big":18446744073709551616.0}}',
        ),
        (b'{"line\\nbreak":1}', b'{"line\\nbreak":1}'),
    ],
)
def test_a_body_is_stripped_and_on_one_line_and_its_values_keep_their_bytes(body: bytes, line: bytes) -> None:
    assert line_body(body, refused=STRIPPED) == line


def test_only_what_is_refused_is_stripped() -> None:
    body = b'{"model":"m","stream":true,"seed":1}'
    assert line_body(body, refused=frozenset()) == body
    assert line_body(body, refused=frozenset({"seed"})) == b'{"model":"m","stream":true}'


@given(encoded(objects_with(*FIELDS)))
def test_a_line_says_the_same_as_its_body(body: bytes) -> None:
    line = line_body(body, refused=STRIPPED)
    said = {name: value for name, value in json.loads(body).items() if name not in STRIPPED | {"metadata"}}
    assert b"\n" not in line
    assert b"\r" not in line
    assert {name: value for name, value in json.loads(line).items() if name != "metadata"} == said


@given(damaged(encoded(objects_with(*FIELDS))), st.sampled_from(sorted(BATCH_ENDPOINTS)))
def test_what_is_valid_can_be_written_and_what_is_not_is_a_clients_fault(body: bytes, endpoint: str) -> None:
    with suppress(ClientFault):
        line_body(body, refused=STRIPPED)
    with suppress(ClientFault):
        validate(endpoint, body)
        assert json.loads(line_body(body, refused=STRIPPED))["model"]


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        (CHAT, {"messages": MESSAGES}),
        (CHAT, {"messages": [*MESSAGES, {"role": "assistant", "content": None}]}),
        (EMBEDDINGS, {"input": "text"}),
        (EMBEDDINGS, {"input": ["text", "more"]}),
        (EMBEDDINGS, {"input": [1, 2, 3]}),
        (EMBEDDINGS, {"input": ["x"] * EMBEDDING_INPUTS_MAX}),
        (MODERATIONS, {"input": "text"}),
        (MODERATIONS, {"input": [{"type": "text", "text": "x"}]}),
        (COMPLETIONS, {"prompt": "text"}),
        (COMPLETIONS, {"prompt": ["a", "b"]}),
        (IMAGES, {"prompt": "text"}),
        (RESPONSES, {"input": "text"}),
        (RESPONSES, {"input": [{"role": "user", "content": "x"}]}),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}),
        (RESPONSES, {"previous_response_id": "resp_1"}),
        (RESPONSES, {"conversation": "conv_1"}),
        (RESPONSES, {"input": "text", "background": False}),
        ("/v1/unknown", {}),
    ],
)
def test_what_the_endpoint_can_do_with_is_valid(endpoint: str, fields: dict[str, object]) -> None:
    validate(endpoint, json.dumps({"model": "m"} | fields).encode())


@pytest.mark.parametrize("endpoint", [*sorted(BATCH_ENDPOINTS), "/v1/unknown"])
@pytest.mark.parametrize("model", [None, "", 5, ["m"], {}])
def test_a_line_needs_a_model(endpoint: str, model: object) -> None:
    fault = refusal(endpoint, messages=MESSAGES, input="x", prompt="x", model=model)
    assert (fault.status, fault.code, fault.param) == (400, "missing_required_parameter", "model")


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (CHAT, "messages"),
        (EMBEDDINGS, "input"),
        (MODERATIONS, "input"),
        (RESPONSES, "input"),
        (COMPLETIONS, "prompt"),
        (IMAGES, "prompt"),
    ],
)
@pytest.mark.parametrize("value", [None, "", [], {}, 0, False])
def test_a_line_needs_what_it_is_about(endpoint: str, name: str, value: object) -> None:
    fault = refusal(endpoint, **{name: value})
    assert (fault.status, fault.code, fault.param) == (400, "missing_required_parameter", name)
    assert f"'{name}'" in fault.message


@pytest.mark.parametrize("message", ["hello", None, {}, {"role": 1}, {"content": "x"}, ["user"]])
def test_a_message_that_is_none_is_named(message: object) -> None:
    fault = refusal(CHAT, messages=[*MESSAGES, message])
    assert (fault.status, fault.code, fault.param) == (400, "invalid_type", "messages[1]")


def test_more_embedding_inputs_than_a_batch_takes_are_refused() -> None:
    fault = refusal(EMBEDDINGS, input=["x"] * (EMBEDDING_INPUTS_MAX + 1))
    assert (fault.status, fault.code, fault.param) == (400, "too_many_inputs", "input")
    assert "50001" in fault.message


def test_a_background_response_is_refused() -> None:
    fault = refusal(RESPONSES, input="x", background=True)
    assert (fault.status, fault.code, fault.param) == (400, "unsupported_parameter", "background")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"[]", "JSON object"),
        (b'\xef\xbb\xbf{"model":"m"}', "byte order mark"),
        (b'{"model":"m","a":"\xff"}', "UTF-8"),
        (b'{"model":"m","a":1e999}', "out of range"),
        (b'{"model":"m","a":NaN}', "invalid character"),
        (rb'{"model":"m","a":"\ud83d"}', "half a surrogate pair"),
        (b'{"model":"m","a":' + b"[" * TOO_DEEP + b"]" * TOO_DEEP + b"}", "nested too deeply"),
    ],
)
def test_a_body_that_would_fail_a_whole_file_is_refused_alone(body: bytes, said: str) -> None:
    with pytest.raises(ClientFault, match=said) as caught:
        validate("/v1/unknown", body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_a_line_is_one_json_object_with_its_newline() -> None:
    line = encode_line("id-1", CHAT, b'{"model":"m"}')
    assert line == b'{"custom_id":"id-1","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\n'


@given(st.text(st.characters(exclude_categories=["Cs"])), encoded(objects_with("model", "messages")))
def test_any_id_and_any_body_come_out_of_a_line_as_they_went_in(custom_id: str, body: bytes) -> None:
    line = encode_line(custom_id, CHAT, line_body(body, refused=frozenset()))
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    read = json.loads(line)
    assert read == {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": json.loads(body)}


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (
            b'{"custom_id":"c","response":{"status_code":200,"request_id":"r","body":{"a": 1.0}},"error":null}\n',
            OutputLine("c", 200, "r", b'{"a": 1.0}', None, None),
        ),
        (
            b'{"custom_id":"c","response":{"status_code":400,"request_id":"r","body":{"error":{}}},"error":null}',
            OutputLine("c", 400, "r", b'{"error":{}}', None, None),
        ),
        (
            b'{"custom_id":"c","response":null,"error":{"code":"batch_expired","message":"too late"}}',
            OutputLine("c", None, None, None, "batch_expired", "too late"),
        ),
        (b'{"custom_id":"c"}', OutputLine("c", None, None, None, None, None)),
        (b'{"custom_id":"c","response":{}}', OutputLine("c", None, None, None, None, None)),
        (b'{"custom_id":"c","response":{"status_code":0,"body":{}}}', OutputLine("c", None, None, None, None, None)),
        (b'{"custom_id":"c","response":{"status_code":200}}', OutputLine("c", None, None, None, None, None)),
        (
            b'{"custom_id":"c","response":{"status_code":200,"body":null}}',
            OutputLine("c", None, None, None, None, None),
        ),
        (
            b'{"custom_id":"c","response":{"status_code":99999,"body":{}}}',
            OutputLine("c", None, None, None, None, None),
        ),
        (
            b'{"custom_id":"c","response":{"status_code":200,"request_id":7,"body":{}},"error":{}}',
            OutputLine("c", 200, None, b"{}", None, None),
        ),
        (b'{"custom_id":"c","error":{"code":7,"message":8}}', OutputLine("c", None, None, None, "7", None)),
        (b'{"custom_id":"c","error":{"code":null}}', OutputLine("c", None, None, None, None, None)),
        (b'{"custom_id":"c","error":"went wrong"}', OutputLine("c", None, None, None, None, "went wrong")),
        (b'{"custom_id":"c","error":[1]}', OutputLine("c", None, None, None, None, None)),
        (b'\xef\xbb\xbf{"custom_id":"c"}', OutputLine("c", None, None, None, None, None)),
        (rb'{"custom_id":"\u0063\n"}', OutputLine("c\n", None, None, None, None, None)),
        (b"", None),
        (b"\n", None),
        (b" \t\r\n", None),
        (b"\xef\xbb\xbf\n", None),
    ],
)
def test_a_result_line_is_an_answer_an_error_or_nothing(line: bytes, read: OutputLine | None) -> None:
    assert decode_output_line(line) == read


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[]",
        b"{}",
        b'{"custom_id":5}',
        b'{"custom_id":null}',
        b'{"custom_id":"c","response":{"status_code":200,"body":{"a":"cut o',
        b'{"custom_id":"c","response":{"status_code":"200"}}',
        b'{"custom_id":"c","response":"200"}',
        b'{"custom_id":"\xff"}',
        b'{"custom_id":"c","response":{"body":' + b"[" * TOO_DEEP + b"]" * TOO_DEEP + b"}}",
    ],
)
def test_what_is_no_result_line_is_a_line_fault(line: bytes) -> None:
    with pytest.raises(LineFault, match="a result line cannot be read"):
        decode_output_line(line)


@given(JSON_VALUES, st.integers(200, 599), st.text(st.characters(exclude_categories=["Cs"])))
def test_an_answers_body_comes_out_with_its_bytes(body: object, status: int, custom_id: str) -> None:
    written = json.dumps(body).encode()
    line = b'{"response":{"body":%b,"status_code":%d},"custom_id":%b}' % (
        written,
        status,
        json.dumps(custom_id).encode(),
    )
    answered = OutputLine(custom_id, status, None, written, None, None)
    unanswered = OutputLine(custom_id, None, None, None, None, None)
    assert decode_output_line(line) == (unanswered if body is None else answered)


RESULTS = st.builds(
    lambda outer, response, error: outer | {"response": response, "error": error},
    objects_with(*RESULT_FIELDS),
    objects_with(*RESULT_FIELDS) | JSON_VALUES,
    objects_with(*RESULT_FIELDS) | JSON_VALUES,
)


@given(damaged(encoded(RESULTS)))
def test_any_line_is_a_result_nothing_or_a_line_fault(line: bytes) -> None:
    with suppress(LineFault):
        read = decode_output_line(line)
        assert read is None or (read.status is None) == (read.body is None)

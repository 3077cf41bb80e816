import json
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.errors import ClientFault
from proxy.wire.body import BodyHints, estimate_tokens, fingerprint, read_hints, top_level_fields, without_own_metadata
from tests.wire.anything import JSON_VALUES, damaged, encoded, objects_with

FIELDS = (
    *("model", "stream", "stream_options", "service_tier", "metadata", "tools", "max_tokens"),
    *("max_completion_tokens", "max_output_tokens", "messages"),
)
TOO_DEEP = 100_000


@pytest.mark.parametrize(
    ("body", "hints"),
    [
        (b"{}", BodyHints()),
        (b' \r\n{"model" : "m"}\n ', BodyHints(model="m")),
        (rb'{"mod\u0065l":"m"}', BodyHints(model="m")),
        (b'{"model":"a","model":"b"}', BodyHints(model="b")),
        (b'{"model":""}', BodyHints()),
        (b'{"stream":true}', BodyHints(stream=True)),
        (b'{"stream":false}', BodyHints()),
        (b'{"stream_options":{"include_usage":true}}', BodyHints(include_usage=True)),
        (b'{"stream_options":{"include_usage":false}}', BodyHints()),
        (b'{"service_tier":"flex"}', BodyHints(service_tier="flex")),
        (b'{"tools":[ {"type":"function"}]}', BodyHints(has_tools=True)),
        (b'{"tools":[ \n ]}', BodyHints()),
        (b'{"tools":{"a":1}}', BodyHints()),
        (b'{"tools":null}', BodyHints()),
        (b'{"max_tokens":5}', BodyHints(max_output_tokens=5)),
        (b'{"max_tokens":5,"max_completion_tokens":6}', BodyHints(max_output_tokens=6)),
        (b'{"max_tokens":5,"max_output_tokens":7}', BodyHints(max_output_tokens=7)),
        (b'{"max_tokens":5,"max_completion_tokens":null}', BodyHints(max_output_tokens=5)),
        (b'{"max_tokens":0}', BodyHints()),
        (b'{"max_tokens":-1}', BodyHints()),
        (b'{"max_tokens":true}', BodyHints()),
        (b'{"metadata":{"a":"x","b":1}}', BodyHints(metadata={"a": "x"})),
        (b'{"metadata":{"deadline":"2h"}}', BodyHints(metadata_deadline="2h", metadata={"deadline": "2h"})),
        (b'{"metadata":{"deadline":7200}}', BodyHints(metadata_deadline=7200)),
        (b'{"metadata":{"priority":"low"}}', BodyHints(metadata_priority="low", metadata={"priority": "low"})),
        (b'{"metadata":{"priority":0}}', BodyHints(metadata_priority=0)),
        (b'{"metadata":{"deadline":null,"priority":null}}', BodyHints()),
    ],
)
def test_the_fields_that_matter_are_read(body: bytes, hints: BodyHints) -> None:
    assert read_hints(body) == hints


@pytest.mark.parametrize("wrong", ["-7", "[1]", '{"a":1}', "true", "null", "1.5"])
@pytest.mark.parametrize("name", ["model", "stream_options", "service_tier", "metadata", "max_output_tokens"])
def test_a_field_of_another_type_than_it_should_be_is_absent_and_no_error(name: str, wrong: str) -> None:
    assert read_hints(f'{{"{name}":{wrong}}}'.encode()) == BodyHints()


@pytest.mark.parametrize("wrong", ['"true"', "1", "[true]", "{}", "null"])
def test_only_true_is_a_stream(wrong: str) -> None:
    assert not read_hints(f'{{"stream":{wrong}}}'.encode()).stream


@pytest.mark.parametrize(("value", "text"), [("true", "true"), ("1.5", "1.5"), ("[1]", "[1]"), ('{"a":1}', '{"a":1}')])
def test_own_words_of_a_wrong_type_are_kept_as_text_so_that_they_can_be_refused(value: str, text: str) -> None:
    hints = read_hints(f'{{"metadata":{{"deadline":{value},"priority":{value}}}}}'.encode())
    assert hints.metadata_deadline == text
    assert hints.metadata_priority == text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"{}"', "must be a JSON object"),
        (b"not json", "must be a JSON object"),
        (b'\xef\xbb\xbf{"model":"m"}', "byte order mark"),
        (b'{"model":"m"', "truncated"),
        (b'{"model":"m"} x', "byte 15"),
        (b'{"model":"m",}', "byte 13"),
        (b"{'model':'m'}", "byte 1"),
        (b'{"temperature":NaN}', "byte 15"),
        (b'{"temperature":Infinity}', "byte 15"),
        (b'{"model":"a\nb"}', "invalid character"),
        (rb'{"messages":["\ud83d"]}', "half a surrogate pair"),
        (rb'{"messages":["\ude00 and some more text"]}', "half a surrogate pair"),
        (rb'{"messages":["\\ud83d"],}', "byte 24"),
        (b'{"a":' + b"[" * TOO_DEEP + b"]" * TOO_DEEP + b"}", "nested too deeply"),
        (b'{"metadata":' + b'{"a":' * TOO_DEEP + b"1" + b"}" * TOO_DEEP + b"}", "nested too deeply"),
    ],
)
@pytest.mark.parametrize("read", [read_hints, without_own_metadata, top_level_fields])
def test_a_body_that_is_no_json_object_is_refused_with_what_is_wrong(
    read: Callable[[bytes], object], body: bytes, said: str
) -> None:
    with pytest.raises(ClientFault, match=said) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"max_tokens":1e999}', "out of range"),
        (b'{"max_tokens":%b}' % (b"9" * 5000), "out of range"),
        (b'{"model":"\xff"}', "not UTF-8"),
    ],
)
def test_a_wanted_field_that_cannot_be_read_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(ClientFault, match=said):
        read_hints(body)


@pytest.mark.parametrize("read", [without_own_metadata, top_level_fields])
def test_a_name_that_is_not_utf_8_is_refused_when_the_fields_are_taken_apart(read: Callable[[bytes], object]) -> None:
    with pytest.raises(ClientFault, match="not UTF-8"):
        read(b'{"\xff":1}')


@pytest.mark.parametrize("value", [b"1e999", b"9" * 5000, b'"\xff"'])
def test_a_field_that_does_not_matter_is_not_looked_into(value: bytes) -> None:
    assert read_hints(b'{"model":"m","seed":%b}' % value) == BodyHints(model="m")


@given(damaged(encoded(objects_with(*FIELDS))))
def test_reading_any_bytes_gives_hints_or_a_clients_fault(body: bytes) -> None:
    with suppress(ClientFault):
        read_hints(body)
        top_level_fields(body)
    with suppress(ClientFault):
        without_own_metadata(body)


@given(encoded(objects_with(*FIELDS)))
def test_every_json_object_has_hints(body: bytes) -> None:
    read_hints(body)
    without_own_metadata(body)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"model":"m","metadata":{"deadline":"2h"}}', b'{"model":"m"}'),
        (b'{"metadata":{"priority":1,"deadline":"2h"},"model":"m"}', b'{"model":"m"}'),
        (b'{"metadata":{"a":"x","deadline":"2h","b":"y"},"model":"m"}', b'{"metadata":{"a":"x","b":"y"},"model":"m"}'),
        (
            b'{"temperature":1.000e0,"metadata":{"k": "\\u0041","priority":"low"},"x":[ 1,\n2 ]}',
            b'{"temperature":1.000e0,"metadata":{"k":"\\u0041"},"x":[ 1,\n2 ]}',
        ),
        (b'{"metadata":{"deadline":null}}', b"{}"),
        (b'{"model":"a","model":"b","metadata":{"deadline":"2h"}}', b'{"model":"b"}'),
    ],
)
def test_own_words_are_taken_out_and_every_other_value_keeps_its_bytes(body: bytes, left: bytes) -> None:
    assert without_own_metadata(body) == left


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{ "model" : "m" }',
        b'{"metadata":{"a":"deadline"}}',
        b'{"metadata":{}}',
        b'{"metadata":null}',
        b'{"metadata":["deadline"]}',
        b'{"deadline":"2h","priority":1}',
        b'{"a":"\xff"}',
    ],
)
def test_a_body_without_own_words_is_returned_as_it_is(body: bytes) -> None:
    assert without_own_metadata(body) is body


@given(objects_with("model", "temperature", "messages"), st.dictionaries(st.text("abc"), JSON_VALUES, max_size=3))
def test_only_own_words_are_lost(fields: dict[str, object], words: dict[str, object]) -> None:
    body = json.dumps(fields | {"metadata": words | {"deadline": "2h", "priority": 3}}).encode()
    left = json.loads(without_own_metadata(body))
    assert left == json.loads(json.dumps(fields | ({"metadata": words} if words else {})))


@pytest.mark.parametrize(("size", "tokens"), [(0, 1), (1, 1), (4, 1), (5, 2), (4000, 1000)])
def test_four_bytes_are_a_token(size: int, tokens: int) -> None:
    assert estimate_tokens(b"x" * size) == tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":{"c":2,"d":[1,2]}}', b'{ "b": {"d": [1, 2],\n"c": 2}, "a": 1 }'),
        (b'{"a":"A\\u00e9"}', '{"a":"\\u0041é"}'.encode()),
        (b'{"a":1,"a":2}', b'{"a":2}'),
        (b'{"a":1,"metadata":{"deadline":"2h","k":"v"}}', b'{"metadata":{"k":"v","priority":"urgent"},"a":1}'),
        (b'{"a":1,"metadata":{"deadline":"2h"}}', b'{"a":1}'),
    ],
)
def test_what_says_the_same_has_the_same_fingerprint(one: bytes, other: bytes) -> None:
    assert fingerprint(one) == fingerprint(other)


DIFFERENT = [
    *(b"1", b"1.0", b"1.00", b'"1"', b"true", b"[1]", b"null", b"{}", b"[]", b'""', b"false", b"0", b"0.0"),
    *(b"[1,2]", b"[2,1]", b"[[1],2]", b'{"b":1}', b'{"b":"1"}', b'"A"', b'"a"', b'"\xc3\xa9"', b'"e\xcc\x81"'),
    *(b"9007199254740992", b"9007199254740993", b"123456789012345678901234567890", b"123456789012345678901234567891"),
    *(b"0.1", b"0.1000000000000000055511151231257827", b"1e400", b"2e400", b"1e-400"),
]


def test_what_says_something_else_has_another_fingerprint() -> None:
    assert len({fingerprint(b'{"a":%b}' % value) for value in DIFFERENT}) == len(DIFFERENT)


@given(objects_with("model", "metadata", "messages"), st.randoms())
def test_no_order_of_keys_changes_the_fingerprint(fields: dict[str, object], random: Random) -> None:
    names = list(fields)
    random.shuffle(names)
    shuffled = {name: fields[name] for name in names}
    assert fingerprint(json.dumps(fields).encode()) == fingerprint(json.dumps(shuffled, indent=2).encode())


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'{"a":', b'{"a":"\xff"}', b'{"a":1e9999999999999999999}', b'{"a":' + b"[" * TOO_DEEP]
)
def test_what_is_no_json_object_has_no_fingerprint(body: bytes) -> None:
    with pytest.raises(ClientFault):
        fingerprint(body)

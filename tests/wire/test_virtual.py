import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.wire.virtual import (
    BatchRecord,
    FileRecord,
    InputLine,
    LineError,
    Marks,
    Status,
    answered_line,
    batch_shown,
    file_shown,
    metadata_fault,
    part_number,
    read_line,
    unanswered_line,
)
from tests.wire.anything import damaged

CHAT = "/v1/chat/completions"
RECORD = BatchRecord(CHAT, "file-in", "24h", 90_000.5, "file-out", "file-err").at(Status.VALIDATING, 1.5)


def _line(**changes: object) -> bytes:
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m", "x": 1.50}} | changes
    return json.dumps(line).encode()


def test_a_line_is_read_and_its_body_keeps_its_bytes() -> None:
    content = (
        b'{"body" : {"model": "m",  "x":1.50},"custom_id":"a","method":"POST","url":"%b","more":1}' % CHAT.encode()
    )
    assert read_line(content, 7, CHAT) == InputLine(7, "a", "m", b'{"model": "m",  "x":1.50}')


def test_a_byte_order_mark_may_begin_the_file_and_no_other_line() -> None:
    assert isinstance(read_line(b"\xef\xbb\xbf" + _line(), 1, CHAT), InputLine)
    assert isinstance(read_line(b"\xef\xbb\xbf" + _line(), 2, CHAT), LineError)


@pytest.mark.parametrize("content", [b"", b"  ", b"\r", b"\t\r"])
def test_a_blank_line_is_none(content: bytes) -> None:
    assert read_line(content, 3, CHAT) is None


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'"\xff"', "invalid_json_line", None),
        (b"[" * 100_000, "invalid_json_line", None),
        (_line(custom_id=None), "missing_required_parameter", "custom_id"),
        (_line(custom_id=""), "missing_required_parameter", "custom_id"),
        (_line(custom_id=5), "missing_required_parameter", "custom_id"),
        (_line(method="GET"), "invalid_method", "method"),
        (_line(url="/v1/embeddings"), "mismatched_endpoint", "url"),
        (_line(url=None), "mismatched_endpoint", "url"),
        (_line(body={}), "missing_required_parameter", "body.model"),
        (_line(body={"model": 1}), "missing_required_parameter", "body.model"),
        (_line(body=[]), "invalid_json_line", None),
        (b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}', "missing_required_parameter", "body.model"),
    ],
)
def test_a_bad_line_says_what_is_wrong_with_it(content: bytes, code: str, param: str | None) -> None:
    found = read_line(content, 4, CHAT)
    assert isinstance(found, LineError)
    assert (found.code, found.param, found.line) == (code, param, 4)


@given(damaged(st.just(_line())))
def test_nothing_that_a_line_may_be_raises(content: bytes) -> None:
    read_line(content, 1, CHAT)


def test_an_answer_becomes_one_line_with_its_status() -> None:
    line = answered_line("l", "a", 200, "req-1", b'{\n "x": 1.50,\n "y": [1,\n2]}')
    assert line.count(b"\n") == 1
    assert b"1.50" in line
    assert json.loads(line) == {
        "id": "l",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "req-1", "body": {"x": 1.5, "y": [1, 2]}},
        "error": None,
    }


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff"])
def test_an_answer_that_is_no_json_becomes_text(body: bytes) -> None:
    shown = json.loads(answered_line("l", "a", 502, "req-1", body))
    assert shown["response"]["body"] == body.decode("utf-8", "replace")


def test_what_has_no_answer_says_why() -> None:
    shown = json.loads(unanswered_line("l", "a", "batch_expired", "Too late."))
    assert shown["response"] is None
    assert shown["error"] == {"code": "batch_expired", "message": "Too late."}


@given(st.integers(0, 100).flatmap(lambda lines: st.tuples(st.just(lines), st.sets(st.integers(1, max(1, lines))))))
def test_marks_are_what_was_marked_also_when_they_are_read_again(given: tuple[int, set[int]]) -> None:
    lines, numbers = given
    numbers &= set(range(1, lines + 1))
    marks = Marks(b"", lines)
    for number in numbers:
        marks.add(number)
    again = Marks(bytes(marks), lines)
    assert {number for number in range(1, lines + 1) if number in again} == numbers


def test_volumes_do_not_overlap() -> None:
    assert part_number(0, 999_999) < part_number(1, 0) < part_number(1, 1)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, None),
        ({}, None),
        ({"a": "b"}, None),
        ({"k" * 64: "v" * 512}, None),
        ([], "object"),
        ({str(number): "v" for number in range(17)}, "16"),
        ({"a": 1}, "text"),
        ({"k" * 65: "v"}, "64"),
        ({"k": "v" * 513}, "512"),
    ],
)
def test_metadata_is_few_short_texts(metadata: object, words: str | None) -> None:
    fault = metadata_fault(metadata)
    assert fault is None if words is None else words in (fault or "")


def test_a_file_is_shown_as_openais() -> None:
    shown = file_shown("file-1", FileRecord("mine.jsonl", "batch", 10, (1,)), 5.9, 100.1)
    assert shown == {
        "id": "file-1",
        "object": "file",
        "bytes": 10,
        "created_at": 5,
        "expires_at": 101,
        "filename": "mine.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }


def test_a_batch_shows_its_result_files_once_it_has_ended() -> None:
    running = replace(RECORD, output_size=5, total=2).at(Status.IN_PROGRESS, 2.5)
    shown = batch_shown("batch_1", running, 1.5)
    assert (shown["status"], shown["output_file_id"], shown["in_progress_at"]) == ("in_progress", None, 2)
    shown = batch_shown("batch_1", running.at(Status.COMPLETED, 9.0), 1.5)
    assert (shown["output_file_id"], shown["error_file_id"], shown["completed_at"]) == ("file-out", None, 9)


def test_what_is_wrong_with_a_file_is_shown_with_its_lines() -> None:
    failed = replace(RECORD, errors=(LineError("invalid_method", "No.", 3, "method"),)).at(Status.FAILED, 2.0)
    assert batch_shown("batch_1", failed, 1.5)["errors"] == {
        "object": "list",
        "data": [{"code": "invalid_method", "message": "No.", "param": "method", "line": 3}],
    }

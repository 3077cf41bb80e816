import gzip
import json
import re
from pathlib import Path

import pytest

from proxy.backtest.traces import Row, read_trace
from proxy.domain.errors import ConfigFault

CSV = (
    "offset_ms,model_class,client_id,prompt_tokens,completion_tokens\n283,m-small,39,1494,85\n10546,m-mid,103,284,17\n"
)


def written(tmp_path: Path, name: str, text: str) -> Path:
    file = tmp_path / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_a_csv_is_read_from_its_first_request_on(tmp_path: Path, name: str) -> None:
    assert list(read_trace(written(tmp_path, name, CSV))) == [
        Row(0.0, "gpt-4.1-nano", 1494, 85),
        Row(10.263, "gpt-4.1-mini", 284, 17),
    ]


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        ("offset_s,prompt_tokens,completion_tokens", "5,1,2", "7.5,1,2"),
        ("timestamp,input_tokens,output_tokens", "2030-01-31T06:00:00Z,1,2", "2030-01-31T07:00:02.5+01:00,1,2"),
        ("timestamp,input_tokens,output_tokens", "1900000000,1,2", "1900000002.5,1,2"),
    ],
)
def test_columns_go_by_several_names(tmp_path: Path, header: str, first: str, second: str) -> None:
    rows = list(read_trace(written(tmp_path, "t.csv", f"{header}\n{first}\n{second}\n")))
    assert [(row.at, row.prompt_tokens, row.completion_tokens) for row in rows] == [(0.0, 1, 2), (2.5, 1, 2)]
    assert {row.model for row in rows} == {"gpt-4.1-mini"}


def test_a_deadline_of_its_own_is_kept_and_an_empty_one_means_none(tmp_path: Path) -> None:
    text = "offset_s,prompt_tokens,completion_tokens,model,deadline_s\n0,1,2,gpt-4o,3600\n1,1,2,gpt-4o,\n"
    assert [row.within_seconds for row in read_trace(written(tmp_path, "t.csv", text))] == [3600.0, None]


def test_the_proxys_own_log_is_a_trace(tmp_path: Path) -> None:
    """Requests are logged when they end; when they came is in their id."""
    began = 1_900_000_000_000
    late = {
        "event": "request.finished",
        "timestamp": "2030-03-18T01:00:00.000+00:00",
        "request_id": f"req-{began:012x}{'0' * 20}",
        "model": "gpt-4o-mini",
        "deadline_at": "2030-03-17T21:46:40.000+00:00",
        "input_tokens": 10,
        "output_tokens": 20,
    }
    early = late | {"event": "call.finished", "request_id": f"req-{began + 5000:012x}{'0' * 20}", "deadline_at": None}
    lines = [{"event": "batch.cut", "lines": 3}, late, early, late | {"event": "request.accepted"}]
    text = "\n".join(json.dumps(line) for line in lines) + "\n\n"
    first, second = read_trace(written(tmp_path, "standby.jsonl", text))
    assert first == Row(0.0, "gpt-4o-mini", 10, 20, 14_400.0)
    assert second == Row(5.0, "gpt-4o-mini", 10, 20, None)


def test_requests_of_the_same_instant_and_size_may_differ_in_their_deadlines(tmp_path: Path) -> None:
    line = '{"offset_s": 5, "model": "m", "prompt_tokens": 1, "completion_tokens": 1%s}\n'
    file = tmp_path / "trace.jsonl"
    file.write_text("".join(line % deadline for deadline in ("", ', "deadline_s": 900', "", ', "deadline_s": 60')))
    assert [row.within_seconds for row in read_trace(file)] == [None, 900.0, None, 60.0]


def test_plain_json_lines_are_a_trace(tmp_path: Path) -> None:
    text = '{"offset_s": 1, "prompt_tokens": 5, "completion_tokens": 6, "model": "m-large", "deadline_s": 60}\n'
    assert list(read_trace(written(tmp_path, "t.jsonl", text))) == [Row(0.0, "gpt-4.1", 5, 6, 60.0)]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("t.csv", "", "t.csv:1: the trace is empty"),
        ("t.csv", "prompt_tokens,completion_tokens\n1,2\n", "t.csv:2: a row needs offset_ms, offset_s or timestamp"),
        ("t.csv", "offset_s,completion_tokens\n1,2\n", "t.csv:2: a row needs prompt_tokens or input_tokens"),
        ("t.csv", "offset_s,prompt_tokens,completion_tokens\n1,x,2\n", "t.csv:2: prompt_tokens: 'x' is no number"),
        ("t.csv", "offset_s,prompt_tokens,completion_tokens\n1,-1,2\n", "t.csv:2: prompt_tokens: -1 is out of range"),
        ("t.csv", "offset_s,prompt_tokens,completion_tokens\n9,1,2\n8,1,2\n", "t.csv:3: rows must be sorted by time"),
        ("t.csv", "timestamp,prompt_tokens,completion_tokens\nnoon,1,2\n", "t.csv:2: 'noon' is no time"),
        ("t.jsonl", "{}\nnonsense\n", "t.jsonl:1: a row needs offset_ms"),
        ("t.jsonl", "nonsense\n", "t.jsonl:1: this line is no JSON"),
        ("t.jsonl", "[]\n", "t.jsonl:1: this line is no JSON object"),
        ("t.parquet", "x", "a trace is a .csv or a .jsonl"),
        ("t.csv.gz", "", "t.csv.gz:1: the trace is empty"),
    ],
)
def test_a_mistake_names_file_and_line_and_what_would_be_right(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigFault, match=re.escape(told)):
        list(read_trace(written(tmp_path, name, text)))


def test_a_file_that_is_not_there_or_broken_is_a_clear_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=r"none\.csv cannot be read"):
        list(read_trace(tmp_path / "none.csv"))
    (tmp_path / "bad.csv.gz").write_bytes(gzip.compress(CSV.encode())[:-10])
    with pytest.raises(ConfigFault, match="cannot be read"):
        list(read_trace(tmp_path / "bad.csv.gz"))

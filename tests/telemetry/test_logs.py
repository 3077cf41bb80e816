import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, get_args

import pytest

from proxy.domain.events import (
    AnyEvent,
    BatchSettled,
    CallFinished,
    PolicyReloaded,
    ReloadRefused,
    RequestFinished,
    StepFailed,
    WasteBooked,
)
from proxy.domain.money import LedgerRow
from proxy.telemetry.logs import LINES, Logs, configure


class Samples(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    finished: RequestFinished
    call: CallFinished
    step_failed: StepFailed
    waste_booked: WasteBooked
    settled: BatchSettled
    reloaded: PolicyReloaded
    reload_refused: ReloadRefused
    row: LedgerRow

    @property
    def events(self) -> list[AnyEvent]: ...


@pytest.fixture(autouse=True)
def _standard_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged_json(*events: AnyEvent) -> list[dict[str, object]]:
    stream = io.StringIO()
    configure("debug", "json", stream)
    logs = Logs()
    for event in events:
        logs.listen(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_that_exists_has_a_line_of_its_own(samples: Samples) -> None:
    assert set(LINES) == set(get_args(AnyEvent))
    lines = logged_json(*samples.events)
    assert len(lines) == len(samples.events)
    assert len({str(line["event"]) for line in lines}) == len(lines)


def test_a_line_is_plain_json_with_the_instant_of_its_event(samples: Samples) -> None:
    assert logged_json(samples.finished) == [
        {
            "timestamp": "2026-09-21T15:13:20.000+00:00",
            "level": "debug",
            "event": "request.finished",
            "request_id": "req-00000000000000000000000000000001",
            "tenant": "acme",
            "upstream": "openai",
            "model": "gpt-5-mini",
            "endpoint": "/v1/chat/completions",
            "policy": "default",
            "tier": "batch",
            "outcome": "ok",
            "status": 200,
            "deadline_at": "2026-09-21T16:13:20.000+00:00",
            "batch_id": "bat-00000000000000000000000000000002",
            "kind": "primary",
            "row_id": "att-1",
            "paid_usd": "0.25",
            "list_usd": "0.5",
            "saved_usd": "0.25",
            "input_tokens": 100,
            "output_tokens": 20,
        }
    ]


def test_what_is_unknown_has_no_field(samples: Samples) -> None:
    (line,) = logged_json(replace(samples.finished, tier=None, row=None, batch_id=None, status=None))
    assert not {"tier", "paid_usd", "kind", "batch_id", "status"} & set(line)
    (waste,) = logged_json(WasteBooked(replace(samples.row, paid_usd=None, usage=None)))
    assert not {"paid_usd", "saved_usd", "input_tokens"} & set(waste)


def test_waste_tells_whose_purchase_it_was_and_what_it_cost(samples: Samples) -> None:
    (line,) = logged_json(samples.waste_booked)
    assert line["request_id"] == samples.row.request_id
    assert line["kind"] == "duplicate"
    assert line["paid_usd"] == "0.125"
    assert line["saved_usd"] == "-0.125"


def test_a_reload_says_in_words_what_has_changed(samples: Samples) -> None:
    (line,) = logged_json(samples.reloaded)
    assert (line["rules"], line["change"]) == (4, "added nightly; removed chat; default deadline, tiers")


def test_events_below_the_level_are_not_written(samples: Samples) -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logs = Logs()
    for event in (samples.finished, samples.settled, samples.reload_refused):
        logs.listen(event)
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == ["info", "error"]


def test_a_line_break_in_an_error_stays_inside_its_line(samples: Samples) -> None:
    event = replace(samples.step_failed, error="first\nsecond")
    assert logged_json(event)[0]["error"] == "first\nsecond"
    stream = io.StringIO()
    configure("info", "console", stream)
    Logs().listen(event)
    assert stream.getvalue().count("\n") == 1


def test_a_console_line_names_level_event_and_fields_without_colors_into_a_file(samples: Samples) -> None:
    stream = io.StringIO()
    configure("debug", "console", stream)
    Logs().listen(samples.finished)
    text = stream.getvalue()
    assert "debug" in text
    assert "request.finished" in text
    assert "request_id=req-00000000000000000000000000000001" in text
    assert "saved_usd=0.25" in text
    assert "\x1b[" not in text


def test_the_standard_librarys_logging_comes_out_in_the_same_shape() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    logging.getLogger("aiohttp.server").warning("a strange request from %s", "somewhere")
    logging.getLogger("aiohttp.server").debug("not wanted")
    (line,) = [json.loads(each) for each in stream.getvalue().splitlines()]
    assert line["event"] == "a strange request from somewhere"
    assert line["level"] == "warning"
    assert line["logger"] == "aiohttp.server"
    assert "timestamp" in line


@pytest.mark.parametrize("line_format", ["console", "json"])
def test_a_traceback_is_printed_without_the_values_of_variables(line_format: str) -> None:
    stream = io.StringIO()
    configure("info", "console" if line_format == "console" else "json", stream)

    def fail() -> None:
        key = "-".join(("sk", "secret"))
        raise ValueError(len(key))

    try:
        fail()
    except ValueError:
        logging.getLogger("anything").exception("it failed")
    text = stream.getvalue()
    assert "ValueError: 9" in text
    assert "it failed" in text
    assert "sk-secret" not in text


def test_configuring_again_replaces_the_stream() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", first)
    configure("info", "json", second)
    logging.getLogger("x").warning("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1

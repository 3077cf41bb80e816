"""Reading recorded workloads: CSV and JSON lines, plain or gzipped, and the proxy's own log.

A row is one request. Its columns, by any of their names:

| what | names |
| --- | --- |
| when | `offset_ms`, `offset_s` (from the trace's first request), `timestamp` (RFC 3339 or unix seconds) |
| tokens in | `prompt_tokens`, `input_tokens` |
| tokens out | `completion_tokens`, `output_tokens` |
| model, may be missing | `model`, `model_class` |
| seconds until its deadline, may be missing or empty | `deadline_s` |

The proxy's own log (`logging: {level: debug, format: json}`) is JSON lines: of those, the finished requests are read,
and every other line is passed over. Rows must be sorted by time; a log's may be out of order by an hour, because a
request is logged when it ends.
"""

import csv
import gzip
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proxy.domain.errors import ConfigFault, Place

DEFAULT_MODEL = "gpt-4.1-mini"
"""What a trace without models is priced as."""
MODEL_CLASSES = {
    "m-small": "gpt-4.1-nano",
    "m-mid": "gpt-4.1-mini",
    "m-large": "gpt-4.1",
    "deepseek-r1": "o4-mini",
}
"""Stand-ins with a price, for traces (ServeGen's) that name only classes of models."""
FINISHED = frozenset({"request.finished", "call.finished"})
"""The log lines that are requests."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded request. `at` is seconds since the trace began; `within_seconds` None: the trace does not say."""

    at: float
    model: str
    prompt_tokens: int
    completion_tokens: int
    within_seconds: float | None = None


def read_trace(file: Path) -> Iterator[Row]:
    """The rows of a trace, as a stream. Raises `ConfigFault` that names file, line and what would be right."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            name = file.name.removesuffix(".gz")
            if name.endswith((".jsonl", ".ndjson", ".log")):
                yield from _sorted(_from_log(file, lines))
            elif name.endswith(".csv"):
                yield from _in_order(file, _from_csv(file, lines))
            else:
                raise ConfigFault(f"{file}: a trace is a .csv or a .jsonl, plain or with .gz behind it")
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigFault(f"the trace {file} cannot be read: {error}") from error


def _from_csv(file: Path, lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(lines)
    if not reader.fieldnames:
        raise ConfigFault("the trace is empty; its first line must name the columns", Place(str(file), 1))
    first_at: float | None = None
    for fields in reader:
        place = Place(str(file), reader.line_num)
        at = _instant(fields, place)
        first_at = at if first_at is None else first_at
        yield reader.line_num, _row(fields, at - first_at, place)


def _from_log(file: Path, lines: Iterable[str]) -> Iterator[Row]:
    first_at: float | None = None
    for number, line in enumerate(lines, start=1):
        place = Place(str(file), number)
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ConfigFault(f"this line is no JSON: {error}", place) from error
        if not isinstance(fields, dict):
            raise ConfigFault("this line is no JSON object", place)
        if "event" in fields and (fields["event"] not in FINISHED or "input_tokens" not in fields):
            continue
        began_at = _began(fields, place)
        first_at = began_at if first_at is None else first_at
        deadline = fields.get("deadline_at")
        if isinstance(deadline, str):
            fields["deadline_s"] = _unix(deadline, place) - began_at
        yield _row(fields, max(0.0, began_at - first_at), place)


def _began(fields: Mapping[str, object], place: Place) -> float:
    """When the request came: in our own log that is in its time-ordered id, whose line was written when it ended."""
    name = fields.get("request_id")
    if isinstance(name, str) and name.startswith("req-"):
        try:
            return int(name[4:16], 16) / 1000
        except ValueError:
            pass
    return _instant(fields, place)


def _sorted(rows: Iterator[Row], window: int = 100_000) -> Iterator[Row]:
    """Rows in order, if none is further from its place than the window. Those of the same instant stay as they come."""
    heap: list[tuple[float, int, Row]] = []
    for number, row in enumerate(rows):
        if len(heap) < window:
            heapq.heappush(heap, (row.at, number, row))
        else:
            yield heapq.heappushpop(heap, (row.at, number, row))[2]
    while heap:
        yield heapq.heappop(heap)[2]


def _in_order(file: Path, rows: Iterator[tuple[int, Row]]) -> Iterator[Row]:
    last_at = 0.0
    for number, row in rows:
        if row.at < last_at:
            raise ConfigFault(
                "rows must be sorted by time; this one is earlier than the last", Place(str(file), number)
            )
        last_at = row.at
        yield row


def _row(fields: Mapping[str, object], at: float, place: Place) -> Row:
    model = _first(fields, "model", "model_class")
    name = DEFAULT_MODEL if model in (None, "") else str(model)
    deadline = fields.get("deadline_s")
    within = None if deadline in (None, "") else _number(deadline, "deadline_s", place)
    return Row(
        at=at,
        model=MODEL_CLASSES.get(name, name),
        prompt_tokens=_tokens(fields, place, "prompt_tokens", "input_tokens"),
        completion_tokens=_tokens(fields, place, "completion_tokens", "output_tokens"),
        within_seconds=within,
    )


def _instant(fields: Mapping[str, object], place: Place) -> float:
    if (offset := fields.get("offset_ms")) is not None:
        return _number(offset, "offset_ms", place) / 1000
    if (offset := fields.get("offset_s")) is not None:
        return _number(offset, "offset_s", place)
    stamp = fields.get("timestamp")
    if stamp is None:
        raise ConfigFault("a row needs offset_ms, offset_s or timestamp", place)
    return _unix(str(stamp), place)


def _unix(stamp: str, place: Place) -> float:
    try:
        return float(stamp)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError as error:
        raise ConfigFault(f"{stamp!r} is no time; write 2030-01-31T06:00:00Z or unix seconds", place) from error


def _tokens(fields: Mapping[str, object], place: Place, *names: str) -> int:
    value = _first(fields, *names)
    if value is None:
        raise ConfigFault(f"a row needs {' or '.join(names)}", place)
    return int(_number(value, names[0], place))


def _number(value: object, name: str, place: Place) -> float:
    try:
        number = float(str(value))
    except ValueError as error:
        raise ConfigFault(f"{name}: {value!r} is no number", place) from error
    if not 0 <= number < 1e12:  # noqa: PLR2004  more than any trace can mean
        raise ConfigFault(f"{name}: {value} is out of range", place)
    return number


def _first(fields: Mapping[str, object], *names: str) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)

"""Reading a batch's input file: what fails the whole file, and the order in which its lines will finish.

Runs in a thread, on nothing but the file and the rules. Memory holds a few numbers per line, never the lines.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.emulator.catalog import EMBEDDINGS, ENDPOINTS, Catalog
from proxy.emulator.chance import seeded
from proxy.emulator.errors import ApiError
from proxy.emulator.faults import LINE_OPERATION, Fault, FaultKind, Faults
from proxy.emulator.settings import Settings
from proxy.emulator.shape import JsonObject, as_object, as_text, parse
from proxy.emulator.tokens import inputs_of, prompt_tokens
from proxy.emulator.validation import check, model_of

BOM = b"\xef\xbb\xbf"
PROBLEMS_MAX = 100
"""After so many problems the rest of the file is not read."""
FIELDS = ("custom_id", "method", "url", "body")
REFUSED_IN_LINES = ("stream", "stream_options", "service_tier")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file fails. `line` is 1-based; None: the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def shown(self) -> JsonObject:
        """Return one entry of a batch's `errors.data`."""
        return {"code": self.code, "message": self.message, "param": self.param, "line": self.line}


@dataclass(slots=True)
class Plan:
    """A file that was read: where its lines are and in which order they finish, or why it fails."""

    problems: list[Problem] = field(default_factory=list)
    model: str = ""
    tokens: int = 0
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    """Where the lines start in the file, in the order in which they finish."""
    failing: "array[int]" = field(default_factory=lambda: array("L"))
    """How many of the first n + 1 lines to finish fail."""
    injected: Mapping[int, Fault] = field(default_factory=dict)
    """Offset of a line -> the injected fault that fails it."""

    @property
    def total(self) -> int:
        """Return how many lines there are."""
        return len(self.offsets)

    def failed_among(self, finished: int) -> int:
        """Return how many of the first lines to finish fail."""
        return self.failing[finished - 1] if finished else 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a file is read against."""

    settings: Settings
    catalog: Catalog
    faults: Faults
    endpoint: str
    batch_id: str


class Reader:
    """Reads one file from start to end, collecting problems."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._plan = Plan()
        self._custom_ids: set[str] = set()
        self._offsets: list[int] = []
        self._fails: list[bool] = []
        self._injected: dict[int, Fault] = {}
        self._inputs = 0

    def read(self, path: Path) -> Plan:
        """Return the plan for the file at this path."""
        settings = self._rules.settings
        if path.stat().st_size > settings.batch_bytes_max:
            return Plan([Problem("file_too_large", f"The file exceeds {settings.batch_bytes_max} bytes.")])
        for number, offset, raw in _raw_lines(path):
            if number > settings.batch_lines_max:
                return Plan([Problem("too_many_tasks", f"The file exceeds {settings.batch_lines_max} requests.")])
            problem = self._line(number, offset, raw)
            if problem is not None:
                self._plan.problems.append(problem)
            if len(self._plan.problems) >= PROBLEMS_MAX:
                break
        if not self._offsets and not self._plan.problems:
            return Plan([Problem("empty_file", "The input file is empty.")])
        if self._inputs > settings.embedding_inputs_max:
            message = f"The file exceeds {settings.embedding_inputs_max} embedding inputs."
            return Plan([Problem("too_many_tasks", message)])
        return self._finished()

    def _finished(self) -> Plan:
        """Shuffle: lines finish, and are written, in an order of their own."""
        order = list(range(len(self._offsets)))
        seeded("order", self._rules.batch_id).shuffle(order)
        failed = 0
        for index in order:
            failed += self._fails[index]
            self._plan.offsets.append(self._offsets[index])
            self._plan.failing.append(failed)
        self._plan.injected = self._injected
        return self._plan

    def _line(self, number: int, offset: int, raw: bytes) -> Problem | None:
        if number == 1 and raw.startswith(BOM):
            return Problem("invalid_json_line", "The file starts with a byte order mark.", number)
        try:
            line = parse(raw)
        except ValueError:
            return Problem("invalid_json_line", "This line is not parseable as valid JSON.", number)
        if not isinstance(line, dict):
            return Problem("invalid_json_line", "This line is not a JSON object.", number)
        problem = self._envelope(number, line) or self._body(number, as_object(line["body"]))
        if problem is None:
            problem = self._accept(number, offset, raw, as_object(line["body"]))
        return problem

    def _envelope(self, number: int, line: JsonObject) -> Problem | None:
        for name in FIELDS:
            if line.get(name) is None:
                return Problem("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
        unknown = next((name for name in line if name not in FIELDS), None)
        if unknown is not None:
            return Problem("unknown_parameter", f"Unknown parameter: '{unknown}'.", number, unknown)
        custom_id, url = line["custom_id"], line["url"]
        if not isinstance(custom_id, str) or not custom_id:
            return Problem("invalid_type", "'custom_id' must be a string that is not empty.", number, "custom_id")
        if custom_id in self._custom_ids:
            message = f"The custom_id '{custom_id}' was already used in this file."
            return Problem("duplicate_custom_id", message, number, "custom_id")
        self._custom_ids.add(custom_id)
        if line["method"] != "POST":
            return Problem("invalid_method", "'method' must be 'POST'.", number, "method")
        if url != self._rules.endpoint:
            code = "url_mismatch" if url in ENDPOINTS else "invalid_url"
            return Problem(code, f"The url does not match the batch's endpoint {self._rules.endpoint}.", number, "url")
        if not isinstance(line["body"], dict):
            return Problem("invalid_type", "'body' must be an object.", number, "body")
        return None

    def _body(self, number: int, body: JsonObject) -> Problem | None:
        model = model_of(self._rules.endpoint, body)
        if not model:
            return Problem("missing_required_parameter", "Missing required parameter: 'model'.", number, "body.model")
        for name in REFUSED_IN_LINES:
            if body.get(name) not in (None, False):
                message = f"'{name}' is not supported in batches."
                return Problem("invalid_request", message, number, f"body.{name}")
        if not self._plan.model:
            self._plan.model = model
        if model != self._plan.model:
            message = f"The model '{model}' differs from '{self._plan.model}': a batch has one model."
            return Problem("model_mismatch", message, number, "body.model")
        catalog = self._rules.catalog
        if not catalog.exists(model) or not catalog.batchable(model):
            message = f"The provided model '{model}' is not supported by the Batch API."
            return Problem("model_not_found", message, number, "body.model")
        return None

    def _accept(self, number: int, offset: int, raw: bytes, body: JsonObject) -> Problem | None:
        endpoint = self._rules.endpoint
        fault = self._rules.faults.draw(LINE_OPERATION, raw)
        if fault is not None and fault.kind is FaultKind.INVALID:
            return Problem("invalid_request", "This line was refused.", number, "body")
        if fault is not None:
            self._injected[offset] = fault
        self._offsets.append(offset)
        self._fails.append(fault is not None or not is_right(endpoint, body, self._rules.catalog))
        self._plan.tokens += prompt_tokens(endpoint, body)
        if endpoint == EMBEDDINGS:
            self._inputs += len(inputs_of(endpoint, body))
        return None


def is_right(endpoint: str, body: JsonObject, catalog: Catalog) -> bool:
    """Say whether a line's body will pass the checks of the synchronous route."""
    try:
        check(endpoint, body, catalog)
    except ApiError:
        return False
    return True


def read_at(path: Path, offsets: Iterable[int]) -> Iterator[tuple[int, str, JsonObject]]:
    """Yield (offset, custom_id, body) of the lines that start at these offsets."""
    with path.open("rb") as handle:
        for offset in offsets:
            handle.seek(offset)
            line = as_object(parse(handle.readline()))
            yield offset, as_text(line["custom_id"]), as_object(line["body"])


def _raw_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, start=1):
            yield number, offset, raw
            offset += len(raw)

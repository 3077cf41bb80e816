"""Faults on demand: a small declarative list of what shall go wrong, how often, and for what.

A fault names an operation (the route's name, or `batch` for a batch's fate, or `line` for single lines of batches),
a kind, and a count or a probability. Nothing goes wrong unless it is asked for.
"""

import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from proxy.emulator.chance import seeded
from proxy.emulator.shape import JsonObject

LINE_OPERATION = "line"
BATCH_OPERATION = "batch"
OPERATIONS = frozenset(
    {
        *("chat", "responses", "embeddings", "completions", "moderations", "list_models", "get_model"),
        *("upload_file", "list_files", "get_file", "download", "delete_file"),
        *("create_batch", "list_batches", "get_batch", "cancel_batch", BATCH_OPERATION, LINE_OPERATION),
    }
)


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """Do nothing and answer `status`, with `retry-after` if `seconds` is set; for `line`: the line fails with it, and
    with 0 it has a status code of 0 and no body."""
    NO_RESPONSE = "no_response"
    """Line: it fails with an `error` and without a `response`."""
    INVALID = "invalid"
    """Line: validation refuses it, and its file with it."""
    DROP_BEFORE = "drop_before"
    """Close the connection before anything is done."""
    DROP_AFTER = "drop_after"
    """Do it, then close the connection instead of answering."""
    DELAY = "delay"
    """Wait `seconds`, then go on as usual."""
    TRUNCATE = "truncate"
    """Do it, send half of the answer, then close the connection."""
    TRICKLE = "trickle"
    """Do it, and send the answer bit by bit: all of it takes `seconds`."""
    HIDDEN = "hidden"
    """Batch: 404 and not in the list for `seconds` after create."""
    LATE_OUTPUT = "late_output"
    """Batch: completed, but its file ids are null for `seconds` more."""
    ZERO_BYTE_ERROR_FILE = "zero_byte_error_file"
    """Batch: without failed lines there is an error file all the same, of zero bytes."""
    EMPTY_ERROR_FILE_ID = "empty_error_file_id"
    """Batch: without failed lines `error_file_id` is an empty string instead of null."""
    MISSING_LINES = "missing_lines"
    """Batch: `lines` of the billed lines are in neither file."""
    DUPLICATED_LINES = "duplicated_lines"
    """Batch: `lines` of the output lines appear twice."""
    UNKNOWN_LINES = "unknown_lines"
    """Batch: `lines` more output lines with a custom_id that nobody sent."""
    STUCK = "stuck"
    """Batch: never leaves `state` by itself (validating, in_progress or finalizing)."""


BATCH_KINDS = frozenset(
    {
        *(FaultKind.HIDDEN, FaultKind.LATE_OUTPUT, FaultKind.EMPTY_ERROR_FILE_ID, FaultKind.MISSING_LINES),
        *(FaultKind.DUPLICATED_LINES, FaultKind.UNKNOWN_LINES, FaultKind.STUCK, FaultKind.ZERO_BYTE_ERROR_FILE),
    }
)
LINE_KINDS = frozenset({FaultKind.STATUS, FaultKind.NO_RESPONSE, FaultKind.INVALID})
CALL_KINDS = frozenset(FaultKind) - BATCH_KINDS - {FaultKind.NO_RESPONSE, FaultKind.INVALID}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that shall go wrong. It is used up after `count` times; None never is. Seconds are provider seconds."""

    operation: str
    kind: FaultKind
    count: int | None = 1
    probability: float = 1.0
    marker: str = ""
    """Only for calls and lines whose body contains this text."""
    status: int = 500
    seconds: float = 0.0
    lines: int = 1
    state: str = "in_progress"

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise ValueError(f"operation {self.operation!r}: one of {', '.join(sorted(OPERATIONS))}")
        if self.kind not in self._kinds():
            raise ValueError(f"kind {self.kind!r} does not apply to operation {self.operation!r}")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError("probability: a number from 0 to 1")
        if self.count is not None and self.count < 1:
            raise ValueError("count: a positive integer, or null for without end")
        if self.state not in ("validating", "in_progress", "finalizing"):
            raise ValueError("state: validating, in_progress or finalizing")

    def _kinds(self) -> frozenset[FaultKind]:
        if self.operation == BATCH_OPERATION:
            return BATCH_KINDS
        return LINE_KINDS if self.operation == LINE_OPERATION else CALL_KINDS


def fault_from(described: object) -> Fault:
    """Read a fault from JSON. Raises ValueError that says what would be right."""
    if not isinstance(described, dict):
        raise ValueError("a fault is an object with at least operation and kind")  # noqa: TRY004 - one error type
    unknown = set(described) - {field.name for field in fields(Fault)}
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    try:
        return Fault(**{**described, "kind": FaultKind(described.get("kind", ""))})
    except TypeError as error:
        raise ValueError(str(error)) from error


class Faults:
    """The list in force. Drawing is thread-safe, because batch lines are read in threads."""

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._random = seeded("faults", seed)
        self._lock = threading.Lock()
        self._left: list[tuple[Fault, int | None]] = [(fault, fault.count) for fault in faults]

    def add(self, *faults: Fault) -> None:
        """Add faults behind those already there."""
        with self._lock:
            self._left += [(fault, fault.count) for fault in faults]

    def clear(self) -> None:
        """Forget them all: from now on nothing goes wrong."""
        with self._lock:
            self._left.clear()

    def listed(self) -> list[JsonObject]:
        """List the faults that are not used up, with what is left of each count."""
        return [{**asdict(fault), "count": left} for fault, left in self._left]

    def wants_body(self, operation: str) -> bool:
        """Say whether drawing for this operation needs the request's body."""
        return any(fault.operation == operation and fault.marker for fault, _ in self._left)

    def draw(self, operation: str, body: bytes = b"") -> Fault | None:
        """Draw the first fault that applies now, and use it up by one."""
        with self._lock:
            for position, (fault, left) in enumerate(self._left):
                if fault.operation == operation and self._strikes(fault, body):
                    self._use(position, left)
                    return fault
        return None

    def draw_all(self, operation: str) -> tuple[Fault, ...]:
        """Draw every fault that applies now, each used up by one: a batch may have several."""
        with self._lock:
            struck = [entry for entry in self._left if entry[0].operation == operation and self._strikes(entry[0], b"")]
            for entry in struck:
                self._use(self._left.index(entry), entry[1])
        return tuple(fault for fault, _ in struck)

    def _strikes(self, fault: Fault, body: bytes) -> bool:
        if fault.marker and fault.marker.encode() not in body:
            return False
        return fault.probability >= 1.0 or self._random.random() < fault.probability

    def _use(self, position: int, left: int | None) -> None:
        fault = self._left[position][0]
        if left == 1:
            del self._left[position]
        elif left is not None:
            self._left[position] = (fault, left - 1)

"""Virtual batches as bytes: the lines that go in and come out, and files and batches as OpenAI's clients know them.

What is kept of a file or a batch is a record; the store knows its id, its tenant and when it was made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from proxy.wire.body import BYTE_ORDER_MARK

SUFFIX = ".jsonl"
ERRORS_MAX = 100
"""More complaints about one file help nobody."""
METADATA_PAIRS_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 16, 64, 512
PARTS_MAX = 1_000_000
"""Of one volume."""
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Status(StrEnum):
    """Where a batch is, in OpenAI's words."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED})


class FileRecord(msgspec.Struct, frozen=True):
    """What is kept of a file. `volumes` says of how many parts each of its volumes is; `size` is in bytes."""

    name: str
    purpose: str
    size: int
    volumes: tuple[int, ...]


class LineError(msgspec.Struct, frozen=True):
    """Why a file cannot be run. `line` counts from 1; None when it is not about one line."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchRecord(msgspec.Struct, frozen=True):
    """What is kept of a batch.

    `key` and `credential` are who made it and with what it is bought: the proxy key's name, and the id of the client's
    own credential, None where the upstream's configured one buys. `lines` counts the input file's, blank ones too, and
    `total` the requests in it. `done` marks the lines whose results are in the output and error files. Those have a
    volume for everybody who has run the batch, so that one who was paused overwrites nobody's; the volumes are of so
    many parts. `expired`: its time was over before all lines were done. `reached` has the instant at which it came into
    each status. Token counts are sums over the answered lines.
    """

    endpoint: str
    input_file_id: str
    window: str
    expires_at: float
    output_file_id: str
    error_file_id: str
    key: str = ""
    credential: str | None = None
    metadata: dict[str, str] | None = None
    status: Status = Status.VALIDATING
    expired: bool = False
    model: str | None = None
    lines: int = 0
    total: int = 0
    completed: int = 0
    failed: int = 0
    done: bytes = b""
    output_volumes: tuple[int, ...] = ()
    output_size: int = 0
    error_volumes: tuple[int, ...] = ()
    error_size: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    errors: tuple[LineError, ...] = ()
    reached: dict[str, float] = {}

    def at(self, status: Status, now: float) -> "BatchRecord":
        """The record once the batch has come into a status."""
        return msgspec.structs.replace(self, status=status, reached=self.reached | {status.value: now})


class Marks:
    """Which lines are done, a bit for each. Numbers count from 1."""

    def __init__(self, marked: bytes, lines: int) -> None:
        self._bits = bytearray(marked.ljust(lines // 8 + 1, b"\0"))

    def __contains__(self, number: int) -> bool:
        return bool(self._bits[number >> 3] & 1 << (number & 7))

    def __bytes__(self) -> bytes:
        return bytes(self._bits)

    def add(self, number: int) -> None:
        self._bits[number >> 3] |= 1 << (number & 7)


def part_number(volume: int, part: int) -> int:
    """Where the store has a part of a volume."""
    return volume * PARTS_MAX + part


@dataclass(frozen=True, slots=True)
class InputLine:
    """One line of an input file. `body` is the request's, in its own bytes; `number` counts from 1."""

    number: int
    custom_id: str
    model: str
    body: bytes


class _Input(msgspec.Struct):
    custom_id: object = None
    method: object = None
    url: object = None
    body: msgspec.Raw = msgspec.Raw()


class _Model(msgspec.Struct):
    model: object = None


_decode_input = msgspec.json.Decoder(_Input).decode
_decode_model = msgspec.json.Decoder(_Model).decode


def read_line(content: bytes, number: int, endpoint: str) -> InputLine | LineError | None:
    """Read one line of an input file; None for a blank one. Never raises."""
    content = content.removeprefix(BYTE_ORDER_MARK) if number == 1 else content
    if not content or content.isspace():
        return None
    try:
        line = _decode_input(content)
        model = _decode_model(line.body).model if line.body else None
    except _UNREADABLE:
        return LineError("invalid_json_line", "This line is not parseable as valid JSON.", number)
    if not isinstance(line.custom_id, str) or not line.custom_id:
        return LineError("missing_required_parameter", "Missing required parameter: 'custom_id'.", number, "custom_id")
    if line.method != "POST":
        return LineError("invalid_method", "The 'method' of a line must be POST.", number, "method")
    if line.url != endpoint:
        message = f"The URL provided for this request does not match the batch endpoint, {endpoint}."
        return LineError("mismatched_endpoint", message, number, "url")
    if not isinstance(model, str) or not model:
        return LineError(
            "missing_required_parameter", "Missing required parameter: 'body.model'.", number, "body.model"
        )
    return InputLine(number, line.custom_id, model, bytes(line.body))


def answered_line(line_id: str, custom_id: str, status: int, request_id: str, body: bytes) -> bytes:
    """A result line with upstream's answer, whatever its status; a body that is no JSON becomes a string."""
    try:
        shown: object = msgspec.Raw(msgspec.json.format(body, indent=-1))
    except _UNREADABLE:
        shown = body.decode("utf-8", "replace")
    response = {"status_code": status, "request_id": request_id, "body": shown}
    return _line(line_id, custom_id, response, None)


def unanswered_line(line_id: str, custom_id: str, code: str, message: str) -> bytes:
    """A result line for a request that has no answer."""
    return _line(line_id, custom_id, None, {"code": code, "message": message})


def _line(line_id: str, custom_id: str, response: object, error: object) -> bytes:
    fields = {"id": line_id, "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(fields) + b"\n"


def metadata_fault(metadata: object) -> str | None:
    """What is wrong with a batch's metadata; None when nothing is."""
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping) or len(metadata) > METADATA_PAIRS_MAX:
        return f"metadata must be an object of at most {METADATA_PAIRS_MAX} pairs."
    for name, value in metadata.items():
        if not isinstance(value, str) or len(name) > METADATA_KEY_MAX or len(value) > METADATA_VALUE_MAX:
            return (
                f"metadata: keys have at most {METADATA_KEY_MAX} characters, values are text of {METADATA_VALUE_MAX}."
            )
    return None


def file_shown(file_id: str, record: FileRecord, created_at: float, expires_at: float) -> dict[str, object]:
    """OpenAI's file object."""
    return {
        "id": file_id,
        "object": "file",
        "bytes": record.size,
        "created_at": int(created_at),
        "expires_at": math.ceil(expires_at),
        "filename": record.name,
        "purpose": record.purpose,
        "status": "processed",
        "status_details": None,
    }


def batch_shown(batch_id: str, record: BatchRecord, created_at: float) -> dict[str, object]:
    """OpenAI's batch object."""
    has_ended = record.status in ENDED
    errors = [
        {"code": error.code, "message": error.message, "param": error.param, "line": error.line}
        for error in record.errors
    ]
    return {
        "id": batch_id,
        "object": "batch",
        "endpoint": record.endpoint,
        "model": record.model,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": record.input_file_id,
        "completion_window": record.window,
        "status": record.status.value,
        "output_file_id": record.output_file_id if has_ended and record.output_size else None,
        "error_file_id": record.error_file_id if has_ended and record.error_size else None,
        "created_at": int(created_at),
        "in_progress_at": _reached(record, Status.IN_PROGRESS),
        "expires_at": int(record.expires_at),
        "finalizing_at": _reached(record, Status.FINALIZING),
        "completed_at": _reached(record, Status.COMPLETED),
        "failed_at": _reached(record, Status.FAILED),
        "expired_at": _reached(record, Status.EXPIRED),
        "cancelling_at": _reached(record, Status.CANCELLING),
        "cancelled_at": _reached(record, Status.CANCELLED),
        "request_counts": {"total": record.total, "completed": record.completed, "failed": record.failed},
        "usage": {
            "input_tokens": record.input_tokens,
            "input_tokens_details": {"cached_tokens": record.cached_tokens},
            "output_tokens": record.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": record.input_tokens + record.output_tokens,
        },
        "metadata": record.metadata,
    }


def _reached(record: BatchRecord, status: Status) -> int | None:
    at = record.reached.get(status.value)
    return None if at is None else int(at)

"""Reading an input file through before any of its lines is bought: one bad line fails the file, as at OpenAI."""

from dataclasses import dataclass
from hashlib import blake2b

from proxy.domain.errors import ClientFault
from proxy.server.house import House
from proxy.server.virtual_files import FILE, file_of, lines_of
from proxy.wire.virtual import ERRORS_MAX, BatchRecord, InputLine, LineError, read_line

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file holds. `model` is None where its lines name several. Only `lines` counts blank ones."""

    lines: int
    total: int
    model: str | None
    errors: tuple[LineError, ...]


async def check(house: House, record: BatchRecord) -> Checked:
    """Read a batch's input file through. Raises `StoreFault`."""
    limits, errors = house.virtual, list[LineError]()
    seen: set[bytes] = set()
    models: set[str] = set()
    lines = 0
    document = await house.store.shelf.get(FILE, record.input_file_id)
    if document is None:
        return Checked(0, 0, None, (_gone(record),))
    content = lines_of(house.store.shelf, document.id, file_of(document), limits.line_max_bytes)
    try:
        async for number, line in content:
            lines = number
            found = _read(line, number, record.endpoint, limits.line_max_bytes, seen)
            if isinstance(found, LineError):
                errors.append(found)
            elif found is not None:
                models.add(found.model)
            if len(seen) > limits.lines_max:
                message = f"The file has more lines than the limit of {limits.lines_max}."
                errors = [LineError("too_many_tasks", message)]
            if len(errors) >= ERRORS_MAX or len(seen) > limits.lines_max:
                break
    except ClientFault:
        errors = [_gone(record)]
    if not seen and not errors:
        errors = [LineError("empty_file", "The file has no lines.")]
    return Checked(lines, len(seen), models.pop() if len(models) == 1 else None, tuple(errors))


def _read(
    line: bytes | None, number: int, endpoint: str, line_max_bytes: int, seen: set[bytes]
) -> InputLine | LineError | None:
    if line is None:
        return LineError("line_too_long", f"This line is longer than the limit of {line_max_bytes} bytes.", number)
    found = read_line(line, number, endpoint)
    if not isinstance(found, InputLine):
        return found
    digest = blake2b(found.custom_id.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
    if digest in seen:
        message = "The custom_id of this line is that of an earlier one."
        return LineError("duplicate_custom_id", message, number, "custom_id")
    seen.add(digest)
    return found


def _gone(record: BatchRecord) -> LineError:
    return LineError("file_not_found", f"The file {record.input_file_id} is not there any more.", param="input_file_id")

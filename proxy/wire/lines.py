"""The lines of a batch: what may go in, how it is written, and how results are read back."""

from dataclasses import dataclass

import msgspec

from proxy.domain.errors import ClientFault
from proxy.wire.body import BYTE_ORDER_MARK, not_json, top_level_fields, without_own_metadata

BATCH_ENDPOINTS = frozenset(
    {
        "/v1/responses",
        "/v1/chat/completions",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/moderations",
        "/v1/images/generations",
    }
)
"""The endpoints that OpenAI's batches take as JSON."""
STRIPPED = frozenset({"stream", "stream_options", "service_tier"})
"""Top-level fields that OpenAI's batches refuse."""
EMBEDDING_INPUTS_MAX = 50_000
_STATUSES = range(200, 600)
"""What a final HTTP status can be; providers have sent 0 for lines that they did not run."""
_NOTHING = (b"", b"null")


class LineFault(ValueError):
    """A line of a result file that is no result: garbage, or cut off."""


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line of an output or error file.

    `status` and `body` are upstream's answer to the line, the body's bytes as they are in the file; both are None
    where the line was not answered, and then `error_code` and `error_message` may say why.
    """

    custom_id: str
    status: int | None
    request_id: str | None
    body: bytes | None
    error_code: str | None
    error_message: str | None


class _Response(msgspec.Struct):
    """Lenient where nothing depends on it: a line that was paid for must not be lost over a detail's type."""

    status_code: int | None = None
    request_id: object = None
    body: msgspec.Raw = msgspec.Raw()


class _Result(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: object = None


_decode_result = msgspec.json.Decoder(_Result).decode


def line_body(body: bytes, *, refused: frozenset[str]) -> bytes:
    """The body as a line carries it: without the refused fields and our own metadata, on one line.

    Every value keeps its bytes, unless they hold a line break: then the white space around its tokens goes, and the
    tokens keep theirs. Raises `ClientFault` 400 for what is no JSON object.
    """
    fields = top_level_fields(without_own_metadata(body))
    kept = {name: _on_one_line(value) for name, value in fields.items() if name not in refused}
    return msgspec.json.encode(kept)


def validate(endpoint: str, body: bytes) -> None:
    """Refuse here, alone, what would fail a whole file there. Raises `ClientFault` 400.

    The whole body must be readable, and what its endpoint cannot do without must be there: everything else is the
    line's own answer.
    """
    fields = _fields(body)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise _missing("model", "a string, the model's name")
    match endpoint:
        case "/v1/chat/completions":
            _validate_messages(fields.get("messages"))
        case "/v1/embeddings":
            _validate_embedding_input(fields.get("input"))
        case "/v1/moderations":
            _validate_present(fields, "input", "a string or an array")
        case "/v1/completions" | "/v1/images/generations":
            _validate_present(fields, "prompt", "a string")
        case "/v1/responses":
            _validate_response(fields)
        case _:
            return


def encode_line(custom_id: str, endpoint: str, body: bytes) -> bytes:
    """One line of an input file, with its newline. `body` is a `line_body`; id and endpoint may be any text."""
    custom, url = msgspec.json.encode(custom_id), msgspec.json.encode(endpoint)
    return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (custom, url, body)


def decode_output_line(line: bytes) -> OutputLine | None:
    """Read a result line; None for a blank one. Raises `LineFault` for anything that is no result."""
    line = line.removeprefix(BYTE_ORDER_MARK)
    if not line or line.isspace():
        return None
    try:
        result = _decode_result(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LineFault(f"a result line cannot be read: {error}") from error
    error_code, error_message = _error(result.error)
    response = result.response
    body = b"" if response is None else bytes(response.body)
    if response is None or response.status_code not in _STATUSES or body in _NOTHING:
        return OutputLine(result.custom_id, None, None, None, error_code, error_message)
    request_id = response.request_id if isinstance(response.request_id, str) else None
    return OutputLine(result.custom_id, response.status_code, request_id, body, error_code, error_message)


def _error(error: object) -> tuple[str | None, str | None]:
    """Code and message, wherever they are words; an error that is a bare string is its own message."""
    if not isinstance(error, dict):
        return None, error if isinstance(error, str) else None
    code, message = error.get("code"), error.get("message")
    return (
        str(code) if isinstance(code, str | int) else None,
        message if isinstance(message, str) else None,
    )


def _on_one_line(value: msgspec.Raw) -> msgspec.Raw:
    raw = bytes(value)
    if b"\n" not in raw and b"\r" not in raw:
        return value
    return msgspec.Raw(msgspec.json.format(raw, indent=-1))


def _fields(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from error


def _missing(name: str, wanted: str) -> ClientFault:
    message = f"Missing or unusable required parameter: '{name}' must be {wanted}."
    return ClientFault(message, code="missing_required_parameter", param=name)


def _validate_present(fields: dict[str, object], name: str, wanted: str) -> None:
    value = fields.get(name)
    if not isinstance(value, str | list) or not value:
        raise _missing(name, f"{wanted}, not empty")


def _validate_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise _missing("messages", "an array of messages, not empty")
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ClientFault(
                f"Invalid 'messages[{position}]': every message must be an object with a role.",
                code="invalid_type",
                param=f"messages[{position}]",
            )


def _validate_embedding_input(value: object) -> None:
    if not isinstance(value, str | list) or not value:
        raise _missing("input", "a string or an array, not empty")
    if isinstance(value, list) and len(value) > EMBEDDING_INPUTS_MAX:
        raise ClientFault(
            f"A batch takes at most {EMBEDDING_INPUTS_MAX} embedding inputs; this call has {len(value)}.",
            code="too_many_inputs",
            param="input",
        )


def _validate_response(fields: dict[str, object]) -> None:
    given = any(fields.get(name) for name in ("input", "prompt", "previous_response_id", "conversation"))
    if not given:
        raise _missing("input", "a string or an array, not empty")
    if fields.get("background") is True:
        raise ClientFault(
            "A background response cannot be deferred: it is asynchronous already. Leave 'background' out.",
            code="unsupported_parameter",
            param="background",
        )

"""The lines of a batch: what may go in, how it is written, and how results are read back."""

from dataclasses import dataclass

import msgspec

from proxy.domain.errors import ClientFault
from proxy.wire.body import without_own_metadata

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
_BOM = b"\xef\xbb\xbf"
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


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
    status_code: int | None = None
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw()


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: str | None = None


class _Result(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_decode_result = msgspec.json.Decoder(_Result).decode


def line_body(body: bytes, *, refused: frozenset[str]) -> bytes:
    """The body as a line carries it: without the refused fields and our own metadata, on one line.

    Every value keeps its bytes, unless they hold a line break: then the value is written anew, compactly.
    """
    fields = _decode_fields(without_own_metadata(body))
    kept = {name: _on_one_line(value) for name, value in fields.items() if name not in refused}
    return msgspec.json.encode(kept)


def validate(endpoint: str, body: bytes) -> None:
    """Refuse here, alone, what would fail a whole file there. Raises `ClientFault` 400.

    Only what the provider checks before a batch starts is checked: everything else is the line's own answer.
    """
    if body.startswith(_BOM):
        raise ClientFault("The body must not begin with a byte order mark.", code="invalid_json")
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
    """One line of an input file, with its newline. `body` is a `line_body`."""
    return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (
        custom_id.encode(),
        endpoint.encode(),
        body,
    )


def decode_output_line(line: bytes) -> OutputLine | None:
    """Read a result line; None for a blank one. Raises `LineFault` for anything that is no result."""
    if not line.strip():
        return None
    try:
        result = _decode_result(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LineFault(f"a result line cannot be read: {error}") from error
    error_code = None if result.error is None or result.error.code is None else str(result.error.code)
    error_message = None if result.error is None else result.error.message
    response = result.response
    if response is None or not response.status_code:
        return OutputLine(result.custom_id, None, None, None, error_code, error_message)
    body = bytes(response.body) or None
    return OutputLine(result.custom_id, response.status_code, response.request_id, body, error_code, error_message)


def _on_one_line(value: msgspec.Raw) -> msgspec.Raw:
    raw = bytes(value)
    if b"\n" not in raw and b"\r" not in raw:
        return value
    return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(raw)))


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ClientFault(f"The body cannot go into a batch: {error}.", code="invalid_json") from error
    return fields


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

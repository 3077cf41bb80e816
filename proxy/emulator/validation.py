"""Whether a request is right, checked as strictly as the real provider does or more so. Raises `ApiError`."""

from collections.abc import Mapping

from proxy.emulator.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES, Catalog
from proxy.emulator.errors import bad_request
from proxy.emulator.kinds import ARGUMENTS, REQUIRED, Kind
from proxy.emulator.shape import JsonObject, as_int, as_list, as_object, as_text, named_type
from proxy.emulator.tokens import count, inputs_of, messages_of, output_limit, prompt_text, prompt_tokens

METADATA_PAIRS_MAX = 16
METADATA_KEY_MAX = 64
METADATA_VALUE_MAX = 512
EMBEDDING_INPUTS_MAX = 2048
EMBEDDING_TOKENS_MAX = 300_000
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
REASONING_MODELS = ("o1", "o3", "o4", "gpt-5")
MODERATION_DEFAULT = "omni-moderation-latest"


def model_of(endpoint: str, body: JsonObject) -> str:
    """Return the model that a request asks for; only moderations have a default."""
    return as_text(body.get("model")) or (MODERATION_DEFAULT if endpoint == MODERATIONS else "")


def check(endpoint: str, body: JsonObject, catalog: Catalog) -> None:
    """Refuse a request body that is not right for this endpoint."""
    _check_names(endpoint, body)
    for name in REQUIRED[endpoint]:
        if body.get(name) is None:
            raise _missing(name)
    for name, kind in ARGUMENTS[endpoint].items():
        if body.get(name) is not None:
            _check_value(name, body[name], kind)
    if body.get("metadata") is not None:
        check_metadata(as_object(body["metadata"]))
    catalog.require(model_of(endpoint, body), endpoint)
    _check_stream(body)
    match endpoint:
        case "/v1/chat/completions":
            _check_chat(body)
        case "/v1/responses":
            _check_responses(body)
        case "/v1/embeddings":
            _check_embeddings(body, catalog)
        case _:
            _check_inputs(endpoint, body)
    _check_lengths(endpoint, body, catalog)


def check_metadata(metadata: Mapping[str, object]) -> None:
    """Refuse metadata beyond 16 pairs, with keys over 64 or values over 512 characters, or not strings."""
    if len(metadata) > METADATA_PAIRS_MAX:
        message = f"Invalid 'metadata': too many properties. Expected an object with at most {METADATA_PAIRS_MAX}."
        raise bad_request(message, param="metadata", code="object_above_max_properties")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise _wrong_type(f"metadata.{name}", "a string", value)
        if len(name) > METADATA_KEY_MAX or len(value) > METADATA_VALUE_MAX:
            raise bad_request(f"Invalid 'metadata.{name}': string too long.", param="metadata", code="string_too_long")


def check_expiry(name: str, policy: object) -> int:
    """Read `{anchor: "created_at", seconds: 3600..2592000}` and return its seconds."""
    given = as_object(policy)
    seconds = as_int(given.get("seconds"))
    if given.get("anchor") != "created_at":
        raise bad_request(f"Invalid value for '{name}[anchor]': expected 'created_at'.", param=name)
    if seconds is None or not 3_600 <= seconds <= 2_592_000:  # noqa: PLR2004 - an hour and 30 days, OpenAI's limits
        raise bad_request(f"Invalid '{name}[seconds]': expected an integer from 3600 to 2592000.", param=name)
    return seconds


def _check_names(endpoint: str, body: JsonObject) -> None:
    unknown = [name for name in body if name not in ARGUMENTS[endpoint]]
    if not unknown:
        return
    if endpoint == RESPONSES:
        raise bad_request(f"Unknown parameter: '{unknown[0]}'.", param=unknown[0], code="unknown_parameter")
    plural = "s" if len(unknown) > 1 else ""
    raise bad_request(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")


def _check_value(name: str, value: object, kind: Kind) -> None:
    if not kind.fits(value):
        raise _wrong_type(name, kind.says, value)
    if not isinstance(value, int | float):
        return
    if kind.low is not None and value < kind.low:
        message = f"Invalid '{name}': expected a value >= {kind.low:g}, but got {value} instead."
        raise bad_request(message, param=name, code="below_min_value")
    if kind.high is not None and value > kind.high:
        message = f"Invalid '{name}': expected a value <= {kind.high:g}, but got {value} instead."
        raise bad_request(message, param=name, code="above_max_value")


def _check_stream(body: JsonObject) -> None:
    if body.get("stream_options") is not None and body.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise bad_request(message, param="stream_options")


def _check_chat(body: JsonObject) -> None:
    messages = as_list(body.get("messages"))
    if not messages:
        raise bad_request("Invalid 'messages': empty array.", param="messages", code="empty_array")
    after_tool_calls = False
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong_type(f"messages[{position}]", "an object", message)
        _check_message(message, f"messages[{position}]", after_tool_calls=after_tool_calls)
        after_tool_calls = bool(message.get("tool_calls")) or (after_tool_calls and message.get("role") == "tool")
    if body.get("logprobs"):
        raise bad_request("You are not allowed to request logprobs from this model.", param="logprobs")
    if "audio" in as_list(body.get("modalities")):
        raise bad_request("This model does not support the audio modality.", param="modalities")
    _check_output_limits(body)
    _check_tools(body, nested=True)
    _check_format(as_object(body.get("response_format")), "response_format", prompt_text(CHAT, body), nested=True)


def _check_message(message: JsonObject, where: str, *, after_tool_calls: bool) -> None:
    role = message.get("role")
    if role is None:
        raise _missing(f"{where}.role")
    if role not in ROLES:
        raise bad_request(f"Invalid value: '{role}'.", param=f"{where}.role", code="invalid_value")
    if role == "tool" and not after_tool_calls:
        message_text = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
        raise bad_request(f"Invalid parameter: {message_text}", param=where)
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise _missing(f"{where}.tool_call_id")
    content = message.get("content")
    if content is None and role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
        return
    if not isinstance(content, str | list):
        raise _wrong_type(f"{where}.content", "one of a string or array of objects", content)
    for number, part in enumerate(as_list(content)):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise _missing(f"{where}.content[{number}].type")


def _check_output_limits(body: JsonObject) -> None:
    if body.get("max_tokens") is None:
        return
    if body.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise bad_request(message, param="max_tokens", code="invalid_parameter_combination")
    if as_text(body.get("model")).startswith(REASONING_MODELS):
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. "
        message += "Use 'max_completion_tokens' instead."
        raise bad_request(message, param="max_tokens", code="unsupported_parameter")


def _check_tools(body: JsonObject, *, nested: bool) -> None:
    tools = [as_object(tool) for tool in as_list(body.get("tools"))]
    if not tools and (body.get("tool_choice") is not None or body.get("parallel_tool_calls") is not None) and nested:
        raise bad_request("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    for position, tool in enumerate(tools):
        if tool.get("type") != "function":
            raise bad_request(f"Invalid value for 'tools[{position}].type': only 'function' here.", param="tools")
        function = as_object(tool.get("function")) if nested else tool
        if not as_text(function.get("name")):
            raise _missing(f"tools[{position}].{'function.' if nested else ''}name")


def _check_format(given: JsonObject, where: str, prompt: str, *, nested: bool) -> None:
    if not given:
        return
    kind = given.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise bad_request(f"Invalid value for '{where}.type'.", param=f"{where}.type", code="invalid_value")
    if kind == "json_object" and "json" not in prompt.lower():
        message = f"'messages' must contain the word 'json' in some form, to use '{where}' of type 'json_object'."
        raise bad_request(message, param="messages")
    if kind != "json_schema":
        return
    described = as_object(given.get("json_schema")) if nested else given
    for name in ("name", "schema"):
        if not described.get(name):
            raise _missing(f"{where}.json_schema.{name}" if nested else f"{where}.{name}")
    schema = as_object(described["schema"])
    if described.get("strict") is True and schema.get("additionalProperties") is not False:
        message = f"Invalid schema for {where} '{described['name']}': 'additionalProperties' must be false."
        raise bad_request(message, param=where, code="invalid_json_schema")


def _check_responses(body: JsonObject) -> None:
    if not messages_of(RESPONSES, body):
        raise bad_request("Invalid 'input': empty array.", param="input", code="empty_array")
    for position, item in enumerate(as_list(body.get("input"))):
        if not isinstance(item, dict):
            raise _wrong_type(f"input[{position}]", "an object", item)
        if item.get("type", "message") == "message" and item.get("role") not in ROLES:
            raise bad_request(f"Invalid value for 'input[{position}].role'.", param="input", code="invalid_value")
    if body.get("background"):
        raise bad_request("Background mode is not supported here.", param="background", code="unsupported_parameter")
    for name in ("previous_response_id", "conversation", "prompt"):
        if body.get(name) is not None:
            raise bad_request(f"Nothing with this '{name}' was found.", param=name, code=f"{name}_not_found")
    _check_tools(body, nested=False)
    text_format = as_object(as_object(body.get("text")).get("format"))
    _check_format(text_format, "text.format", prompt_text(RESPONSES, body), nested=False)


def _check_embeddings(body: JsonObject, catalog: Catalog) -> None:
    _check_inputs(EMBEDDINGS, body)
    inputs = inputs_of(EMBEDDINGS, body)
    if len(inputs) > EMBEDDING_INPUTS_MAX:
        raise bad_request(f"Invalid 'input': at most {EMBEDDING_INPUTS_MAX} entries.", param="input")
    lengths = [len(entry) if isinstance(entry, list) else count(entry) for entry in inputs]
    longest = catalog.limit_of(as_text(body["model"]), "max_input_tokens")
    if longest is not None and max(lengths) > longest:
        message = f"This model's maximum context length is {longest} tokens, however you requested {max(lengths)}."
        raise bad_request(message, param="input", code="context_length_exceeded")
    if sum(lengths) > EMBEDDING_TOKENS_MAX:
        raise bad_request(f"Requested {sum(lengths)} tokens, max {EMBEDDING_TOKENS_MAX} per request.", param="input")
    size = catalog.limit_of(as_text(body["model"]), "output_vector_size")
    if size is not None and (as_int(body.get("dimensions")) or 1) > size:
        raise bad_request(f"Invalid 'dimensions': this model has at most {size}.", param="dimensions")


def _check_inputs(endpoint: str, body: JsonObject) -> None:
    name = "prompt" if endpoint == COMPLETIONS else "input"
    given = body[name]
    entries = as_list(given)
    if given in ("", []) or any(entry in ("", []) for entry in entries):
        raise bad_request(f"Invalid '{name}': it cannot be empty.", param=name, code="invalid_input")
    parts = (str, int, list, dict) if endpoint == MODERATIONS else (str, int, list)
    wrong = [entry for entry in entries if isinstance(entry, bool) or not isinstance(entry, parts)]
    if wrong or len({type(entry) for entry in entries}) > 1:
        raise _wrong_type(name, "a string or an array of one kind", wrong[0] if wrong else given)


def _check_lengths(endpoint: str, body: JsonObject, catalog: Catalog) -> None:
    if endpoint in (EMBEDDINGS, MODERATIONS):
        return
    model = as_text(body["model"])
    context = catalog.limit_of(model, "max_input_tokens")
    asked = prompt_tokens(endpoint, body)
    if context is not None and asked > context:
        message = f"This model's maximum context length is {context} tokens. However, your input has {asked} tokens."
        raise bad_request(message, param="messages", code="context_length_exceeded")
    longest, wanted = catalog.limit_of(model, "max_output_tokens"), output_limit(endpoint, body)
    if longest is not None and wanted is not None and wanted > longest:
        message = f"max_tokens is too large: {wanted}. This model supports at most {longest} completion tokens."
        raise bad_request(message, param="max_tokens", code="invalid_value")


def _missing(name: str) -> Exception:
    return bad_request(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _wrong_type(name: str, expected: str, value: object) -> Exception:
    message = f"Invalid type for '{name}': expected {expected}, but got {named_type(value)} instead."
    return bad_request(message, param=name, code="invalid_type")

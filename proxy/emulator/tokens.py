"""How many tokens a request has: an estimate of four UTF-8 bytes each, the same for calls and batch lines."""

from dataclasses import dataclass

from proxy.emulator.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES
from proxy.emulator.shape import JsonObject, as_int, as_list, as_object, as_text, dump

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 3
TOKENS_PER_IMAGE = 85
OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
COMPLETIONS_MAX_TOKENS = 16
"""OpenAI's default of `max_tokens` on the legacy completions endpoint."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached` is a part of `prompt`."""

    prompt: int
    completion: int
    cached: int = 0


def count(text: str) -> int:
    """Return the tokens of a text."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def cut(text: str, tokens: int) -> str:
    """Return the longest beginning of a text that has at most so many tokens."""
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode(errors="ignore")


def content_text(content: object) -> str:
    """Return the text of a message's content: a string, or the text parts of an array."""
    if isinstance(content, str):
        return content
    return "\n".join(as_text(as_object(part).get("text")) for part in as_list(content) if "text" in as_object(part))


def messages_of(endpoint: str, body: JsonObject) -> list[JsonObject]:
    """Return the conversation as messages, for chat completions and responses."""
    if endpoint == CHAT:
        return [as_object(message) for message in as_list(body.get("messages"))]
    given = body.get("input")
    items: list[JsonObject] = [as_object(item) for item in as_list(given)]
    if isinstance(given, str):
        items = [{"role": "user", "content": given}]
    instructions = body.get("instructions")
    return [{"role": "system", "content": instructions}, *items] if isinstance(instructions, str) else items


def last_user_text(endpoint: str, body: JsonObject) -> str:
    """Return what the answer echoes: the last thing that the user said, or the (first) input of the other endpoints."""
    if endpoint in (CHAT, RESPONSES):
        said = [message for message in messages_of(endpoint, body) if message.get("role") == "user"]
        return content_text(said[-1].get("content")) if said else ""
    given = inputs_of(endpoint, body)
    return given[0] if given and isinstance(given[0], str) else ""


def inputs_of(endpoint: str, body: JsonObject) -> list[str | list[object]]:
    """Return the inputs of an embeddings, completions or moderations request, one entry each; tokens stay arrays."""
    given = body.get("prompt" if endpoint == COMPLETIONS else "input")
    if isinstance(given, str):
        return [given]
    entries = as_list(given)
    if entries and all(as_int(entry) is not None for entry in entries):
        return [entries]
    if endpoint == MODERATIONS and any(isinstance(entry, dict) for entry in entries):
        return [content_text(entries)]
    return [entry if isinstance(entry, list) else as_text(entry) for entry in entries]


def prompt_text(endpoint: str, body: JsonObject) -> str:
    """Return the whole prompt as one text, in order: what prompt caching compares."""
    messages = messages_of(endpoint, body)
    tools = dump(body["tools"]).decode() if body.get("tools") else ""
    return tools + "\n".join(f"{m.get('role')}: {content_text(m.get('content'))}" for m in messages)


def prompt_tokens(endpoint: str, body: JsonObject) -> int:
    """Return how many tokens the prompt has."""
    if endpoint in (EMBEDDINGS, COMPLETIONS, MODERATIONS):
        return sum(len(i) if isinstance(i, list) else count(i) for i in inputs_of(endpoint, body))
    total = -(-len(dump(body["tools"])) // BYTES_PER_TOKEN) if body.get("tools") else 0
    for message in messages_of(endpoint, body):
        content = message.get("content")
        images = sum(as_object(part).get("type") in ("image_url", "input_image") for part in as_list(content))
        total += count(content_text(content)) + TOKENS_PER_MESSAGE + images * TOKENS_PER_IMAGE
        total += count(as_text(message.get("arguments")) + as_text(message.get("output")))
    return total


def output_limit(endpoint: str, body: JsonObject) -> int | None:
    """Return the most completion tokens that the request allows for one answer; None: no limit of its own."""
    if endpoint in (EMBEDDINGS, MODERATIONS):
        return 0
    given = (as_int(body.get(name)) for name in OUTPUT_LIMITS)
    limit = next((value for value in given if value is not None), None)
    return COMPLETIONS_MAX_TOKENS if limit is None and endpoint == COMPLETIONS else limit


def charged_ahead(endpoint: str, body: JsonObject) -> int:
    """Return what a call takes from the tokens-per-minute limit when it arrives: the prompt and all it may produce."""
    return prompt_tokens(endpoint, body) + (output_limit(endpoint, body) or 0) * (as_int(body.get("n")) or 1)

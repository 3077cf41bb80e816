"""What the emulator answers: a deterministic function of the request, so that a test can check that it is right.

Chat completions, responses and completions contain `echo: <the last user text>` and a seeded number of filler words,
cut to the request's own limit. Tool calls and structured outputs conform to their schemas and carry the same text in
their strings. Embeddings are unit vectors derived from the input. Ids and times are the only parts that differ
between two equal calls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.emulator.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES, Catalog
from proxy.emulator.chance import seeded
from proxy.emulator.schema import conforming
from proxy.emulator.shape import JsonObject, as_int, as_list, as_object, as_text, dump
from proxy.emulator.tokens import Usage, count, cut, inputs_of, last_user_text, messages_of, output_limit, prompt_tokens
from proxy.emulator.validation import model_of
from proxy.emulator.vectors import embedding

FILLER = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima")
VECTOR_SIZE = 1536
HARM = ("violence", "hate", "harassment", "self-harm", "sexual", "illicit")
"""Categories of moderation; a text is flagged for those which it names."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a 200, and what it used."""

    body: JsonObject
    usage: Usage


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an answer depends on besides the request: a unique suffix of its ids, its time, its tier, cached tokens."""

    identity: str
    created_at: float
    service_tier: str = "default"
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Spoken:
    """One choice: text or a tool call, why it ended, and its tokens."""

    text: str | None
    tool_name: str | None
    arguments: str
    finish_reason: str

    @property
    def tokens(self) -> int:
        """Return the completion tokens of this choice."""
        return count(self.text or "") + count(self.tool_name or "") + count(self.arguments)


class Answers:
    """Answers requests that have passed validation."""

    def __init__(self, catalog: Catalog, seed: int, reply_words_max: int) -> None:
        self._catalog = catalog
        self._seed = seed
        self._reply_words_max = reply_words_max
        self._by_endpoint: Mapping[str, Callable[[JsonObject, Circumstances], Answer]] = {
            CHAT: self._chat,
            RESPONSES: self._responses,
            EMBEDDINGS: self._embeddings,
            COMPLETIONS: self._completions,
            MODERATIONS: self._moderations,
        }

    def answer(self, endpoint: str, body: JsonObject, circumstances: Circumstances) -> Answer:
        """Answer one request."""
        return self._by_endpoint[endpoint](body, circumstances)

    def _chat(self, body: JsonObject, circumstances: Circumstances) -> Answer:
        choices: list[JsonObject] = []
        completion = 0
        for index in range(as_int(body.get("n")) or 1):
            spoken = self._spoken(CHAT, body, index)
            completion += spoken.tokens
            message: JsonObject = {"role": "assistant", "content": spoken.text, "refusal": None, "annotations": []}
            if spoken.tool_name is not None:
                function = {"name": spoken.tool_name, "arguments": spoken.arguments}
                call_id = f"call_{circumstances.identity}{index}"
                message["tool_calls"] = [{"id": call_id, "type": "function", "function": function}]
            reason = spoken.finish_reason
            choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": reason})
        usage = Usage(prompt_tokens(CHAT, body), completion, circumstances.cached_tokens)
        answer: JsonObject = {
            "id": f"chatcmpl-{circumstances.identity}",
            "object": "chat.completion",
            "created": int(circumstances.created_at),
            "model": as_text(body["model"]),
            "choices": choices,
            "usage": chat_usage(usage),
            "service_tier": circumstances.service_tier,
            "system_fingerprint": "fp_emulator",
        }
        return Answer(answer, usage)

    def _completions(self, body: JsonObject, circumstances: Circumstances) -> Answer:
        choices: list[JsonObject] = []
        completion = 0
        samples = as_int(body.get("n")) or 1
        for position, given in enumerate(inputs_of(COMPLETIONS, body)):
            text = given if isinstance(given, str) else f"{len(given)} tokens"
            for sample in range(samples):
                full = self._echo(text, as_text(body["model"]), sample)
                shown, reason = _limited(full, output_limit(COMPLETIONS, body))
                completion += count(shown)
                shown = text + shown if body.get("echo") else shown
                index = position * samples + sample
                choices.append({"index": index, "text": shown, "logprobs": None, "finish_reason": reason})
        usage = Usage(prompt_tokens(COMPLETIONS, body), completion)
        answer: JsonObject = {
            "id": f"cmpl-{circumstances.identity}",
            "object": "text_completion",
            "created": int(circumstances.created_at),
            "model": as_text(body["model"]),
            "choices": choices,
            "usage": {
                "prompt_tokens": usage.prompt,
                "completion_tokens": usage.completion,
                "total_tokens": usage.prompt + usage.completion,
            },
        }
        return Answer(answer, usage)

    def _responses(self, body: JsonObject, circumstances: Circumstances) -> Answer:
        spoken = self._spoken(RESPONSES, body, 0)
        usage = Usage(prompt_tokens(RESPONSES, body), spoken.tokens, circumstances.cached_tokens)
        cut_short = spoken.finish_reason == "length"
        status = "incomplete" if cut_short else "completed"
        text_config = body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"}
        answer: JsonObject = {
            "id": f"resp_{circumstances.identity}",
            "object": "response",
            "created_at": int(circumstances.created_at),
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut_short else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": as_text(body["model"]),
            "output": [_output_item(spoken, circumstances.identity, status)],
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": None,
            "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": circumstances.service_tier,
            "store": body.get("store") is not False,
            "temperature": body.get("temperature", 1.0),
            "text": text_config,
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": as_list(body.get("tools")),
            "top_p": body.get("top_p", 1.0),
            "truncation": body.get("truncation") or "disabled",
            "usage": responses_usage(usage),
            "user": body.get("user"),
            "metadata": as_object(body.get("metadata")),
        }
        return Answer(answer, usage)

    def _embeddings(self, body: JsonObject, _circumstances: Circumstances) -> Answer:
        model = as_text(body["model"])
        size = as_int(body.get("dimensions")) or self._catalog.limit_of(model, "output_vector_size") or VECTOR_SIZE
        packed = body.get("encoding_format") == "base64"
        entries = [
            {"object": "embedding", "index": index, "embedding": embedding(model, given, size, packed=packed)}
            for index, given in enumerate(inputs_of(EMBEDDINGS, body))
        ]
        usage = Usage(prompt_tokens(EMBEDDINGS, body), 0)
        tokens = {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt}
        return Answer({"object": "list", "data": entries, "model": model, "usage": tokens}, usage)

    def _moderations(self, body: JsonObject, circumstances: Circumstances) -> Answer:
        results = []
        for given in inputs_of(MODERATIONS, body):
            named = {category: category in str(given).lower() for category in HARM}
            scores = {category: 0.98 if hit else 0.001 for category, hit in named.items()}
            results.append({"flagged": any(named.values()), "categories": named, "category_scores": scores})
        answer: JsonObject = {
            "id": f"modr-{circumstances.identity}",
            "model": model_of(MODERATIONS, body),
            "results": results,
        }
        return Answer(answer, Usage(0, 0))

    def _spoken(self, endpoint: str, body: JsonObject, index: int) -> Spoken:
        text = last_user_text(endpoint, body)
        tool = _tool_to_call(endpoint, body)
        if tool is not None:
            made = conforming(as_object(tool.get("parameters")) or {"type": "object"}, text)
            return Spoken(None, as_text(tool.get("name")), dump(made).decode(), "tool_calls")
        structured = _structured(endpoint, body, text)
        full = structured if structured is not None else self._echo(text, as_text(body["model"]), index)
        shown, reason = _limited(full, output_limit(endpoint, body))
        return Spoken(shown, None, "", reason)

    def _echo(self, text: str, model: str, index: int) -> str:
        chance = seeded("filler", f"{self._seed}\n{model}\n{index}\n{text}")
        filler = chance.choices(FILLER, k=chance.randint(0, self._reply_words_max))
        return " ".join([f"echo: {text}", *filler])


def chat_usage(usage: Usage) -> JsonObject:
    """Write usage as chat completions have it."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def responses_usage(usage: Usage) -> JsonObject:
    """Write usage as responses and batches have it."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


def _limited(text: str, limit: int | None) -> tuple[str, str]:
    if limit is None or count(text) <= limit:
        return text, "stop"
    return cut(text, limit), "length"


def _output_item(spoken: Spoken, identity: str, status: str) -> JsonObject:
    if spoken.tool_name is not None:
        return {
            "id": f"fc_{identity}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{identity}",
            "name": spoken.tool_name,
            "arguments": spoken.arguments,
        }
    content: JsonObject = {"type": "output_text", "text": spoken.text, "annotations": [], "logprobs": []}
    message: JsonObject = {"id": f"msg_{identity}", "type": "message", "status": status, "role": "assistant"}
    return message | {"content": [content]}


def _tool_to_call(endpoint: str, body: JsonObject) -> JsonObject | None:
    """Return the function to call: the named one or the first, unless none may be called or a tool spoke last."""
    nested = endpoint == CHAT
    tools = [as_object(tool) for tool in as_list(body.get("tools"))]
    functions = [as_object(tool.get("function")) if nested else tool for tool in tools]
    choice = body.get("tool_choice")
    if not functions or choice == "none":
        return None
    if isinstance(choice, dict):
        name = as_object(choice.get("function")).get("name") if nested else choice.get("name")
        return next((function for function in functions if function.get("name") == name), functions[0])
    last = messages_of(endpoint, body)[-1]
    return functions[0] if choice == "required" or last.get("role") == "user" else None


def _structured(endpoint: str, body: JsonObject, text: str) -> str | None:
    if endpoint == CHAT:
        given = as_object(body.get("response_format"))
        described = as_object(given.get("json_schema"))
    else:
        given = described = as_object(as_object(body.get("text")).get("format"))
    if given.get("type") == "json_object":
        return dump({"echo": text}).decode()
    if given.get("type") == "json_schema":
        return dump(conforming(as_object(described.get("schema")), text)).decode()
    return None

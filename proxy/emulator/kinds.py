"""A small language for what an argument may be, and the tables of arguments that each endpoint knows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.emulator.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MODERATIONS, RESPONSES


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value may be: `says` in words, `fits` as a test; numbers may have bounds."""

    says: str
    fits: Callable[[object], bool]
    low: float | None = None
    high: float | None = None


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def either(*kinds: Kind) -> Kind:
    """Return the kind that is any of these."""
    return Kind("one of " + ", ".join(kind.says for kind in kinds), lambda value: any(k.fits(value) for k in kinds))


def integer(low: float | None = None, high: float | None = None) -> Kind:
    """Return an integer kind with bounds, both included."""
    return Kind("an integer", _is_integer, low, high)


def number(low: float | None = None, high: float | None = None) -> Kind:
    """Return a number kind with bounds, both included."""
    return Kind("a decimal", _is_number, low, high)


def one_of(*words: str) -> Kind:
    """Return a kind of these strings only."""
    listed = ", ".join(f"'{word}'" for word in words)
    return Kind(f"one of {listed}", lambda value: isinstance(value, str) and value in words)


TEXT = Kind("a string", lambda value: isinstance(value, str))
FLAG = Kind("a boolean", lambda value: isinstance(value, bool))
ARRAY = Kind("an array", lambda value: isinstance(value, list))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
TEXTS = Kind(
    "an array of strings", lambda value: isinstance(value, list) and all(isinstance(entry, str) for entry in value)
)
TIER = one_of("auto", "default", "flex", "scale", "priority", "fast")
EFFORT = one_of("none", "minimal", "low", "medium", "high", "xhigh")
RETENTION = one_of("in_memory", "24h")

SAMPLING: Mapping[str, Kind] = {"temperature": number(0, 2), "top_p": number(0, 1)}
IDENTITY: Mapping[str, Kind] = {"user": TEXT, "safety_identifier": TEXT, "prompt_cache_key": TEXT}
PENALTIES: Mapping[str, Kind] = {"frequency_penalty": number(-2, 2), "presence_penalty": number(-2, 2)}

ARGUMENTS: Mapping[str, Mapping[str, Kind]] = {
    CHAT: {
        **SAMPLING,
        **IDENTITY,
        **PENALTIES,
        "audio": OBJECT,
        "function_call": either(TEXT, OBJECT),
        "functions": ARRAY,
        "logit_bias": OBJECT,
        "logprobs": FLAG,
        "max_completion_tokens": integer(1),
        "max_tokens": integer(1),
        "messages": ARRAY,
        "metadata": OBJECT,
        "modalities": TEXTS,
        "moderation": OBJECT,
        "model": TEXT,
        "n": integer(1, 128),
        "parallel_tool_calls": FLAG,
        "prediction": OBJECT,
        "prompt_cache_options": OBJECT,
        "prompt_cache_retention": RETENTION,
        "reasoning_effort": EFFORT,
        "response_format": OBJECT,
        "seed": integer(),
        "service_tier": TIER,
        "stop": either(TEXT, TEXTS),
        "store": FLAG,
        "stream": FLAG,
        "stream_options": OBJECT,
        "tool_choice": either(one_of("none", "auto", "required"), OBJECT),
        "tools": ARRAY,
        "top_logprobs": integer(0, 20),
        "verbosity": one_of("low", "medium", "high"),
        "web_search_options": OBJECT,
    },
    RESPONSES: {
        **SAMPLING,
        **IDENTITY,
        "background": FLAG,
        "context_management": ARRAY,
        "conversation": either(TEXT, OBJECT),
        "include": TEXTS,
        "input": either(TEXT, ARRAY),
        "instructions": TEXT,
        "max_output_tokens": integer(16),
        "max_tool_calls": integer(1),
        "metadata": OBJECT,
        "model": TEXT,
        "parallel_tool_calls": FLAG,
        "previous_response_id": TEXT,
        "moderation": OBJECT,
        "prompt": OBJECT,
        "prompt_cache_options": OBJECT,
        "prompt_cache_retention": RETENTION,
        "reasoning": OBJECT,
        "service_tier": TIER,
        "store": FLAG,
        "stream": FLAG,
        "stream_options": OBJECT,
        "text": OBJECT,
        "tool_choice": either(one_of("none", "auto", "required"), OBJECT),
        "tools": ARRAY,
        "top_logprobs": integer(0, 20),
        "truncation": one_of("auto", "disabled"),
    },
    EMBEDDINGS: {
        "dimensions": integer(1),
        "encoding_format": one_of("float", "base64"),
        "input": either(TEXT, ARRAY),
        "model": TEXT,
        "user": TEXT,
    },
    COMPLETIONS: {
        **SAMPLING,
        **PENALTIES,
        "best_of": integer(1, 20),
        "echo": FLAG,
        "logit_bias": OBJECT,
        "logprobs": integer(0, 5),
        "max_tokens": integer(0),
        "model": TEXT,
        "n": integer(1, 128),
        "prompt": either(TEXT, ARRAY),
        "seed": integer(),
        "stop": either(TEXT, TEXTS),
        "stream": FLAG,
        "stream_options": OBJECT,
        "suffix": TEXT,
        "user": TEXT,
    },
    MODERATIONS: {"input": either(TEXT, ARRAY), "model": TEXT},
}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    CHAT: ("model", "messages"),
    RESPONSES: ("model", "input"),
    EMBEDDINGS: ("model", "input"),
    COMPLETIONS: ("model", "prompt"),
    MODERATIONS: ("input",),
}

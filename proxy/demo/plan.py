"""What the demo asks for, and when: a slice of a real trace, squeezed into a minute. Pure."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from random import Random

MODELS = {"m-small": "gpt-4o-mini", "m-mid": "gpt-4.1-mini", "m-large": "gpt-4.1", "deepseek-r1": "gpt-5-mini"}
"""Which priced model stands for each of the trace's classes."""
DEADLINES = ((0.25, None), (0.40, 15.0), (0.65, 25.0), (1.0, 35.0))
"""Cumulative shares of the deadlines, in seconds: a quarter of the calls says nothing about time and is urgent."""
STREAM_SHARE = 0.15
PROMPT_WORDS_MAX = 400
COMPLETION_TOKENS_MAX = 300
COMPLETION_TOKENS_MIN = 32


@dataclass(frozen=True, slots=True)
class Ask:
    """One call to make. `at_seconds` counts from the start; `deadline_seconds` None is urgent."""

    number: int
    at_seconds: float
    model: str
    prompt_words: int
    completion_tokens: int
    deadline_seconds: float | None
    stream: bool

    @property
    def text(self) -> str:
        """The user's message: the fake provider echoes it, so that every answer can be checked."""
        return f"case-{self.number:04}"


def read_plan(*, seed: int, seconds: float, requests: int | None = None) -> list[Ask]:
    """The trace's requests, the first `requests` of them, squeezed into so many seconds."""
    lines = (files("proxy.demo") / "sample.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return make_plan(rows[:requests], seed=seed, seconds=seconds)


def make_plan(rows: Iterable[dict[str, str]], *, seed: int, seconds: float) -> list[Ask]:
    """Give every request of a trace its model, deadline and shape, reproducibly."""
    random = Random(seed)  # noqa: S311  a demonstration, no secrets
    listed = list(rows)
    span_ms = max(1, int(listed[-1]["offset_ms"]))
    return [
        Ask(
            number=number,
            at_seconds=int(row["offset_ms"]) / span_ms * seconds,
            model=MODELS[row["model_class"]],
            prompt_words=min(int(row["prompt_tokens"]), PROMPT_WORDS_MAX),
            completion_tokens=max(COMPLETION_TOKENS_MIN, min(int(row["completion_tokens"]), COMPLETION_TOKENS_MAX)),
            deadline_seconds=_deadline(random.random()),
            stream=random.random() < STREAM_SHARE,
        )
        for number, row in enumerate(listed)
    ]


def _deadline(drawn: float) -> float | None:
    return next(seconds for share, seconds in DEADLINES if drawn < share)

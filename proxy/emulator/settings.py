"""What can be set about the emulator, with defaults, and nothing else.

Durations are provider seconds (divided by `time_scale`), except `limit_window_seconds`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.emulator.faults import Fault
from proxy.emulator.turnaround import Mixture, Turnaround

DAY_SECONDS = 86_400.0
CANCELLING_SECONDS_MAX = 600.0
"""OpenAI: cancelling takes up to ten minutes."""

POSITIVE = (
    *("time_scale", "limit_window_seconds", "window_seconds", "rpm", "tpm", "uploads_per_minute", "batch_bytes_max"),
    *("batch_creations_per_hour", "batch_lines_max", "embedding_inputs_max", "upload_bytes_max", "enqueued_tokens_max"),
)
NOT_NEGATIVE = (
    *("latency_seconds", "latency_per_token_seconds", "flex_latency_factor", "reply_words_max", "lines_in_flight"),
    *("validating_seconds", "finalizing_seconds", "prompt_cache_seconds", "purchases_max", "file_retention_seconds"),
)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Requests and tokens per `limit_window_seconds`."""

    requests: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about one emulator. Raises ValueError on values that make no sense."""

    seed: int = 0
    time_scale: float = 1.0
    """How many provider seconds pass in a second of the clock: 1440 makes a day a minute."""
    directory: Path | None = None
    """Where files are kept; None: a temporary directory that is removed at the end."""
    keys: frozenset[str] | None = None
    """Keys that are known; None: any key that is not empty. Each key is an account of its own."""
    models: tuple[str, ...] | None = None
    """Models that exist; None: those of the cost map and names in the style of OpenAI's."""
    organization: str = "org-emulator"

    latency_seconds: float = 0.0
    latency_per_token_seconds: float = 0.0
    flex_latency_factor: float = 1.0
    """A flex call takes so many times as long as a standard one."""
    flex_refusal_probability: float = 0.0
    priority_downgraded: bool = False
    """Whether calls at priority are served, and billed, at the standard tier, as OpenAI does beyond its ramp limit."""
    reply_words_max: int = 24
    """Filler words behind the echo, at most; how many is a function of the request."""
    prompt_cache_seconds: float = 300.0

    rpm: int = 10_000
    tpm: int = 10_000_000
    model_limits: Mapping[str, RateLimit] = field(default_factory=dict)
    """Limits of single models, instead of `rpm` and `tpm`."""
    limit_window_seconds: float = 60.0
    """The minute of `rpm` and `tpm`, in seconds of the clock, not scaled: clients read the headers as per minute."""

    refused_calls_count: bool = True
    """Whether a call that is refused for the limit on requests counts against it all the same, as OpenAI says."""

    turnaround: Turnaround = field(default_factory=Mixture)
    validating_seconds: float = 3.0
    finalizing_seconds: float = 2.0
    window_seconds: float = DAY_SECONDS
    cancelling_seconds: float = 60.0
    lines_in_flight: int = 20
    """How many lines are at work when a batch is cancelled: they still finish and are billed."""
    enqueued_tokens_max: int = 1_000_000_000
    """Prompt tokens in batches that have not ended, per key and model."""
    model_enqueued_tokens_max: Mapping[str, int] = field(default_factory=dict)
    batch_creations_per_hour: int = 2_000
    """Per key and hour of the provider."""
    batch_lines_max: int = 50_000
    batch_bytes_max: int = 200 * 1024 * 1024
    embedding_inputs_max: int = 50_000

    upload_bytes_max: int = 512 * 1024 * 1024
    uploads_per_minute: int = 1_000
    """Per key and minute of the provider."""
    file_retention_seconds: float = 30 * DAY_SECONDS

    purchases_max: int = 200_000
    """How many different purchases are remembered one by one; later ones are only counted."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: a number above 0, not {getattr(self, name)}")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: not below 0, not {getattr(self, name)}")
        if not 0.0 <= self.flex_refusal_probability <= 1.0:
            raise ValueError("flex_refusal_probability: a number from 0 to 1")
        if not 0.0 <= self.cancelling_seconds <= CANCELLING_SECONDS_MAX:
            raise ValueError(f"cancelling_seconds: from 0 to {CANCELLING_SECONDS_MAX:g}")

"""What a provider says about its rate limits on one answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateReading:
    """One answer's rate-limit headers. Every field is None where the provider said nothing (or nonsense).

    `reset_*_seconds` is the time until the limit is whole again; `retry_after_seconds` comes with a refusal.
    """

    limit_requests: int | None = None
    remaining_requests: int | None = None
    reset_requests_seconds: float | None = None
    limit_tokens: int | None = None
    remaining_tokens: int | None = None
    reset_tokens_seconds: float | None = None
    retry_after_seconds: float | None = None

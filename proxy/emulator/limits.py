"""Rate limits of synchronous calls per key and model, and the plain counters per hour of the file and batch routes.

A refused call costs its request all the same, as OpenAI documents (unless told otherwise); it costs no tokens.
"""

import math
from collections import deque
from dataclasses import dataclass

from proxy.emulator.errors import ApiError
from proxy.emulator.settings import RateLimit, Settings

ROUNDING = 1e-6
"""A bucket that lacks less than this is not short: who waits as long as it was told must find enough."""


def go_duration(seconds: float) -> str:
    """Write a duration as Go does: `12ms`, `1s`, `6m0s`, `1h0m0s`. Rounded up to milliseconds."""
    millis = math.ceil(seconds * 1000 - 1e-6)
    if millis <= 0:
        return "0s"
    if millis < 1000:  # noqa: PLR2004 - a second
        return f"{millis}ms"
    hours, rest = divmod(millis, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    shown = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


class Bucket:
    """A token bucket: `capacity` at the start and at most, refilled evenly within `window_seconds`."""

    def __init__(self, capacity: int, window_seconds: float, now: float) -> None:
        self.capacity = capacity
        self._per_second = capacity / window_seconds
        self._level = float(capacity)
        self._at = now

    def level(self, now: float) -> float:
        """Return what is left."""
        self._level = min(self.capacity, self._level + max(0.0, now - self._at) * self._per_second)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take this much, or all that is left."""
        self._level = max(0.0, self.level(now) - amount)

    def wait_seconds(self, amount: float, now: float) -> float:
        """Return how long until this much is left."""
        short = amount - self.level(now)
        return 0.0 if short < ROUNDING else short / self._per_second

    def full_in_seconds(self, now: float) -> float:
        """Return how long until it is full."""
        return self.wait_seconds(self.capacity, now)


@dataclass(frozen=True, slots=True)
class Meter:
    """The two buckets of one key and model."""

    model: str
    requests: Bucket
    tokens: Bucket

    def headers(self, now: float) -> dict[str, str]:
        """Return OpenAI's six rate-limit headers."""
        shown: dict[str, str] = {}
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            shown[f"x-ratelimit-limit-{name}"] = str(bucket.capacity)
            shown[f"x-ratelimit-remaining-{name}"] = str(int(bucket.level(now) + 1e-9))
            shown[f"x-ratelimit-reset-{name}"] = go_duration(bucket.full_in_seconds(now))
        return shown


class Limits:
    """All meters of all keys."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._meters: dict[tuple[str, str], Meter] = {}

    def take(self, account: str, model: str, tokens: int, now: float) -> dict[str, str]:
        """Admit a call and return the headers of its answer, or raise the 429."""
        meter = self._meter(account, model, now)
        if tokens > meter.tokens.capacity:
            meter.requests.take(1, now)
            raise self._too_large(meter, tokens, now)
        waits = {"requests": meter.requests.wait_seconds(1, now), "tokens": meter.tokens.wait_seconds(tokens, now)}
        kind = max(waits, key=lambda name: waits[name])
        if waits[kind] <= 0 or self._settings.refused_calls_count:
            meter.requests.take(1, now)
        if waits[kind] > 0:
            raise self._refusal(meter, kind, waits[kind], now)
        meter.tokens.take(tokens, now)
        return meter.headers(now)

    def _refusal(self, meter: Meter, kind: str, wait_seconds: float, now: float) -> ApiError:
        limit = meter.requests.capacity if kind == "requests" else meter.tokens.capacity
        unit = "requests per min (RPM)" if kind == "requests" else "tokens per min (TPM)"
        message = (
            f"Rate limit reached for {meter.model} in organization {self._settings.organization} on {unit}: "
            f"Limit {limit}. Please try again in {go_duration(wait_seconds)}."
        )
        headers = meter.headers(now)
        headers["retry-after"] = str(max(1, math.ceil(wait_seconds)))
        headers["retry-after-ms"] = str(max(1, math.ceil(wait_seconds * 1000)))
        return ApiError(429, message, kind=kind, code="rate_limit_exceeded", headers=headers)

    def _too_large(self, meter: Meter, tokens: int, now: float) -> ApiError:
        message = (
            f"Request too large for {meter.model} in organization {self._settings.organization} on tokens per min "
            f"(TPM): Limit {meter.tokens.capacity}, Requested {tokens}. The input or output tokens must be reduced."
        )
        return ApiError(429, message, kind="tokens", code="rate_limit_exceeded", headers=meter.headers(now))

    def _meter(self, account: str, model: str, now: float) -> Meter:
        meter = self._meters.get((account, model))
        if meter is None:
            settings = self._settings
            limit = settings.model_limits.get(model, RateLimit(settings.rpm, settings.tpm))
            window = settings.limit_window_seconds
            meter = Meter(model, Bucket(limit.requests, window, now), Bucket(limit.tokens, window, now))
            self._meters[account, model] = meter
        return meter


class WindowCounter:
    """At most so many events per account in any window: batch creations per hour, uploads per minute."""

    def __init__(self, what: str, events_max: int, window_seconds: float) -> None:
        self._what = what
        self._events_max = events_max
        self._window_seconds = window_seconds
        self._events: dict[str, deque[float]] = {}

    def take(self, account: str, now: float) -> None:
        """Count one event, or raise the 429."""
        events = self._events.setdefault(account, deque())
        while events and events[0] <= now - self._window_seconds:
            events.popleft()
        if len(events) >= self._events_max:
            wait_seconds = events[0] + self._window_seconds - now
            headers = {"retry-after": str(max(1, math.ceil(wait_seconds)))}
            headers["retry-after-ms"] = str(max(1, math.ceil(wait_seconds * 1000)))
            message = f"Rate limit reached for {self._what}: Limit {self._events_max}."
            raise ApiError(429, message, kind="requests", code="rate_limit_exceeded", headers=headers)
        events.append(now)

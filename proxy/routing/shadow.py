"""The shadow bucket: what the provider would have refused if every request had been sent synchronously on arrival.

It has the provider's limits and is fed with every accepted request, whatever tier it goes to. What it refuses consumes
nothing and is not repeated, so the count errs on the low side. It says "over the limit at arrival", not "errors
prevented": a client that backs off by itself would have spread its requests.
"""

from dataclasses import dataclass

from proxy.domain.labels import LimitKind
from proxy.routing.ratelimit import MINUTE_SECONDS, Bucket, RateLimits


@dataclass(frozen=True, slots=True)
class Arrived:
    """What has arrived, whatever tier it went to."""

    requests: int = 0
    tokens: int = 0

    def plus(self, other: "Arrived") -> "Arrived":
        return Arrived(self.requests + other.requests, self.tokens + other.tokens)

    def minus(self, other: "Arrived") -> "Arrived":
        return Arrived(self.requests - other.requests, self.tokens - other.tokens)


class Shadow:
    """The shadow of one model group's limits; `limits` is where the provider's words about them arrive."""

    def __init__(self, limits: RateLimits, now: float) -> None:
        self._limits = limits
        self._buckets: dict[LimitKind, Bucket] = {}
        self._wait_seconds = 0.0
        self._at = now
        self.arrived = Arrived()

    def arrived_elsewhere(self, arrived: Arrived, now: float) -> None:
        """What has arrived at another process under the same limits. What would have been refused there is not known
        here: no more is taken than is left.
        """
        amounts = {LimitKind.REQUESTS: arrived.requests, LimitKind.TOKENS: arrived.tokens}
        self._follow_limits(now)
        self._queue(amounts, now)
        for kind, bucket in self._buckets.items():
            bucket.take(min(amounts[kind], max(0.0, bucket.level(now))), now)

    def arrive(self, tokens: int, now: float) -> LimitKind | None:
        """A request arrived. Returns the limit that it would have hit, None if it would have been served.

        Without a known limit nothing is ever over it. A request that is larger than a minute's tokens needs them all.
        """
        self.arrived = self.arrived.plus(Arrived(1, tokens))
        amounts = {LimitKind.REQUESTS: 1, LimitKind.TOKENS: tokens}
        self._follow_limits(now)
        self._queue(amounts, now)
        for kind, bucket in self._buckets.items():
            if bucket.level(now) < min(amounts[kind], bucket.per_minute):
                return kind
        for kind, bucket in self._buckets.items():
            bucket.take(amounts[kind], now)
        return None

    def virtual_wait_seconds(self, now: float) -> float:
        """How long a request arriving now would wait if all had been sent synchronously and queued for their turn."""
        return max(0.0, self._wait_seconds - max(0.0, now - self._at))

    def used_ratios(self, now: float) -> dict[LimitKind, float]:
        """The share of each known limit that all-synchronous traffic would have used, from 0 to 1."""
        self._follow_limits(now)
        return {kind: bucket.used_ratio(now) for kind, bucket in self._buckets.items()}

    def _queue(self, amounts: dict[LimitKind, int], now: float) -> None:
        """Lindley's recursion: the wait shrinks with time and grows by what each arrival takes at the limit's pace."""
        service = (amounts[kind] * MINUTE_SECONDS / bucket.per_minute for kind, bucket in self._buckets.items())
        self._wait_seconds = self.virtual_wait_seconds(now) + max(service, default=0.0)
        self._at = max(self._at, now)

    def _follow_limits(self, now: float) -> None:
        for kind in LimitKind:
            limit = self._limits.provider_limit(kind)
            bucket = self._buckets.get(kind)
            if limit is None:
                continue
            if bucket is None:
                self._buckets[kind] = Bucket(limit, now)
            elif bucket.per_minute != limit:
                bucket.resize(limit, now)

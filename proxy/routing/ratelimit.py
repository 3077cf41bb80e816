"""What may still be sent synchronously: token buckets for requests and tokens per minute, of one model at one upstream.

Urgent calls are never held back: they only leave less for the others. Deferred calls ask `ready_at` first, and leave a
share of each bucket to the urgent ones. Limits come from the configuration and from what the provider says on every
answer; where both are known, the lower one holds. A provider's limit is taken to be per minute.
"""

import math
from dataclasses import dataclass

from proxy.domain.labels import LimitKind
from proxy.domain.limits import RateReading

MINUTE_SECONDS = 60.0
FLOW_SECONDS, LONG_FLOW_SECONDS = 300.0, 3600.0
PRESENT_SECONDS = 1800.0
"""The urgent traffic of the moment is expected to go on for so long, that of the last hours from then on."""
SHARE_MIN = 0.1
"""Urgent traffic is never expected to leave less than this of what deferred calls have without it."""
_SIZE_WEIGHT = 0.05
"""How much one call moves the mean size: the last twenty count most."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Ceilings and manners.

    - `requests_per_minute`, `tokens_per_minute`: never more than this; None: what the provider says.
    - `default_requests_per_minute`, `default_tokens_per_minute`: the pace of deferred calls while neither a ceiling
      nor the provider's limit is known; None: no pacing.
    - `headroom`: the share of each limit that deferred calls leave to urgent ones.
    - `refused_seconds`: the pause after a 429 that names no time.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    default_requests_per_minute: float | None = None
    default_tokens_per_minute: float | None = None
    headroom: float = 0.1
    refused_seconds: float = 1.0

    def __post_init__(self) -> None:
        limits = ("requests_per_minute", "tokens_per_minute")
        for name in (*limits, *(f"default_{limit}" for limit in limits)):
            limit: float | None = getattr(self, name)
            if limit is not None and not 0 < limit < math.inf:
                raise ValueError(f"{name}: {limit} is no limit; give more than 0, or leave it out")
        if not 0 <= self.headroom < 1:
            raise ValueError(f"headroom: {self.headroom} is not a share; give 0 or more, under 1, such as 0.1")
        if not 0 <= self.refused_seconds < math.inf:
            raise ValueError(f"refused_seconds: {self.refused_seconds} is no duration; give 0 s or more")


class Bucket:
    """A minute's worth of something, refilled evenly. Its level may be negative: taken without asking."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._at = now

    def __repr__(self) -> str:
        return f"Bucket({self._level:.1f} of {self.per_minute:.1f}, at={self._at:.3f})"

    def level(self, now: float) -> float:
        """What is left at `now`. A `now` before the last one counts as the last one."""
        elapsed_seconds = max(0.0, now - self._at)
        self._level = min(self.per_minute, self._level + elapsed_seconds * self.per_minute / MINUTE_SECONDS)
        self._at = max(self._at, now)
        return self._level

    def used_ratio(self, now: float) -> float:
        """The share that is used: 0 full, 1 empty, more than 1 overdrawn."""
        return 1 - self.level(now) / self.per_minute

    def take(self, amount: float, now: float) -> None:
        self._level = self.level(now) - amount

    def give_back(self, amount: float, now: float) -> None:
        """It was not used after all."""
        self._level = min(self.per_minute, self.level(now) + amount)

    def empty(self, now: float) -> None:
        """The provider says that nothing is left: no more was overdrawn than it had."""
        self.level(now)
        self._level = 0.0

    def hold_at_most(self, level: float, now: float) -> None:
        """The provider says that no more than this is left."""
        self._level = min(self.level(now), level)

    def resize(self, per_minute: float, now: float) -> None:
        """The limit is another now. A larger one adds the difference; a smaller one only lowers the brim."""
        self._level = min(self.level(now) + max(0.0, per_minute - self.per_minute), per_minute)
        self.per_minute = per_minute

    def ready_at(self, level: float, now: float) -> float:
        """When the bucket will hold this much; a level above the brim means full."""
        lacking = min(level, self.per_minute) - self.level(now)
        return now if lacking <= 0 else now + lacking * MINUTE_SECONDS / self.per_minute


class Flow:
    """How many urgent calls per second there are: an average in which the last `memory_seconds` count most."""

    def __init__(self, memory_seconds: float, now: float) -> None:
        self._memory_seconds = memory_seconds
        self._sum = 0.0
        self._at = now

    def add(self, calls: int, now: float) -> None:
        self._fade(now)
        self._sum += calls

    def per_second(self, now: float) -> float:
        self._fade(now)
        return self._sum / self._memory_seconds

    def _fade(self, now: float) -> None:
        self._sum *= math.exp(-max(0.0, now - self._at) / self._memory_seconds)
        self._at = max(self._at, now)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast deferred calls can be made.

    - `calls_per_second`, `tokens_per_second`: what the limits leave in the long run, more than 0; infinity: no limit.
    - `present_share`: how much of that urgent traffic leaves until the instant `present_until`, more than 0.
    """

    calls_per_second: float = math.inf
    tokens_per_second: float = math.inf
    present_share: float = 1.0
    present_until: float = -math.inf

    @property
    def is_limited(self) -> bool:
        """Whether any limit is known."""
        return math.isfinite(self.calls_per_second) or math.isfinite(self.tokens_per_second)


@dataclass(frozen=True, slots=True)
class Spent:
    """What was sent synchronously: calls, the urgent ones among them, and their tokens."""

    calls: int = 0
    urgent: int = 0
    tokens: int = 0

    def plus(self, other: "Spent") -> "Spent":
        return Spent(self.calls + other.calls, self.urgent + other.urgent, self.tokens + other.tokens)

    def minus(self, other: "Spent") -> "Spent":
        return Spent(self.calls - other.calls, self.urgent - other.urgent, self.tokens - other.tokens)


class RateLimits:
    """The limits of one model group at one upstream, and what is left of them."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._ceilings = {
            LimitKind.REQUESTS: settings.requests_per_minute,
            LimitKind.TOKENS: settings.tokens_per_minute,
        }
        self._defaults = {
            LimitKind.REQUESTS: settings.default_requests_per_minute,
            LimitKind.TOKENS: settings.default_tokens_per_minute,
        }
        self._learned: dict[LimitKind, float] = {}
        self._buckets: dict[LimitKind, Bucket] = {}
        self._blocked_until = now
        self._mean_tokens: float | None = None
        self._urgent = Flow(FLOW_SECONDS, now)
        self._urgent_long = Flow(LONG_FLOW_SECONDS, now)
        self.spent = Spent()
        for kind in LimitKind:
            self._fit(kind, now)

    def __repr__(self) -> str:
        return f"RateLimits({', '.join(f'{kind.value}={bucket!r}' for kind, bucket in self._buckets.items())})"

    def provider_limit(self, kind: LimitKind) -> float | None:
        """What the provider allows per minute: what it said, else the configured ceiling; None: neither is known."""
        return self._learned.get(kind, self._ceilings[kind])

    @property
    def learned(self) -> dict[LimitKind, float]:
        """What the provider has said of its limits, per minute."""
        return dict(self._learned)

    def observe(self, reading: RateReading, now: float) -> None:
        """Learn from an answer's headers. What it says is left can only lower ours: it is older than our last calls."""
        self._learn(LimitKind.REQUESTS, reading.limit_requests, reading.remaining_requests, now)
        self._learn(LimitKind.TOKENS, reading.limit_tokens, reading.remaining_tokens, now)

    def refused(self, reading: RateReading, tokens: int, now: float) -> LimitKind:
        """The provider answered 429 to a call that `tokens` were spent for: hold deferred calls back for as long as it
        says. Returns the limit that was hit; without a word about tokens it counts as the limit on requests.

        Its bucket is empty now, and not overdrawn: a crowd of urgent calls that are refused again and again must not
        run up a debt that keeps deferred calls waiting for hours. A refused call costs no tokens.
        """
        self.observe(reading, now)
        pause_seconds = reading.retry_after_seconds
        if pause_seconds is None:
            pause_seconds = self._settings.refused_seconds
        self._blocked_until = max(self._blocked_until, now + pause_seconds)
        requests_left = reading.remaining_requests is None or reading.remaining_requests > 0
        kind = LimitKind.TOKENS if requests_left and reading.remaining_tokens is not None else LimitKind.REQUESTS
        if LimitKind.TOKENS in self._buckets:
            self._buckets[LimitKind.TOKENS].give_back(tokens, now)
        if kind in self._buckets:
            self._buckets[kind].empty(now)
        return kind

    def spend(self, tokens: int, now: float, *, urgent: bool = False) -> None:
        """A call is being made. Never refuses: an urgent call does not ask, a deferred one has asked `ready_at`."""
        self._take(Spent(1, int(urgent), tokens), now)
        mean = tokens if self._mean_tokens is None else self._mean_tokens
        self._mean_tokens = mean + (tokens - mean) * _SIZE_WEIGHT

    def spent_elsewhere(self, spent: Spent, now: float) -> None:
        """What another process has sent under the same limits."""
        before = self.spent
        self._take(spent, now)
        self.spent = before

    def learned_elsewhere(self, kind: LimitKind, limit: float, now: float) -> None:
        """What the provider has said to another process: taken over where it has said nothing to this one."""
        if kind not in self._learned:
            self._learned[kind] = limit
            self._fit(kind, now)

    def _take(self, spent: Spent, now: float) -> None:
        self.spent = self.spent.plus(spent)
        self._urgent.add(spent.urgent, now)
        self._urgent_long.add(spent.urgent, now)
        if LimitKind.REQUESTS in self._buckets:
            self._buckets[LimitKind.REQUESTS].take(spent.calls, now)
        if LimitKind.TOKENS in self._buckets:
            self._buckets[LimitKind.TOKENS].take(spent.tokens, now)

    def ready_at(self, tokens: int, now: float) -> float:
        """When a deferred call of this size may go out; `now` if it may at once. One that is larger than what it may
        ever have left goes out when the bucket is full."""
        amounts = {LimitKind.REQUESTS: 1, LimitKind.TOKENS: tokens}
        times = [
            bucket.ready_at(amounts[kind] + self._settings.headroom * bucket.per_minute, now)
            for kind, bucket in self._buckets.items()
        ]
        return max(now, self._blocked_until, *times)

    def available_rate_per_second(self, *, tokens_per_call: float | None = None) -> float:
        """How many deferred calls per second the limits allow in the long run; infinity when no limit is known.

        `tokens_per_call` is their size; None: the mean of the calls so far.
        """
        size = self._mean_tokens if tokens_per_call is None else tokens_per_call
        rates = []
        if LimitKind.REQUESTS in self._buckets:
            rates.append(self._buckets[LimitKind.REQUESTS].per_minute)
        if LimitKind.TOKENS in self._buckets and size:
            rates.append(self._buckets[LimitKind.TOKENS].per_minute / size)
        return min(rates, default=math.inf) / MINUTE_SECONDS * (1 - self._settings.headroom)

    def pace(self, now: float) -> Pace:
        """How fast deferred calls can be made from now on, beside urgent traffic as it is now and was lately."""
        present, later = (max(SHARE_MIN, share) for share in self._shares(now))
        left = later * (1 - self._settings.headroom) / MINUTE_SECONDS
        calls, tokens = (
            self._buckets[kind].per_minute * left if kind in self._buckets else math.inf
            for kind in (LimitKind.REQUESTS, LimitKind.TOKENS)
        )
        return Pace(calls, tokens, present_share=min(1.0, present / later), present_until=now + PRESENT_SECONDS)

    def room(self, seconds: float, now: float) -> float:
        """How many deferred calls can be made within so many seconds from now, beside urgent traffic as it is now and
        was lately.
        """
        rate = self.available_rate_per_second()
        if math.isinf(rate):
            return math.inf
        share, later_share = self._shares(now)
        present = min(seconds, PRESENT_SECONDS)
        return rate * (present * share + (seconds - present) * later_share)

    def _shares(self, now: float) -> tuple[float, float]:
        """How much of the rate of deferred calls urgent traffic leaves, at present and later. It has the headroom to
        itself.
        """
        rate = self.available_rate_per_second()
        if math.isinf(rate):
            return 1.0, 1.0
        whole = rate / (1 - self._settings.headroom)
        present, later = (
            min(1.0, max(0.0, (whole - flow.per_second(now)) / rate)) for flow in (self._urgent, self._urgent_long)
        )
        return present, later

    def used_ratio(self, now: float) -> float:
        """The used share of the scarcer limit; 0 where none is known."""
        return max(self.used_ratios(now).values(), default=0.0)

    def used_ratios(self, now: float) -> dict[LimitKind, float]:
        """The used share of each known limit: 0 unused, 1 all used, more than 1 overdrawn."""
        return {kind: bucket.used_ratio(now) for kind, bucket in self._buckets.items()}

    def _learn(self, kind: LimitKind, limit: int | None, remaining: int | None, now: float) -> None:
        if limit is not None and limit > 0:
            self._learned[kind] = limit
            self._fit(kind, now)
        if remaining is not None and remaining >= 0 and kind in self._learned:
            self._buckets[kind].hold_at_most(remaining, now)

    def _fit(self, kind: LimitKind, now: float) -> None:
        """Give the bucket the limit that holds now."""
        known = [limit for limit in (self._ceilings[kind], self._learned.get(kind)) if limit is not None]
        per_minute = min(known) if known else self._defaults[kind]
        if per_minute is None:
            return
        if kind in self._buckets:
            self._buckets[kind].resize(per_minute, now)
        else:
            self._buckets[kind] = Bucket(per_minute, now)

"""When a queue is cut into a batch, and which of its requests go into it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.domain.labels import CutReason
from proxy.domain.request import Queue, QueueDepth, Waiting

_FREE_SHARE, _DEAR_SHARE = 0.5, 0.9
_PATIENCE_MAX = 10.0
LINE_OVERHEAD_BYTES = 256
"""What a line adds to its body, rounded up: `custom_id`, method, path, braces and the newline."""


@dataclass(frozen=True, slots=True)
class Settings:
    """When and how large. The defaults are OpenAI's limits (bytes with some room) and one cut per minute and queue.

    - `lines_max`, `bytes_max`: of one batch's file.
    - `tokens_max`: estimated prompt tokens of one batch; None: no limit. Providers limit what is enqueued in all their
      batches together; a quarter of that is a good value here.
    - `age_seconds`: the longest that a request waits for company.
    - `age_share`: it waits no longer than this share of the time that the tightest of its company has, either.
    - `creations_per_hour`: batches created per upstream.
    - `deadline_spread`: requests share a batch while their times left differ by at most this factor.
    - `deadline_near_seconds`: requests with less time left than this share a batch whatever the factor.
    """

    lines_max: int = 50_000
    bytes_max: int = 190_000_000
    tokens_max: int | None = None
    age_seconds: float = 900.0
    age_share: float = 0.01
    creations_per_hour: int = 2000
    deadline_spread: float = 2.0
    deadline_near_seconds: float = 900.0

    def __post_init__(self) -> None:
        for name in ("lines_max", "bytes_max", "creations_per_hour"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is no limit to work under; give at least 1")
        if self.tokens_max is not None and self.tokens_max < 1:
            raise ValueError(f"tokens_max: {self.tokens_max} is no limit; give at least 1, or leave it out")
        for name in ("age_seconds", "deadline_near_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is no duration; give 0 s or more")
        if not 0 < self.age_share <= 1:
            raise ValueError(f"age_share: {self.age_share} is not a share; give more than 0, up to 1, such as 0.01")
        if not 1 <= self.deadline_spread < math.inf:
            raise ValueError(f"deadline_spread: {self.deadline_spread} is no factor; give 1 or more, such as 2")


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that may share a batch, tightest first. `full_of` says which limit has kept others out."""

    items: tuple[Waiting, ...]
    full_of: CutReason | None

    def depth(self, queue: Queue) -> QueueDepth:
        """The group summed up, as if it were the whole queue."""
        return QueueDepth(
            queue=queue,
            requests=len(self.items),
            body_bytes=sum(item.body_bytes for item in self.items),
            estimated_tokens=sum(item.estimated_tokens for item in self.items),
            oldest_at=min((item.accepted_at for item in self.items), default=math.inf),
            earliest_deadline_at=min((item.deadline_at for item in self.items), default=math.inf),
        )


def thrifty(settings: Settings, *, creations: int) -> Settings:
    """The settings after so many batches were created within the hour. Up to half of what the provider allows they are
    as configured; from there on company is waited for longer and longer, up to `_PATIENCE_MAX` times as long.
    """
    used = creations / settings.creations_per_hour
    patience = 1 + (_PATIENCE_MAX - 1) * min(1.0, max(0.0, used - _FREE_SHARE) / (_DEAR_SHARE - _FREE_SHARE))
    if patience <= 1:
        return settings
    age_share = min(1.0, settings.age_share * patience)
    return replace(settings, age_seconds=settings.age_seconds * patience, age_share=age_share)


def wait_seconds(depth: QueueDepth, settings: Settings) -> float:
    """How long the oldest request of this company waits for more of it."""
    return min(settings.age_seconds, settings.age_share * max(0.0, depth.earliest_deadline_at - depth.oldest_at))


def reason_to_cut(depth: QueueDepth, *, now: float, settings: Settings, needs_seconds: float) -> CutReason | None:
    """Why the queue should be cut now, None when it can grow on.

    `needs_seconds` is the time that a batch needs. SLACK: the tightest request still has that time, and would not have
    it if it waited for company; one that has it no more is escalation's, and is no reason to hurry the others.
    """
    if depth.requests == 0:
        return None
    if depth.requests >= settings.lines_max:
        return CutReason.LINES
    if depth.body_bytes + depth.requests * LINE_OVERHEAD_BYTES >= settings.bytes_max:
        return CutReason.BYTES
    if settings.tokens_max is not None and depth.estimated_tokens >= settings.tokens_max:
        return CutReason.TOKENS
    wait = wait_seconds(depth, settings)
    if now >= depth.oldest_at + wait:
        return CutReason.AGE
    last_start_at = depth.earliest_deadline_at - needs_seconds
    return CutReason.SLACK if last_start_at - wait <= now <= last_start_at else None


def next_cut_at(depth: QueueDepth, *, now: float, settings: Settings, needs_seconds: float) -> float:
    """When the queue is due if nothing joins it: `now` if it is due already, infinity if it is empty."""
    if depth.requests == 0:
        return math.inf
    if reason_to_cut(depth, now=now, settings=settings, needs_seconds=needs_seconds) is not None:
        return now
    wait = wait_seconds(depth, settings)
    by_age = depth.oldest_at + wait
    by_slack = depth.earliest_deadline_at - needs_seconds - wait
    return min(by_age, by_slack) if by_slack > now else by_age


def groups(pending: Sequence[Waiting], *, now: float, settings: Settings) -> list[Group]:
    """Everything that is pending, split into what may share a batch: the tightest request and those like it, then the
    tightest of the rest and those like it, each within the limits.

    A group has at least one request, however large that is.
    """
    ordered = sorted(pending, key=lambda item: (item.deadline_at, item.accepted_at, item.id))
    found: list[Group] = []
    start = 0
    while start < len(ordered):
        group = _group(ordered, start, now, settings)
        found.append(group)
        start += len(group.items)
    return found


def _group(ordered: Sequence[Waiting], start: int, now: float, settings: Settings) -> Group:
    time_left = ordered[start].deadline_at - now
    together_until = now + max(time_left * settings.deadline_spread, settings.deadline_near_seconds)
    size = tokens = 0
    for end in range(start, len(ordered)):
        item = ordered[end]
        size += item.body_bytes + LINE_OVERHEAD_BYTES
        tokens += item.estimated_tokens
        if end == start:
            continue
        full_of = _limit_hit(end - start + 1, size, tokens, settings)
        if full_of is not None or item.deadline_at > together_until:
            return Group(tuple(ordered[start:end]), full_of)
    return Group(tuple(ordered[start:]), None)


def _limit_hit(lines: int, size: int, tokens: int, settings: Settings) -> CutReason | None:
    if lines > settings.lines_max:
        return CutReason.LINES
    if size > settings.bytes_max:
        return CutReason.BYTES
    return CutReason.TOKENS if settings.tokens_max is not None and tokens > settings.tokens_max else None

"""When to ask the provider about a batch again: often while it is young, seldom when it is old."""

import math
from dataclasses import dataclass

CLOSING_STATUSES = frozenset({"finalizing", "cancelling"})
"""The provider's words for a batch whose results are about to appear."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How often to ask.

    - `age_share`: the pace as a share of the batch's age: results are seen that much late, whatever the batch took.
    - `left_share`: the pace as a share of the time left until the tightest deadline, where that is less.
    - `min_seconds`, `max_seconds`: bounds of the pace.
    - `closing_seconds`: the slowest pace while a batch is finalizing or cancelling.
    - `deadline_lead_seconds`: one poll is made this long before the tightest deadline, so that what is finished is
      known when escalation has to act. Escalation's margin and service time together are the right value.
    - `jitter_share`: polls come up to this share of the pace earlier, so that batches cut together drift apart.
    """

    age_share: float = 0.1
    left_share: float = 0.05
    min_seconds: float = 5.0
    max_seconds: float = 300.0
    closing_seconds: float = 10.0
    deadline_lead_seconds: float = 120.0
    jitter_share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.min_seconds < math.inf:
            raise ValueError(f"min_seconds: {self.min_seconds} is no pace; give more than 0 s, such as 5 s")
        for name in ("max_seconds", "closing_seconds"):
            if not self.min_seconds <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} s is under min_seconds {self.min_seconds}; give more")
        if not 0 <= self.deadline_lead_seconds < math.inf:
            raise ValueError(f"deadline_lead_seconds: {self.deadline_lead_seconds} is no duration; give 0 s or more")
        for name, usual in (("age_share", 0.1), ("left_share", 0.05)):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name}: {getattr(self, name)} is not a share; give more than 0, up to 1, such as {usual}"
                )
        if not 0 <= self.jitter_share < 1:
            raise ValueError(f"jitter_share: {self.jitter_share} is not a share; give 0 or more, under 1, such as 0.2")


def next_poll_at(
    *,
    submitted_at: float,
    now: float,
    deadline_at: float,
    settings: Settings,
    provider_status: str | None,
    jitter: float = 0.0,
) -> float:
    """The instant of the next poll, always after `now`.

    `deadline_at` is the tightest line's. `jitter` from 0 to 1 is the batch's own, made from its id, so that the same
    batch always gives the same answer. Never faster than `min_seconds`, but for the one poll before the deadline.
    """
    slowest = settings.closing_seconds if provider_status in CLOSING_STATUSES else settings.max_seconds
    pace = (now - submitted_at) * settings.age_share
    if deadline_at > now:
        pace = min(pace, (deadline_at - now) * settings.left_share)
    pace = min(max(pace, settings.min_seconds), slowest)
    early = (pace - settings.min_seconds) * settings.jitter_share * jitter
    planned_at = now + pace - early
    act_at = deadline_at - settings.deadline_lead_seconds
    return act_at if now < act_at < planned_at else planned_at

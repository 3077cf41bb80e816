"""When waiting for batches has to stop: how many requests must be bought synchronously now, so that all can be in time.

Theory. A synchronous call must start by `L = deadline - service - margin` to be in time. The upstream takes `r` calls
per second from us. Going backwards from the deadlines, the k-th tightest request can wait for the rate to come round
only if `k <= r * (L_k - now)`; so

    calls needed now = max over k of ceil(k - r * (L_k - now)),   at least 0, and at most k for each k

Dispatching that many in deadline order, and asking again often, starts requests as late as the rate allows: 50,000 of
them at 500 a minute begin to move 100 minutes before their deadline. What a batch answers in the meantime is saved.
The time between two questions has to fit into the margin.

A batch cannot give up single lines. If much of it is due, cancelling it first lets the provider hand over what is
finished and stops it from billing the rest; if little is due, those lines are bought twice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How careful to be.

    - `margin_seconds`: room for everything that is not foreseen, before each deadline.
    - `service_seconds`: how long a synchronous call takes at worst, a repetition included.
    - `cancel_lead_seconds`: how long a provider may take to cancel a batch (OpenAI: up to ten minutes).
    - `cancel_share`: a batch is cancelled when at least this share of its live lines is due.
    - `overtime_seconds`: how long after its deadline a request is still tried before it ends as expired.
    """

    margin_seconds: float = 60.0
    service_seconds: float = 60.0
    cancel_lead_seconds: float = 600.0
    cancel_share: float = 0.5
    overtime_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for name in ("margin_seconds", "service_seconds", "cancel_lead_seconds", "overtime_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is not a time; give 0 s or more")
        if not 0 < self.cancel_share <= 1:
            raise ValueError(f"cancel_share: {self.cancel_share} is no share; give more than 0, up to 1, such as 0.5")


def calls_needed(deadlines: Sequence[float], *, now: float, settings: Settings, rate_per_second: float) -> int:
    """How many of these requests must be called now, tightest first, so that the rest can follow at the rate.

    `deadlines` are sorted, one for each request that has no call under way. A rate of infinity means that no limit is
    known: then only requests at their latest start are due. A rate of 0: all of them. O(n).
    """
    needed = 0
    for count, deadline_at in enumerate(deadlines, start=1):
        time_left = _latest_call_at(deadline_at, settings) - now
        needed = count if time_left <= 0 else max(needed, _left_over(count, time_left, rate_per_second))
    return needed


def latest_start_at(deadlines: Sequence[float], *, settings: Settings, rate_per_second: float) -> float:
    """How long all of these requests can wait: after this instant `calls_needed` is more than 0.

    `deadlines` as above. Infinity when there are none; minus infinity at a rate of 0.
    """
    if not deadlines:
        return math.inf
    if rate_per_second <= 0:
        return -math.inf
    return min(
        _latest_call_at(deadline_at, settings) - count / rate_per_second
        for count, deadline_at in enumerate(deadlines, start=1)
    )


def horizon_seconds(open_requests: int, *, settings: Settings, rate_per_second: float) -> float:
    """How far ahead deadlines matter: a request beyond it is not due, however many others there are.

    Includes the time that cancelling a batch takes. Infinity when the rate is 0.
    """
    one_call = settings.cancel_lead_seconds + settings.service_seconds + settings.margin_seconds
    if open_requests == 0:
        return one_call
    return one_call + (open_requests / rate_per_second if rate_per_second > 0 else math.inf)


def cancel_first(
    lines_due: int, lines_live: int, *, now: float, submitted_at: float, deadline_at: float, settings: Settings
) -> bool:
    """Whether to cancel a batch and harvest it, rather than to buy its due lines a second time.

    `lines_due` of its `lines_live` unanswered lines are due when cancelling has taken its time, `cancel_lead_seconds`
    from now; `deadline_at` is the tightest one's. In the first half of the time that a batch can have, no batch is
    cancelled: the lead may be longer than that whole time. Too late it never is: what is not finished is not billed.
    """
    if lines_due <= 0 or lines_due < settings.cancel_share * lines_live:
        return False
    return now - submitted_at >= (_latest_call_at(deadline_at, settings) - submitted_at) / 2


def _latest_call_at(deadline_at: float, settings: Settings) -> float:
    """The last instant at which a synchronous call for this deadline may start."""
    return deadline_at - settings.service_seconds - settings.margin_seconds


def _left_over(count: int, time_left: float, rate_per_second: float) -> int:
    """How many of `count` calls do not fit into the time left."""
    fitting = rate_per_second * time_left
    return 0 if fitting >= count else math.ceil(count - fitting)

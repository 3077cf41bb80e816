"""When waiting for batches has to stop: which requests must be bought synchronously now, so that all can be in time.

Theory. A synchronous call must start by `L = deadline - service - margin` to be in time. The upstream takes `r` calls
and `w` tokens per second from us. Going backwards from the deadlines, the k-th tightest request, of `n` tokens, has to
move so long before the next one moves, or before its own latest start, as the limits need for it:

    M_k = min(L_k, M_(k+1)) - max(1 / r, n_k / w)

Moving each when its time has come, in deadline order, starts requests as late as the limits allow ("earliest deadline
as late as possible", Chetto & Chetto 1989): 50,000 of them at 500 a minute begin to move 100 minutes before their
deadline. What a batch answers in the meantime is saved. For as long as the urgent traffic of the moment is expected to
go on, `r` and `w` are what it leaves. The time between two looks has to fit into the margin.

A batch cannot give up single lines. Cancelling it ahead of time lets the provider hand over what is finished and stops
it from billing the rest, which is bought or submitted again; `cancel_pays` says when that is worth more than its odds.
Lines that have to move while their batch runs on are bought twice if it completes after all.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.routing.ratelimit import Pace

_USUAL_SHARE_OF_SERVICE = 0.1
"""A usual call takes this share of the worst one."""
_SAMPLES = 4
"""A batch's lines are judged by the first, the last and three between."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How careful to be.

    - `margin_seconds`: room for everything that is not foreseen, before each deadline.
    - `service_seconds`: how long a synchronous call takes at worst, a repetition included.
    - `cancel_lead_seconds`: how long a provider may take to cancel a batch (OpenAI: up to ten minutes).
    - `cancel_notice_seconds`: how soon before its last chance a batch is judged by what cancelling it would bring.
    - `cancel_gain_min`: a batch is cancelled ahead of time when that is expected to save at least this share of the
      synchronous price of its lines.
    - `cancel_share`: a batch is cancelled when at least this share of its live lines is being bought synchronously.
    - `overtime_seconds`: how long after its deadline a request is still tried before it ends as expired.
    - `wait_max_seconds`: how long after its deadline a request waits on whose policy says `on_miss: wait`.
    """

    margin_seconds: float = 60.0
    service_seconds: float = 60.0
    cancel_lead_seconds: float = 600.0
    cancel_notice_seconds: float = 120.0
    cancel_gain_min: float = 0.05
    cancel_share: float = 0.5
    overtime_seconds: float = 3600.0
    wait_max_seconds: float = 172_800.0

    def __post_init__(self) -> None:
        durations = ("margin_seconds", "service_seconds", "overtime_seconds", "wait_max_seconds")
        for name in (*durations, "cancel_lead_seconds", "cancel_notice_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is not a time; give 0 s or more")
        if not 0 <= self.cancel_gain_min < 1:
            raise ValueError(f"cancel_gain_min: {self.cancel_gain_min} is no share; give 0 or more, such as 0.05")
        if not 0 < self.cancel_share <= 1:
            raise ValueError(f"cancel_share: {self.cancel_share} is no share; give more than 0, up to 1, such as 0.5")


def move_times(
    deadlines: Sequence[float], *, settings: Settings, pace: Pace, tokens: Sequence[int] | None = None
) -> list[float]:
    """When each of these requests has to move to the synchronous tier if no batch answers it before.

    `deadlines` are sorted, one for each request that has no call under way; the result is in their order, and is sorted
    too. `tokens` are their sizes; None: they weigh nothing. O(n).
    """
    times = [0.0] * len(deadlines)
    per_call, per_token = 1 / pace.calls_per_second, 1 / pace.tokens_per_second
    until, slower = pace.present_until, 1 / pace.present_share
    following = math.inf
    for index in range(len(deadlines) - 1, -1, -1):
        end = min(latest_call_at(deadlines[index], settings), following)
        takes = per_call if tokens is None else max(per_call, tokens[index] * per_token)
        before_present = until - end + takes if end > until else takes
        following = end - takes if before_present <= 0 else min(end, until) - before_present * slower
        times[index] = following
    return times


def count_lost(deadlines: Sequence[float], *, now: float, settings: Settings) -> int:
    """How many of these deadlines, sorted, even a call that is made now would most likely miss.

    They come last: where the rate cannot carry everybody, calling those first that cannot be in time any more would
    make the next ones late as well, and so on. For calls of equal length, earliest deadline first without the lost
    ones meets as many deadlines as can be met.
    """
    return bisect_left(deadlines, now + settings.service_seconds * _USUAL_SHARE_OF_SERVICE)


@dataclass(frozen=True, slots=True)
class Prospects:
    """What is known of a running batch when it is asked whether to go on with it.

    - `move_times`: when each of its unanswered lines would have to move, sorted.
    - `done_share`: how much of it the provider says is done, 0 to 1; `age_seconds`: since its submission.
    - `price_share`: what a line costs in a batch, as a share of what it costs synchronously.
    - `chance_kept`, `chance_anew`: the odds that this batch, and that one submitted now, completes within some seconds.
    """

    move_times: Sequence[float]
    done_share: float
    age_seconds: float
    price_share: float
    chance_kept: Callable[[float], float]
    chance_anew: Callable[[float], float]


def cancel_pays(batch: Prospects, *, now: float, settings: Settings) -> bool:
    """Whether to cancel a batch now: to harvest what it has done and to buy or to resubmit the rest.

    Compares what its lines can be expected to cost either way, in units of the synchronous price. With `b` the price
    share, `d` the share that is done and already paid for, and `x` the time until a line has to move:

        kept       F(x) b + (1 - F(x)) late      late: d' b + (1 - d') if it can still be harvested by then,
                                                       1 + d' b if it cannot: then what is done is bought twice
        cancelled  d b + (1 - d) (G b + 1 - G)   G: the odds of a new batch in what time is left after cancelling

    averaged over its lines; `d'` is the share that will be done by then at its present pace. Cancelling needs
    `cancel_lead_seconds`; with less time than that, harvest and resubmission are likely in proportion. A gain below
    `cancel_gain_min` is none: forecasts are not that good.
    """
    if not batch.move_times:
        return False
    sample = [batch.move_times[(len(batch.move_times) - 1) * part // _SAMPLES] for part in range(_SAMPLES + 1)]
    gain = sum(_gain(batch, at - now, settings) for at in sample) / len(sample)
    return gain >= settings.cancel_gain_min


def stop_pays(lines_moving: int, lines_live: int, *, settings: Settings) -> bool:
    """Whether to cancel a batch because its lines are being bought synchronously now: what it has not begun is then
    not billed. The rest of its lines lose their chance, so there must be few of them.
    """
    return lines_moving > 0 and lines_moving >= settings.cancel_share * lines_live


def _gain(batch: Prospects, left_seconds: float, settings: Settings) -> float:
    """What cancelling saves on a line that has to move after `left_seconds`."""
    if left_seconds <= 0:
        return 0.0
    price, done = batch.price_share, batch.done_share
    lead = settings.cancel_lead_seconds
    in_time = 1.0 if left_seconds >= lead else left_seconds / lead
    done_later = min(1.0, done * (batch.age_seconds + left_seconds) / max(batch.age_seconds, 1.0))
    can_wait = left_seconds > lead + settings.cancel_notice_seconds
    late = done_later * price + (1 - done_later) if can_wait else 1 + done_later * price
    kept_chance = batch.chance_kept(left_seconds)
    kept = kept_chance * price + (1 - kept_chance) * late
    anew = batch.chance_anew(left_seconds - lead / 2) if left_seconds > lead / 2 else 0.0
    harvested = done * price + (1 - done) * (anew * price + 1 - anew)
    return kept - (in_time * harvested + (1 - in_time) * (1 + done * price))


def latest_call_at(deadline_at: float, settings: Settings) -> float:
    """The last instant at which a synchronous call for this deadline may start."""
    return deadline_at - settings.service_seconds - settings.margin_seconds

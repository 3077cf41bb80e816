"""What has happened, in words for a person: one sentence per event, by one table. Events that come with every request
have none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from proxy.domain.events import (
    AnyEvent,
    BatchCut,
    BatchSettled,
    BatchSubmitted,
    BatchTierLost,
    LanesLost,
    LanesTaken,
    NativeBatchBooked,
    PolicyReloaded,
    RateLimited,
    ReloadRefused,
    RequestEscalated,
    RequestRejected,
    StepFailed,
    StoreWarned,
    VirtualBatchMoved,
    WasteBooked,
    WebhookCalled,
)

CHARACTERS_MAX = 120
"""Of a word that somebody else makes up: a client, a provider."""


class Level(StrEnum):
    """How much a person should care."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(slots=True)
class Happening:
    """Something that happened. `count` is how often it did in a row, `at` when it did last (unix seconds)."""

    at: float
    level: Level
    text: str
    upstream: str | None = None
    model: str | None = None
    count: int = 1

    def is_like(self, other: "Happening") -> bool:
        """Whether it is the same but for its time."""
        words = (self.level, self.text, self.upstream, self.model)
        return words == (other.level, other.text, other.upstream, other.model)


def describe(event: AnyEvent) -> Happening | None:
    """The event in words; None for one that has none."""
    sentence = _SENTENCES.get(type(event))
    return None if sentence is None else sentence(event)


def short(word: str) -> str:
    """As much of it as is shown."""
    return word if len(word) <= CHARACTERS_MAX else word[: CHARACTERS_MAX - 1] + "…"


def _cut(event: BatchCut) -> Happening:
    return _of_model(event, f"{_many(event.lines, 'request')} cut into a batch ({event.reason})")


def _submitted(event: BatchSubmitted) -> Happening:
    found = ", found in its list after a lost reply" if event.found else ""
    return _of_model(event, f"a batch of {_many(event.lines, 'line')} is at the provider{found}")


def _settled(event: BatchSettled) -> Happening:
    counts = {
        "answered": event.answered,
        "refused": event.refused,
        "missing": event.missing,
        "too late": event.superseded,
    }
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing in it"
    return _of_model(event, f"a batch is {event.outcome} after {_duration(event.turnaround_seconds)}: {said}")


def _escalated(event: RequestEscalated) -> Happening:
    blind = ", its batch line still live" if event.blind else ""
    return _of_model(event, f"a request moved to {event.tier} ({event.reason}{blind})")


def _rate_limited(event: RateLimited) -> Happening:
    return _of_model(event, f"the provider answered 429: no {event.limit} left", Level.WARNING)


def _wasted(event: WasteBooked) -> Happening:
    row = event.row
    text = f"a purchase at {row.tier} delivered nothing ({row.kind}): {_usd(row.paid_usd)}"
    return Happening(row.booked_at, Level.WARNING, text, row.upstream, short(row.model))


def _native(event: NativeBatchBooked) -> Happening:
    row = event.row
    text = f"a batch by a client's own hand has ended: {_usd(row.paid_usd)}"
    return Happening(event.at, Level.INFO, text, row.upstream, short(row.model))


def _rejected(event: RequestRejected) -> Happening:
    return Happening(event.at, Level.INFO, f"a call was refused: {event.status} {short(event.code)}")


def _tier_lost(event: BatchTierLost) -> Happening:
    return Happening(event.at, Level.WARNING, "takes no batches (404 or 405)", event.upstream)


def _step_failed(event: StepFailed) -> Happening:
    return Happening(event.at, Level.WARNING, f"{event.step} failed: {short(event.error)}", event.upstream)


def _virtual(event: VirtualBatchMoved) -> Happening | None:
    """Its beginning and its end; what is between is soon over."""
    if event.status in {"validating", "finalizing", "cancelling"}:
        return None
    if event.status == "in_progress":
        return Happening(event.at, Level.INFO, f"a virtual batch of {event.total} lines has begun")
    level = Level.WARNING if event.status in {"failed", "expired"} else Level.INFO
    text = f"a virtual batch is {event.status}: {event.completed} answered, {event.failed} failed"
    return Happening(event.at, level, text)


def _webhook(event: WebhookCalled) -> Happening | None:
    if not event.error:
        return None
    return Happening(event.at, Level.WARNING, f"a webhook at {short(event.host)} failed: {short(event.error)}")


def _store_warned(event: StoreWarned) -> Happening:
    return Happening(event.at, Level.WARNING, f"the store: {event.warning}")


def _lanes_taken(event: LanesTaken) -> Happening:
    return Happening(event.at, Level.INFO, f"this replica looks after {_lanes(event)}")


def _lanes_lost(event: LanesLost) -> Happening:
    return Happening(event.at, Level.WARNING, f"the store was away: other replicas may look after {_lanes(event)}")


def _reloaded(event: PolicyReloaded) -> Happening:
    return Happening(event.at, Level.INFO, f"the policy was replaced; it has {_many(event.rules, 'rule')}")


def _reload_refused(event: ReloadRefused) -> Happening:
    return Happening(event.at, Level.ERROR, f"an edited policy was refused: {event.error}")


_SENTENCES: Mapping[type[AnyEvent], Callable[[Any], Happening | None]] = {
    BatchCut: _cut,
    BatchSubmitted: _submitted,
    BatchSettled: _settled,
    RequestEscalated: _escalated,
    RateLimited: _rate_limited,
    WasteBooked: _wasted,
    NativeBatchBooked: _native,
    RequestRejected: _rejected,
    BatchTierLost: _tier_lost,
    StepFailed: _step_failed,
    VirtualBatchMoved: _virtual,
    WebhookCalled: _webhook,
    StoreWarned: _store_warned,
    LanesTaken: _lanes_taken,
    LanesLost: _lanes_lost,
    PolicyReloaded: _reloaded,
    ReloadRefused: _reload_refused,
}


def _of_model(
    event: BatchCut | BatchSubmitted | BatchSettled | RequestEscalated | RateLimited,
    text: str,
    level: Level = Level.INFO,
) -> Happening:
    return Happening(event.at, level, text, event.upstream, short(event.model))


def _lanes(event: LanesTaken | LanesLost) -> str:
    names = [short(lane.model) for lane in event.lanes if lane.upstream]
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004  a line's worth
    return (", ".join(names[:3]) + others) or "the house-keeping"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _usd(amount: Decimal | None) -> str:
    return "an unknown amount" if amount is None else f"${amount:f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""When a call at flex is worth an attempt. Flex is the half-priced synchronous tier: slow, and refused with a 429 when
the provider has no capacity to spare. A refusal is not billed, so the attempt costs only the time that it takes.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """How to use the tier.

    - `lead_seconds`: so long before its last chance at the standard tier a waiting request is tried at flex.
    - `least_seconds`: with less time than this until then, a call at flex is not begun any more.
    - `pause_seconds`, `pause_max_seconds`: how long a model is not asked for at flex after a refusal; doubling.
    - `calls_share`: the share of the calls that may be under way at once that may be calls at flex.
    """

    lead_seconds: float = 120.0
    least_seconds: float = 30.0
    pause_seconds: float = 2.0
    pause_max_seconds: float = 300.0
    calls_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("lead_seconds", "least_seconds", "pause_seconds", "pause_max_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: {getattr(self, name)} is not a time; give 0 s or more")
        if self.least_seconds > self.lead_seconds:
            raise ValueError(
                f"least_seconds: {self.least_seconds:g} is more than lead_seconds, {self.lead_seconds:g}, so "
                "flex would never be tried; give less"
            )
        if not 0 < self.calls_share <= 1:
            raise ValueError(f"calls_share: {self.calls_share} is not a share; give more than 0, up to 1, such as 0.5")


class Capacity:
    """What refusals and answers say about one model's flex capacity at one upstream."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusals = 0
        self.asked_again_at = -math.inf
        """Before this instant there is no use in asking."""

    def __repr__(self) -> str:
        return f"<Capacity refusals={self._refusals} asked_again_at={self.asked_again_at:.3f}>"

    def refused(self, now: float) -> None:
        """There was none: wait, twice as long each time."""
        pause = self._settings.pause_seconds * 2.0 ** min(self._refusals, 30)
        self._refusals += 1
        self.asked_again_at = max(self.asked_again_at, now + min(pause, self._settings.pause_max_seconds))

    def served(self) -> None:
        """There is some."""
        self._refusals = 0

    def not_sold(self, now: float, *, for_seconds: float) -> None:
        """The provider does not take such calls at flex at all."""
        self.asked_again_at = max(self.asked_again_at, now + for_seconds)


def may_begin(*, move_at: float, waits_for_batch: bool, now: float, settings: Settings) -> bool:
    """Whether to try a request at flex now that has to move to the standard tier at `move_at`.

    One that waits for a batch is left to it until shortly before; one that does not is tried at once.
    """
    left_seconds = move_at - now
    if left_seconds < settings.least_seconds:
        return False
    return not waits_for_batch or left_seconds <= settings.lead_seconds

"""How long batches take: distributions to choose from, drawn with a seed. Durations are provider seconds."""

import math
from bisect import bisect_right
from dataclasses import dataclass

from proxy.emulator.chance import seeded

HOUR_SECONDS = 3600.0
MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Constant:
    """Every batch takes the same time from create to completed."""

    seconds: float = 480.0


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Independent draws from a log-normal distribution."""

    median_seconds: float = 480.0
    sigma: float = 0.8


@dataclass(frozen=True, slots=True)
class Mixture:
    """Regimes that last for hours: normal, congested, outage (in which nothing finishes before it ends).

    Minutes, log-normal (median, sigma). Normal: 0.8 (8, .8) + 0.2 (60, .9), dwell exp(30 h). Congested: (180, .9),
    dwell exp(3 h). Outage (15 % of the spells that are not normal): dwell (300, .8), then (60, .8). An assumption
    shaped to what is publicly known, not a measurement.
    """

    slowness: float = 1.0
    """Multiplies every draw, not the dwell times."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """No batch ever finishes; a share of the lines is done at once, the rest never."""

    done_share: float = 0.0


Turnaround = Constant | LogNormal | Mixture | Stuck


@dataclass(frozen=True, slots=True)
class Drawn:
    """One batch's fate: seconds from create to completed (may be infinite) and, if so, the share of lines done."""

    seconds: float
    done_share: float = 0.0


def parse(text: str) -> Turnaround:
    """Read `constant:SECONDS`, `lognormal:MEDIAN_SECONDS,SIGMA`, `mixture[:SLOWNESS]` or `stuck[:DONE_SHARE]`.

    Raises ValueError that says what would be right.
    """
    name, _, rest = text.partition(":")
    numbers = [float(part) for part in rest.split(",")] if rest else []
    if name == "constant" and len(numbers) == 1:
        return Constant(numbers[0])
    if name == "lognormal" and len(numbers) == 2:  # noqa: PLR2004 - a median and a sigma
        return LogNormal(numbers[0], numbers[1])
    if name == "mixture" and len(numbers) <= 1:
        return Mixture(*numbers)
    if name == "stuck" and len(numbers) <= 1:
        return Stuck(*numbers)
    raise ValueError(f"{text!r}: give constant:SECONDS, lognormal:MEDIAN,SIGMA, mixture[:SLOWNESS] or stuck[:SHARE]")


@dataclass(frozen=True, slots=True)
class Spell:
    """One stretch of one regime, in provider seconds since the start."""

    regime: str
    ends_at: float


class Turnarounds:
    """Draws fates. The same seed, and the same draws asked in the same order, give the same fates."""

    def __init__(self, chosen: Turnaround, seed: int) -> None:
        self._chosen = chosen
        self._random = seeded("turnaround", seed)
        self._weather = seeded("weather", seed)
        self._spells: list[Spell] = []

    def draw(self, at: float) -> Drawn:
        """Draw the fate of a batch that is created `at` provider seconds after the start."""
        match self._chosen:
            case Constant(seconds):
                return Drawn(seconds)
            case LogNormal(median, sigma):
                return Drawn(self._lognormal(median, sigma))
            case Mixture(slowness):
                return Drawn(self._in_spell(self._spell(at), at) * slowness)
            case Stuck(share):
                return Drawn(math.inf, share)

    def _lognormal(self, median_seconds: float, sigma: float) -> float:
        return median_seconds * math.exp(self._random.gauss(0.0, sigma))

    def _in_spell(self, spell: Spell, at: float) -> float:
        if spell.regime == "congested":
            return self._lognormal(180 * MINUTE_SECONDS, 0.9)
        if spell.regime == "outage":
            return spell.ends_at - at + self._lognormal(60 * MINUTE_SECONDS, 0.8)
        if self._random.random() < 0.8:  # noqa: PLR2004 - the weight given in Mixture
            return self._lognormal(8 * MINUTE_SECONDS, 0.8)
        return self._lognormal(60 * MINUTE_SECONDS, 0.9)

    def _spell(self, at: float) -> Spell:
        while not self._spells or self._spells[-1].ends_at <= at:
            self._spells.append(self._next_spell())
        return self._spells[bisect_right(self._spells, at, key=lambda spell: spell.ends_at)]

    def _next_spell(self) -> Spell:
        start = self._spells[-1].ends_at if self._spells else 0.0
        if not self._spells or self._spells[-1].regime != "normal":
            return Spell("normal", start + self._weather.expovariate(1 / (30 * HOUR_SECONDS)))
        if self._weather.random() < 0.15:  # noqa: PLR2004 - the weight given in Mixture
            return Spell("outage", start + 300 * MINUTE_SECONDS * math.exp(self._weather.gauss(0.0, 0.8)))
        return Spell("congested", start + self._weather.expovariate(1 / (3 * HOUR_SECONDS)))

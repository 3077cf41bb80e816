"""From a trace to what clients ask for: deadlines for requests that have none, and bulk jobs on top.

Recorded traces say when people called, not how long they could have waited. So each request without a deadline of its
own is given one from a mix, seeded: 20 % are interactive, 10 % have 15 minutes, 20 % 1 hour, 20 % 4 hours, 15 % 12
hours, 15 % 24 hours. And because those who could wait did not call such APIs, bulk jobs are added: four a day at
random times, of 1,000 to 6,000 requests each for one of the trace's models, with lengths drawn from the trace's own,
and a deadline of 12 or 24 hours: what a rate limit of one request a second can carry without batches, too.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from random import Random

from proxy.backtest.traces import Row

MIX: tuple[tuple[float | None, float], ...] = (
    (None, 0.20),
    (900.0, 0.10),
    (3600.0, 0.20),
    (14_400.0, 0.20),
    (43_200.0, 0.15),
    (86_400.0, 0.15),
)
"""Seconds until the deadline (None: interactive) and the share of requests that have it."""
BULK_MIX = ((43_200.0, 0.15), (86_400.0, 0.15))
BULK_LINES_MIN, BULK_LINES_MAX = 1_000, 6_000
BULK_SAMPLE = 5_000
"""How many of the trace's first rows bulk jobs take their models and lengths from."""
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is added to a trace. `bulk_per_day` jobs; `mix` False leaves requests without a deadline interactive."""

    seed: int = 1
    mix: bool = True
    bulk_per_day: float = 4.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What has to be known of a trace before it is played."""

    requests: int
    span_seconds: float
    models: tuple[str, ...]
    has_deadlines: bool
    sample: tuple[Row, ...]


def measure(rows: Iterable[Row]) -> Shape:
    """Read a trace once, keeping only a sample."""
    requests, last_at, has_deadlines = 0, 0.0, False
    models: dict[str, None] = {}
    sample: list[Row] = []
    for row in rows:
        requests += 1
        last_at = row.at
        has_deadlines = has_deadlines or row.within_seconds is not None
        models[row.model] = None
        if len(sample) < BULK_SAMPLE:
            sample.append(row)
    return Shape(requests, last_at, tuple(models), has_deadlines, tuple(sample))


def workload(rows: Iterable[Row], shape: Shape, settings: Settings) -> Iterator[Row]:
    """The requests to play, in order. A trace that has deadlines of its own is played as it is."""
    if shape.has_deadlines or not settings.mix:
        return iter(rows)
    mixed, bulk = _mixed(rows, Random(f"mix {settings.seed}")), _bulk(shape, settings)
    return heapq.merge(mixed, bulk, key=attrgetter("at"))


def _mixed(rows: Iterable[Row], random: Random) -> Iterator[Row]:
    waits, weights = [wait for wait, _ in MIX], [share for _, share in MIX]
    rows = iter(rows)
    while chunk := list(islice(rows, 1_000)):
        drawn = random.choices(waits, weights, k=len(chunk))
        yield from (replace(row, within_seconds=wait) for row, wait in zip(chunk, drawn, strict=True))


def _bulk(shape: Shape, settings: Settings) -> Iterator[Row]:
    random = Random(f"bulk {settings.seed}")
    jobs = round(settings.bulk_per_day * shape.span_seconds / DAY_SECONDS)
    by_model = {model: [row for row in shape.sample if row.model == model] for model in shape.models}
    models = [model for model, rows in by_model.items() if rows]
    for at in sorted(random.uniform(0, shape.span_seconds) for _ in range(jobs)):
        lengths = by_model[random.choice(models)]
        (within,) = random.choices([wait for wait, _ in BULK_MIX], [share for _, share in BULK_MIX])
        for _ in range(random.randint(BULK_LINES_MIN, BULK_LINES_MAX)):
            yield replace(random.choice(lengths), at=at, within_seconds=within)

"""What `/metrics` says, as plain data: read from a registry, sent between processes, merged, written out.

Several workers behind one address tell one page. Counters and histograms are added up, and each gauge is combined by
its meaning: what is waiting adds up, of ages the greatest counts, of slacks the least. A worker's counters outlive it:
a sum that went down would read as a restart of all of them, and `rate()` would count everything a second time.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_text
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

LASTING = frozenset({"counter", "histogram"})
"""The types of metrics that only ever grow: what a process has counted stays counted when it is gone."""


class Merge(StrEnum):
    """What several values of one series make together."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"

    def of(self, first: float, second: float) -> float:
        match self:
            case Merge.SUM:
                return first + second
            case Merge.MAX:
                return max(first, second)
            case Merge.MIN:
                return min(first, second)


NOT_SUMMED = {"process_start_time_seconds": Merge.MIN, "standby_build_info": Merge.MAX, "standby_build": Merge.MAX}
"""Families of the registry whose values do not add up; those of the process itself otherwise do."""

Labels = tuple[tuple[str, str], ...]


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """An exemplar: one observation behind a bucket, at an instant in unix seconds."""

    labels: dict[str, str]
    value: float
    at: float


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One line of a page. `name` is the family's with its suffix."""

    name: str
    labels: Labels
    value: float
    mark: Mark | None = None


class Family(msgspec.Struct, frozen=True, array_like=True):
    """A metric with all its series. `kind` is Prometheus's word for its type."""

    name: str
    kind: str
    meaning: str
    merge: Merge
    points: tuple[Point, ...]


Page = tuple[Family, ...]


def read(registry: CollectorRegistry) -> Page:
    """Everything that a registry holds now."""
    return tuple(_family(metric) for metric in registry.collect())


def encode(page: Page) -> bytes:
    """For another process."""
    return msgspec.msgpack.encode(page)


def decode(content: bytes) -> Page:
    """What another process has encoded. Raises `ValueError` for anything else."""
    try:
        return msgspec.msgpack.decode(content, type=Page)
    except msgspec.DecodeError as error:
        raise ValueError(f"no page of metrics: {error}") from error


def lasting(page: Page) -> Page:
    """What stays of a page when its process is gone."""
    return tuple(family for family in page if family.kind in LASTING)


def merge(pages: Sequence[Page]) -> Page:
    """One page of several, in the order of the first that names each series."""
    found: dict[str, list[Family]] = {}
    for page in pages:
        for family in page:
            found.setdefault(family.name, []).append(family)
    return tuple(families[0] if len(families) == 1 else _merged(families) for families in found.values())


def write(page: Page, *, openmetrics: bool) -> tuple[bytes, str]:
    """The exposition and its content type: OpenMetrics, which carries exemplars, or Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Written(page))
    if openmetrics:
        text: bytes = openmetrics_text.generate_latest(registry)  # type: ignore[no-untyped-call]  # not annotated
        return text, openmetrics_text.CONTENT_TYPE_LATEST
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _family(metric: Metric) -> Family:
    points = tuple(
        Point(sample.name, tuple(sample.labels.items()), sample.value, _mark(sample.exemplar))
        for sample in metric.samples
    )
    return Family(metric.name, metric.type, metric.documentation, NOT_SUMMED.get(metric.name, Merge.SUM), points)


def _mark(exemplar: Exemplar | None) -> Mark | None:
    if exemplar is None or exemplar.timestamp is None:
        return None
    return Mark(dict(exemplar.labels), exemplar.value, float(exemplar.timestamp))


def _merged(families: Sequence[Family]) -> Family:
    first = families[0]
    points: dict[tuple[str, Labels], Point] = {}
    for family in families:
        for point in family.points:
            key = point.name, point.labels
            known = points.get(key)
            points[key] = point if known is None else _joined(first.merge, known, point)
    return Family(first.name, first.kind, first.meaning, first.merge, tuple(points.values()))


def _joined(merge: Merge, first: Point, second: Point) -> Point:
    marks = [mark for mark in (first.mark, second.mark) if mark is not None]
    latest = max(marks, key=lambda mark: mark.at, default=None)
    return Point(first.name, first.labels, merge.of(first.value, second.value), latest)


class _Written(Collector):
    """A page in prometheus_client's terms."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def collect(self) -> Iterable[Metric]:
        for family in self._page:
            metric = Metric(family.name, family.meaning, family.kind)
            for point in family.points:
                mark = point.mark
                exemplar = None if mark is None else Exemplar(mark.labels, mark.value, mark.at)
                metric.add_sample(point.name, dict(point.labels), point.value, exemplar=exemplar)
            yield metric

import math
from itertools import permutations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.telemetry.pages import Family, Mark, Merge, Page, Point, decode, encode, lasting, merge, read, write


def worker(requests: int, seconds: tuple[float, ...], waiting: int) -> Page:
    """What a worker that has served so many requests tells."""
    registry = CollectorRegistry()
    counter = Counter("requests_total", "Requests.", ["model"], registry=registry)
    counter.labels("mini").inc(requests)
    histogram = Histogram("took_seconds", "Time.", ["model"], buckets=(1, 5), registry=registry)
    for each in seconds:
        histogram.labels("mini").observe(each, {"request_id": f"req-{each}"})
    Gauge("waiting", "Waiting.", registry=registry).set(waiting)
    return read(registry)


def values(page: Page) -> dict[str, float]:
    return {
        f"{point.name}{''.join(f'|{value}' for _, value in point.labels)}": point.value
        for family in page
        for point in family.points
    }


def test_counters_and_histograms_are_added_up() -> None:
    merged = values(merge([worker(3, (0.5, 2.0), 1), worker(4, (0.25, 9.0), 2)]))
    assert merged == {
        "requests_total|mini": 7,
        "took_seconds_bucket|mini|1.0": 2,
        "took_seconds_bucket|mini|5.0": 3,
        "took_seconds_bucket|mini|+Inf": 4,
        "took_seconds_count|mini": 4,
        "took_seconds_sum|mini": 11.75,
        "waiting": 3,
    }


def test_series_that_only_one_of_them_has_are_kept() -> None:
    first = (Family("a", "counter", "A.", Merge.SUM, (Point("a_total", (("m", "x"),), 1.0),)),)
    second = (
        Family("a", "counter", "A.", Merge.SUM, (Point("a_total", (("m", "y"),), 2.0),)),
        Family("b", "gauge", "B.", Merge.SUM, (Point("b", (), 3.0),)),
    )
    assert values(merge([first, second])) == {"a_total|x": 1, "a_total|y": 2, "b": 3}


@pytest.mark.parametrize(
    ("rule", "expected"), [(Merge.SUM, math.inf), (Merge.MAX, math.inf), (Merge.MIN, -3.0)], ids=str
)
def test_gauges_are_combined_by_their_meaning_in_any_order(rule: Merge, expected: float) -> None:
    pages = [(Family("g", "gauge", "G.", rule, (Point("g", (), value),)),) for value in (-3.0, math.inf, 2.0)]
    for order in permutations(pages):
        assert values(merge(order)) == {"g": expected}


def test_of_two_exemplars_the_later_one_stays() -> None:
    early, late = Mark({"request_id": "a"}, 0.5, at=1.0), Mark({"request_id": "b"}, 0.25, at=2.0)

    def page(mark: Mark | None) -> Page:
        return (Family("h", "histogram", "H.", Merge.SUM, (Point("h_bucket", (("le", "1"),), 1.0, mark),)),)

    for order in permutations([page(early), page(late), page(None)]):
        assert merge(order)[0].points[0].mark == late


def test_what_a_process_has_counted_lasts_and_what_it_had_waiting_does_not() -> None:
    assert {family.name for family in lasting(worker(3, (0.5,), 9))} == {"requests", "took_seconds"}


def test_a_page_comes_over_as_it_was_infinity_and_exemplars_included() -> None:
    page = (*worker(3, (0.5,), 1), Family("g", "gauge", "G.", Merge.MIN, (Point("g", (), math.inf),)))
    assert decode(encode(page)) == page


@pytest.mark.parametrize("content", [b"", b"GET / HTTP/1.1", b"\x93\x01\x02\x03"])
def test_what_is_no_page_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no page of metrics"):
        decode(content)


def test_a_merged_page_is_written_in_both_formats() -> None:
    merged = merge([worker(3, (0.5, 2.0), 1), worker(4, (0.25,), 2)])
    text, content_type = write(merged, openmetrics=False)
    assert content_type.startswith("text/plain")
    assert [family.name for family in parse_text(text.decode())] == ["requests", "took_seconds", "waiting"]
    text, content_type = write(merged, openmetrics=True)
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call]  # prometheus_client's
    marked = [sample.exemplar.labels for sample in families["took_seconds"].samples if sample.exemplar]
    assert marked == [{"request_id": "req-0.25"}, {"request_id": "req-2.0"}]

from collections import Counter
from dataclasses import replace

import pytest

from proxy.backtest.traces import Row
from proxy.backtest.workload import BULK_LINES_MAX, BULK_LINES_MIN, MIX, Settings, measure, workload

DAY = 86_400.0
TRACE = [Row(number * 8.64, "a" if number % 3 else "b", 100 + number % 7, 10) for number in range(20_000)]


def played(settings: Settings, rows: list[Row] = TRACE) -> list[Row]:
    return list(workload(iter(rows), measure(iter(rows)), settings))


def test_a_trace_is_measured_in_one_reading() -> None:
    shape = measure(iter(TRACE))
    assert (shape.requests, shape.span_seconds, shape.models, shape.has_deadlines) == (
        20_000,
        19_999 * 8.64,
        ("b", "a"),
        False,
    )


def test_requests_get_deadlines_in_the_proportions_of_the_mix() -> None:
    rows = played(Settings(bulk_per_day=0))
    assert [row.at for row in rows] == [row.at for row in TRACE]
    counts = Counter(row.within_seconds for row in rows)
    for within, share in MIX:
        assert counts[within] / len(rows) == pytest.approx(share, abs=0.01)


def test_bulk_jobs_are_added_in_order() -> None:
    rows = played(Settings(bulk_per_day=4))
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    jobs = {at: count for at, count in Counter(row.at for row in rows).items() if count > 1}
    assert len(jobs) == 8
    assert all(BULK_LINES_MIN <= count <= BULK_LINES_MAX + 1 for count in jobs.values())
    for at in jobs:
        job = [row for row in rows if row.at == at]
        assert len({(row.model, row.within_seconds) for row in job}) == 1
        assert job[0].within_seconds in {43_200.0, 86_400.0}


def test_a_seed_decides_everything() -> None:
    assert played(Settings(seed=5)) == played(Settings(seed=5))
    assert played(Settings(seed=5)) != played(Settings(seed=6))


def test_a_trace_with_deadlines_of_its_own_is_played_as_it_is() -> None:
    rows = [*TRACE[:10], replace(TRACE[10], within_seconds=60.0)]
    assert played(Settings(), rows) == rows


def test_without_the_mix_nothing_is_added() -> None:
    assert played(Settings(mix=False)) == TRACE

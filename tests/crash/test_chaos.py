"""The short version of `python -m bench.chaos`: kills, pauses and stops at random, under load."""

from pathlib import Path

import pytest

from bench import chaos


@pytest.mark.timeout(180)
@pytest.mark.parametrize("replicas", [1, 3])
def test_whatever_is_killed_under_load_nothing_is_lost_and_the_books_are_right(tmp_path: Path, replicas: int) -> None:
    report = chaos.run(chaos.Plan(seconds=10.0, replicas=replicas, seed=replicas), tmp_path)
    assert report.is_clean, report
    assert report.answered == report.asked > 30
    assert report.disasters.total() >= 2

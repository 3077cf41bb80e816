"""A batch's timetable."""

import math
from contextlib import AbstractContextManager, nullcontext

import pytest

from proxy.emulator.batch import timetable
from proxy.emulator.pace import Pace
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Drawn


class StillClock:
    """It is always 1000."""

    def now(self) -> float:
        return 1000.0

    def monotonic(self) -> float:
        return 1000.0

    async def sleep_until(self, at: float) -> None:
        raise AssertionError(f"nobody sleeps here until {at}")

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


def test_a_short_batch_shortens_its_waiting_too() -> None:
    times = timetable(Settings(), Pace(StillClock(), 1.0), Drawn(4.0), 1000.0, None)
    assert (times.validated_at, times.finalizing_at, times.completed_at) == (1001.0, 1003.0, 1004.0)
    assert times.expires_at == 1000.0 + 86400


@pytest.mark.parametrize(("now", "done"), [(1000, 0), (1003, 0), (1050.5, 5), (1097.9, 9), (1098, 10), (2000, 10)])
def test_lines_are_done_evenly(now: float, done: int) -> None:
    times = timetable(Settings(), Pace(StillClock(), 1.0), Drawn(100.0), 1000.0, None)
    assert times.finished_lines(10, now) == done


def test_a_scale_compresses_everything() -> None:
    times = timetable(Settings(), Pace(StillClock(), 10.0), Drawn(100.0), 1000.0, None)
    assert (times.completed_at, times.expires_at) == (1010.0, 1000.0 + 8640)


def test_a_stuck_batch_keeps_its_share() -> None:
    times = timetable(Settings(), Pace(StillClock(), 1.0), Drawn(math.inf, 0.5), 1000.0, None)
    assert times.finished_lines(10, 5000.0) == 5
    assert times.validated_at == 1003.0

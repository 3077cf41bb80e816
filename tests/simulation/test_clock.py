import asyncio
import threading
import time

import pytest

from proxy.domain.clock import Clock
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run

EPOCH = 1_790_000_000.0


def test_on_a_virtual_loop_now_begins_at_the_start_and_monotonic_at_zero() -> None:
    async def story() -> tuple[float, float]:
        clock: Clock = LoopClock()
        await asyncio.sleep(90)
        return clock.now(), clock.monotonic()

    assert run(story(), start_at=EPOCH) == (EPOCH + 90, 90.0)


def test_an_epoch_of_its_own_replaces_that_of_the_loop() -> None:
    async def story() -> float:
        clock = LoopClock(EPOCH + 5)
        await asyncio.sleep(90)
        return clock.now()

    assert run(story(), start_at=EPOCH) == EPOCH + 95


def test_sleep_until_never_returns_early_and_late_by_less_than_a_microsecond() -> None:
    async def story() -> list[float]:
        clock = LoopClock()
        errors: list[float] = []
        for step in range(1, 2000):
            at = EPOCH + step * 43.210987654321
            await clock.sleep_until(at)
            errors.append(clock.now() - at)
        return errors

    errors = run(story(), start_at=EPOCH)
    assert min(errors) >= 0
    assert max(errors) < 1e-6


def test_a_timer_that_fires_together_with_an_earlier_one_still_wakes_nobody_early() -> None:
    async def story() -> float:
        clock = LoopClock(0.0)
        at = 1.0 + 5e-8

        async def sleeper() -> float:
            await clock.sleep_until(at)
            return clock.now() - at

        _, error = await asyncio.gather(clock.sleep_until(1.0), sleeper())
        return error

    assert run(story(), start_at=EPOCH) >= 0


def test_sleep_until_an_instant_that_has_passed_returns_without_waiting() -> None:
    async def story() -> float:
        clock = LoopClock()
        await clock.sleep_until(EPOCH - 10)
        await clock.sleep_until(EPOCH)
        return clock.now()

    assert run(story(), start_at=EPOCH) == EPOCH


def test_hold_keeps_virtual_time_for_a_thread() -> None:
    async def story() -> float:
        clock = LoopClock()
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def work() -> None:
            time.sleep(0.05)
            loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=work)
        thread.start()
        with clock.hold():
            async with asyncio.timeout(0.001):
                await done.wait()
        thread.join()
        return clock.now()

    assert run(story(), start_at=EPOCH) == EPOCH


def test_on_an_ordinary_loop_it_follows_that_loop_and_hold_does_nothing() -> None:
    async def story() -> float:
        clock = LoopClock(EPOCH)
        with clock.hold():
            began_at = clock.now()
            await clock.sleep_until(began_at + 0.01)
        assert clock.now() == pytest.approx(EPOCH + clock.monotonic(), abs=0.05)
        return clock.now() - began_at

    assert asyncio.run(story()) >= 0.01


def test_outside_a_loop_it_refuses() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        LoopClock(EPOCH).now()

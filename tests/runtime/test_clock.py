import asyncio
import time

from proxy.runtime.clock import SystemClock


def test_it_tells_the_time_of_day_and_sleeps_until_it() -> None:
    async def story() -> None:
        clock = SystemClock()
        assert abs(clock.now() - time.time()) < 1.0  # noqa: TID251  the one thing to compare it with
        target = clock.now() + 0.02
        await clock.sleep_until(target)
        assert clock.now() >= target
        await clock.sleep_until(target - 100)

    asyncio.run(story())


def test_its_elapsed_time_never_runs_backwards() -> None:
    clock = SystemClock()
    with clock.hold():
        assert clock.monotonic() <= clock.monotonic()

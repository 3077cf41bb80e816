import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from proxy.simulation import loop as loop_module
from proxy.simulation.loop import Stuck, VirtualTimeLoop, run

EPOCH = 1_790_000_000.0
HOUR = 3600.0


def running_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def test_a_day_of_sleep_passes_at_once_and_exactly() -> None:
    async def story() -> float:
        await asyncio.sleep(24 * HOUR)
        return asyncio.get_running_loop().time()

    began_at = time.perf_counter()
    assert run(story(), start_at=EPOCH) == 24 * HOUR
    assert time.perf_counter() - began_at < 1


def test_ten_years_pass_and_short_timers_still_fire() -> None:
    async def story() -> float:
        for _ in range(10):
            await asyncio.sleep(365 * 24 * HOUR)
            await asyncio.sleep(1e-9)
            await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time()

    assert run(story(), start_at=EPOCH) == pytest.approx(10 * (365 * 24 * HOUR + 0.25), abs=1e-3)


def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    async def story() -> list[tuple[str, float]]:
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append((name, asyncio.get_running_loop().time()))

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("late", 3 * HOUR), ("early", 60.0), ("middle", HOUR)):
                group.create_task(sleeper(name, seconds))
        return woken

    assert run(story(), start_at=EPOCH) == [("early", 60.0), ("middle", HOUR), ("late", 3 * HOUR)]


def test_asyncio_timeouts_are_virtual() -> None:
    async def story() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HOUR):
                await asyncio.sleep(2 * HOUR)
        return asyncio.get_running_loop().time()

    assert run(story(), start_at=EPOCH) == HOUR


def test_a_day_of_http_calls_between_a_real_server_and_a_real_client_takes_under_two_seconds() -> None:
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(60 if "slow" in request.query else 0)
        return web.Response(body=await request.read())

    async def story() -> tuple[int, list[float]]:
        app = web.Application()
        app.router.add_post("/", answer)
        loop = asyncio.get_running_loop()
        durations: list[float] = []
        async with serving(app) as url, ClientSession() as session:
            while loop.time() < 24 * HOUR:
                asked_at = loop.time()
                query = "?slow" if len(durations) % 4 == 0 else ""
                async with session.post(f"{url}/{query}", data=b"x" * 800) as response:
                    assert await response.read() == b"x" * 800
                durations.append(loop.time() - asked_at)
                await asyncio.sleep(600 - durations[-1])
        return len(durations), durations

    began_at = time.perf_counter()
    calls, durations = run(story(), start_at=EPOCH)
    assert time.perf_counter() - began_at < 2
    assert calls == 144
    assert durations == pytest.approx([60.0 if index % 4 == 0 else 0.0 for index in range(144)], abs=1e-6)


def test_large_bodies_on_many_connections_arrive_before_any_timeout() -> None:
    body = b"z" * 5_000_000

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def story() -> float:
        app = web.Application(client_max_size=len(body) + 1)
        app.router.add_post("/", answer)

        async def call(session: ClientSession, url: str) -> None:
            async with asyncio.timeout(0.001), session.post(url, data=io.BytesIO(body)) as response:
                assert len(await response.read()) == len(body)

        async with serving(app) as url, ClientSession() as session:
            async with asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(call(session, url))
            return asyncio.get_running_loop().time()

    assert run(story(), start_at=EPOCH) == 0.0


def test_a_streamed_answer_arrives_chunk_by_chunk_at_its_own_virtual_instants() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"x")
            await asyncio.sleep(HOUR)
        await response.write_eof()
        return response

    async def story() -> list[float]:
        app = web.Application()
        app.router.add_get("/", stream)
        arrivals: list[float] = []
        async with serving(app) as url, ClientSession() as session, session.get(url, timeout=None) as response:
            async for _ in response.content.iter_any():
                arrivals.append(asyncio.get_running_loop().time())  # noqa: PERF401  the instant of each chunk is the point
        return arrivals

    assert run(story(), start_at=EPOCH) == [0.0, HOUR, 2 * HOUR]


def test_time_stands_still_while_an_executor_thread_works() -> None:
    def work() -> str:
        time.sleep(0.1)
        return "done"

    async def story() -> tuple[str, float, int]:
        async with asyncio.timeout(0.001):
            result = await asyncio.to_thread(work)
        return result, asyncio.get_running_loop().time(), running_loop().held

    assert run(story(), start_at=EPOCH) == ("done", 0.0, 0)


def test_a_failing_executor_job_releases_time() -> None:
    async def story() -> float:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        await asyncio.sleep(HOUR)
        return asyncio.get_running_loop().time()

    assert run(story(), start_at=EPOCH) == HOUR


def test_giving_up_on_an_executor_job_releases_time() -> None:
    may_end = threading.Event()

    async def story() -> float:
        job = asyncio.get_running_loop().run_in_executor(None, may_end.wait)
        job.cancel()
        await asyncio.sleep(HOUR)
        may_end.set()
        return asyncio.get_running_loop().time()

    assert run(story(), start_at=EPOCH) == HOUR


def start_foreign_thread(done: asyncio.Event) -> threading.Thread:
    loop = asyncio.get_running_loop()

    def work() -> None:
        time.sleep(0.1)
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_time_stands_still_while_somebody_holds_for_a_foreign_thread() -> None:
    async def story() -> float:
        done = asyncio.Event()
        thread = start_foreign_thread(done)
        with running_loop().hold():
            async with asyncio.timeout(0.001):
                await done.wait()
        thread.join()
        return asyncio.get_running_loop().time()

    assert run(story(), start_at=EPOCH) == 0.0


def test_without_holding_a_foreign_thread_loses_against_every_timeout() -> None:
    async def story() -> None:
        done = asyncio.Event()
        thread = start_foreign_thread(done)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(24 * HOUR):
                await done.wait()
        thread.join()

    run(story(), start_at=EPOCH)


def test_holds_nest_and_end_with_their_block_even_when_it_raises() -> None:
    async def story() -> None:
        loop = running_loop()
        with loop.hold(), loop.hold():
            assert loop.held == 2
        with pytest.raises(ValueError, match="inside"), loop.hold():
            raise ValueError("inside")
        assert loop.held == 0

    run(story(), start_at=EPOCH)


def test_a_deadlock_is_reported_at_once_with_each_waiting_task_and_its_line() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_nobody(), name="the-waiter")

    with pytest.raises(Stuck, match=r"the-waiter at \S*Event\.wait \(\S*locks\.py:\d+\)") as caught:
        run(story(), start_at=EPOCH)
    assert "__aexit__" in str(caught.value), "the task that waits for the group is named too"


def test_waiting_for_a_timer_while_holding_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "HELD_SECONDS_MAX", 0.05)

    async def story() -> None:
        with running_loop().hold():
            await asyncio.sleep(1)

    with pytest.raises(Stuck, match="held 1 times"):
        run(story(), start_at=EPOCH)


def test_run_returns_the_result_and_raises_what_the_story_raises() -> None:
    async def result() -> str:
        return "the result"

    async def failure() -> None:
        raise ValueError("the failure")

    assert run(result(), start_at=EPOCH) == "the result"
    with pytest.raises(ValueError, match="the failure"):
        run(failure(), start_at=EPOCH)


def test_run_cancels_tasks_that_are_left_over() -> None:
    cancelled: list[str] = []

    async def left_over() -> None:
        try:
            await asyncio.sleep(24 * HOUR)
        except asyncio.CancelledError:
            cancelled.append("left over")
            raise

    async def story() -> None:
        asyncio.get_running_loop().create_task(left_over())
        await asyncio.sleep(1)

    run(story(), start_at=EPOCH)
    assert cancelled == ["left over"]


def test_run_closes_async_generators_and_the_executor() -> None:
    closed: list[str] = []
    threads: list[threading.Thread] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(HOUR)
            closed.append("generator")

    async def story() -> AsyncIterator[int]:
        threads.append(await asyncio.to_thread(threading.current_thread))
        iterator = numbers()
        await anext(iterator)
        return iterator

    iterator = run(story(), start_at=EPOCH)
    assert closed == ["generator"], iterator
    assert not threads[0].is_alive()


def test_the_loop_tells_the_unix_instant_of_its_second_zero() -> None:
    async def story() -> float:
        return running_loop().epoch

    assert run(story(), start_at=EPOCH) == EPOCH

"""A team's day: urgent calls, jobs that can wait, a provider that has its moods, and mistakes.

It is played against a running proxy in front of a running emulator, on any clock: a day of 24 virtual hours, or of a
minute. Whatever a dashboard shows happens in it at least once.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.domain.clock import Clock

DAY_SECONDS = 86_400.0
MINI, LARGE, UNPRICED = "gpt-4o-mini", "gpt-5.5", "gpt-house-special"
REPORT = "Summarize this quarter's report for the board. " * 300
NIGHT_JOBS, HOURLY_JOBS, URGENT_CALLS, BURST, OBSERVED_JOBS = 240, 14, 700, 150, 40
HOPELESS_CALLS = 5
STUCK: dict[str, object] = {"operation": "batch", "kind": "stuck", "state": "in_progress"}
SLOW: dict[str, object] = {"operation": "chat", "kind": "delay", "seconds": 5400}
"""An hour and a half."""
POLICY = Path(__file__).parent / "policy.yaml"
"""Under which it is played."""


@dataclass(frozen=True)
class Team:
    """Who plays the day. `length_seconds` is how long it lasts on the clock. On a bad day the provider
    lets a few deadlines pass, and the night's batches do not come back.
    """

    clock: Clock
    http: aiohttp.ClientSession
    proxy_url: str
    provider_url: str
    length_seconds: float
    is_bad: bool = False

    def seconds(self, hours: float) -> float:
        """So many hours of the day, on the clock."""
        return hours * 3600 * self.length_seconds / DAY_SECONDS

    async def call(self, model: str, text: str, **headers: str) -> int:
        """One chat call to its end; its status, 0 when the connection broke."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        said = {"Authorization": "Bearer sk-team"} | {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.proxy_url}/v1/chat/completions"
        try:
            async with self.http.post(url, json=body, headers=said) as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def defer(self, model: str, text: str, hours: float, **headers: str) -> int:
        """A call that may take so many hours of the day."""
        return await self.call(model, text, X_Deadline=f"{max(1, math.ceil(self.seconds(hours)))}", **headers)

    async def goes_wrong(self, *faults: dict[str, object]) -> None:
        """The provider has a mood."""
        async with self.http.post(f"{self.provider_url}/emulator/faults", json={"faults": list(faults)}) as answer:
            answer.raise_for_status()


async def play(team: Team) -> None:
    """The whole day. Returns when everything that was asked is answered."""
    began_at = team.clock.now()

    async def at(hour: float, what: Callable[[], Awaitable[object]]) -> None:
        await team.clock.sleep_until(began_at + team.seconds(hour))
        await what()

    async with asyncio.TaskGroup() as group:
        for hour, what in _script(team):
            group.create_task(at(hour, what))


def _script(team: Team) -> list[tuple[float, Callable[[], Awaitable[object]]]]:
    script: list[tuple[float, Callable[[], Awaitable[object]]]] = []
    for number in range(URGENT_CALLS):
        hour = 24 * _busy_hours(number / URGENT_CALLS)
        model = LARGE if number % 4 == 0 else MINI
        script.append((hour, _urgent(team, model, number)))
    for hour in range(23):
        script.extend((hour + 0.1 + index / 200, _job(team, hour, index)) for index in range(HOURLY_JOBS))
    script.extend((1.0 + index / 2000, _night_job(team, index)) for index in range(NIGHT_JOBS))
    script.extend((13.0, _job_in_a_hurry(team, index)) for index in range(BURST))
    script.extend((0.1 + index / 4, _observed_job(team, index)) for index in range(OBSERVED_JOBS))
    script.extend((15.0 + index / 5000, _urgent(team, LARGE, index)) for index in range(BURST))
    script.extend((hour, lambda: team.call(UNPRICED, "What is your price?")) for hour in (4.0, 9.0))
    script.extend((hour, lambda: team.call(MINI, "When?", X_Deadline="whenever")) for hour in (6.0, 10.0, 10.1, 17.0))
    script.extend((hour, lambda: _without_key(team)) for hour in (8.0, 8.1, 19.0))
    script.extend(_moods(team))
    if team.is_bad:
        script.append((0.9, lambda: team.goes_wrong({**STUCK, "count": 3})))
        script.append((19.4, lambda: team.goes_wrong({**SLOW, "count": 4 * HOPELESS_CALLS})))
        script.extend((19.5, _hopeless_call(team, index)) for index in range(HOPELESS_CALLS))
    return script


def _moods(team: Team) -> list[tuple[float, Callable[[], Awaitable[object]]]]:
    return [
        (3.0, lambda: team.goes_wrong({"operation": "batch", "kind": "missing_lines", "lines": 3, "count": 2})),
        (5.0, lambda: team.goes_wrong({"operation": "line", "kind": "status", "status": 500, "count": 12})),
        (7.0, lambda: team.goes_wrong({"operation": "chat", "kind": "status", "status": 503, "count": 25})),
        (9.0, lambda: team.goes_wrong({"operation": "get_batch", "kind": "status", "status": 502, "count": 6})),
        (10.9, lambda: team.goes_wrong({**STUCK, "count": 4})),
        (12.0, lambda: team.goes_wrong({"operation": "chat", "kind": "drop_after", "count": 6})),
        (21.9, lambda: team.goes_wrong({**STUCK, "count": 2})),
        (16.0, lambda: team.goes_wrong({"operation": "upload_file", "kind": "status", "status": 500, "count": 3})),
    ]


def _busy_hours(share: float) -> float:
    """Where in the day a call falls: most of them around its middle."""
    return share - 0.12 * math.sin(2 * math.pi * share) / math.pi * 2


def _urgent(team: Team, model: str, number: int) -> Callable[[], Awaitable[object]]:
    return lambda: team.call(model, f"Question {number}: what shall I answer this customer? " * 8)


def _job(team: Team, hour: int, index: int) -> Callable[[], Awaitable[object]]:
    model = LARGE if index % 3 == 0 else MINI
    hours = (1.0, 2.0, 4.0, 8.0)[index % 4]
    return lambda: team.defer(model, f"Document {hour}-{index}. {REPORT}", hours)


def _night_job(team: Team, index: int) -> Callable[[], Awaitable[object]]:
    return lambda: team.defer(MINI if index % 2 else LARGE, f"Evaluation {index}. {REPORT}", 8.0)


def _job_in_a_hurry(team: Team, index: int) -> Callable[[], Awaitable[object]]:
    return lambda: team.defer(LARGE, f"Invoice {index}. {REPORT}", 0.75)


def _observed_job(team: Team, index: int) -> Callable[[], Awaitable[object]]:
    return lambda: team.defer(LARGE, f"Contract {index}. {REPORT}", 12.0, X_Team="careful")


def _hopeless_call(team: Team, index: int) -> Callable[[], Awaitable[object]]:
    return lambda: team.defer(LARGE, f"Right now {index}!", 0.1)


async def _without_key(team: Team) -> None:
    async with team.http.post(f"{team.proxy_url}/v1/chat/completions", json={}) as answer:
        await answer.read()

"""The process kills itself between any two effects, is started again, and must find out what happened.

A short list runs with every test run; all of it by `pytest -m long tests/crash`.
"""

import asyncio
import json
import signal
import sqlite3
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path

import openai
import pytest

from tests.processes import FAST_CONFIG, Running, emulator, serve, stop

REQUESTS = 12
SWEEPING = FAST_CONFIG + "  sweep: 0.5s\n  orphan: 2s\n"
SETTLED_SECONDS = 40.0
DEADLINE = "15s"

BATCHED = [
    *(f"upstream.{name}" for name in ("upload", "create", "retrieve", "delete_file")),
    *("store.accept", "store.BatchPlanned", "store.UploadStarted", "store.Uploaded", "store.BatchCreated"),
    *("store.BatchPolled", "store.BatchEnded", "store.AttemptAnswered", "store.BatchCollected", "store.BatchCleaned"),
    "store.delivered",
]
"""Effects on the way of a request through a batch."""
CANCELLED = ["upstream.cancel", "store.CancelRequested", "store.AttemptMissing"]
"""Effects when half of each batch hangs: it is cancelled and harvested."""
CALLED = ["store.CallPlanned", "upstream.call", "store.AttemptAnswered"]
"""Effects when batches do nothing at all and cannot be cancelled: bought synchronously."""
HANGING = "stuck:0"
MAY_BE_BILLED_TWICE = {"upstream.call.after", "store.AttemptAnswered.before"}
"""A synchronous call has been answered, and nothing has been written down: that it was billed cannot be known."""
QUICK = {
    *("upstream.upload.after", "upstream.create.after", "store.BatchCreated.after", "store.AttemptAnswered.after"),
    *("store.accept.after", "upstream.delete_file.after", "upstream.call.after", "upstream.cancel.after"),
}


@dataclass(frozen=True)
class Kill:
    """Where to die, and in which world."""

    point: str
    turnaround: str

    def __str__(self) -> str:
        return f"{self.point}-{self.turnaround}"


def _kills() -> list[object]:
    kills = [
        *(Kill(f"{name}.{side}", "constant:600") for name in BATCHED for side in ("before", "after")),
        *(Kill(f"{name}.{side}", "stuck:0.5") for name in CANCELLED for side in ("before", "after")),
        *(Kill(f"{name}.{side}", HANGING) for name in CALLED for side in ("before", "after")),
    ]
    return [
        pytest.param(kill, id=str(kill), marks=() if kill.point in QUICK else (pytest.mark.long,)) for kill in kills
    ]


async def _ask(proxy_url: str, n: int) -> str:
    """A stock client with patience: its retries carry on over the restart."""
    async with openai.AsyncOpenAI(base_url=proxy_url + "/v1", api_key="sk-crash", max_retries=20) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": f"crash-{n:03}"}],
            extra_headers={"X-Deadline": DEADLINE},
        )
    return answer.choices[0].message.content or ""


def _page(provider: Running, path: str) -> dict[str, object]:
    with urllib.request.urlopen(provider.url + path) as page:
        shown: dict[str, object] = json.load(page)
        return shown


def _refuse_to_cancel(provider: Running) -> None:
    fault = {"operation": "cancel_batch", "kind": "status", "status": 500, "count": None}
    body = json.dumps({"faults": [fault]}).encode()
    with urllib.request.urlopen(provider.url + "/emulator/faults", data=body) as page:
        assert page.status == HTTPStatus.OK


def _bought(provider: Running, text: str) -> int:
    bodies = _page(provider, f"/emulator/lines?text={text}")["bodies"]
    assert isinstance(bodies, list)
    return sum(int(body["sync"]) + int(body["batch"]) for body in bodies)


def _bill(provider: Running) -> tuple[Decimal, list[object]]:
    """What the provider charged, and the files that it still has."""
    account = _page(provider, "/emulator/account?account=sk-crash")
    total, files = account["total"], account["files"]
    assert isinstance(total, dict)
    assert isinstance(files, list)
    return Decimal(str(total["usd"])), files


def _ledger(folder: Path) -> tuple[Decimal, int]:
    """What the store says was paid, and how many purchases it knows no amount of."""
    with sqlite3.connect(folder / "standby.db") as db:
        paid, unknown = db.execute("SELECT coalesce(sum(paid), 0), sum(paid IS NULL) FROM ledger").fetchone()
    return Decimal(paid) / 10**12, int(unknown or 0)


def _states(folder: Path) -> Sequence[str]:
    with sqlite3.connect(folder / "standby.db") as db:
        return [state for (state,) in db.execute("SELECT state FROM requests")]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kill", _kills())
def test_whatever_step_it_dies_at_nothing_is_lost_and_nothing_bought_twice(tmp_path: Path, kill: Kill) -> None:
    async def story(provider: Running, first: Running) -> tuple[list[str], Running]:
        asking = asyncio.gather(*(_ask(first.url, n) for n in range(REQUESTS)))
        code = await asyncio.to_thread(first.process.wait, 60)
        assert code == -signal.SIGKILL, f"{kill.point} was not reached"
        again = await asyncio.to_thread(serve, tmp_path, provider, "--port", str(first.port), config=SWEEPING)
        return await asking, again

    with emulator(tmp_path, "--turnaround", kill.turnaround) as provider:
        if kill.turnaround == HANGING:
            _refuse_to_cancel(provider)
        environ = {"STANDBY_FAILPOINT": kill.point}
        first = serve(tmp_path, provider, "--port", "0", config=SWEEPING, environ=environ)
        answers, again = asyncio.run(story(provider, first))
        try:
            assert all(answer.startswith(f"echo: crash-{n:03}") for n, answer in enumerate(answers))
            assert set(_states(tmp_path)) == {"done"}
            assert kill.turnaround == HANGING or asyncio.run(_files_are_gone(provider))
            bought = [_bought(provider, f"crash-{n:03}") for n in range(REQUESTS)]
            paid, unknown = _ledger(tmp_path)
            if kill.point in MAY_BE_BILLED_TWICE and kill.turnaround == HANGING:
                assert sum(bought) <= REQUESTS + unknown
            else:
                assert bought == [1] * REQUESTS
                assert paid == _bill(provider)[0]
        finally:
            assert stop(again) == 0
            assert first.process.stdout is not None
            first.process.stdout.close()


async def _files_are_gone(provider: Running) -> bool:
    for _ in range(int(SETTLED_SECONDS / 0.25)):
        if not _bill(provider)[1]:
            return True
        await asyncio.sleep(0.25)
    return False

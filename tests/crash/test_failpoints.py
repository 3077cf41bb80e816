"""The process kills itself between any two effects, is started again, and must find out what happened.

A short list runs with every test run; all of it by `pytest -m long tests/crash`.
"""

import asyncio
import json
import signal
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path

import openai
import pytest

from proxy.config.settings import StoreSettings
from proxy.domain.money import Purchase
from proxy.domain.request import RequestState
from proxy.runtime.clock import SystemClock
from proxy.runtime.parts import build_store
from tests.processes import FAST_CONFIG, Running, emulator, serve, stop
from tests.redis_server import RedisServer, binaries

REQUESTS = 12
SWEEPING = FAST_CONFIG + "  sweep: 0.5s\n  orphan: 2s\nstore: {replicas: {lease: 1.5s, share: 0.3s}}\n"
SETTLED_SECONDS = 40.0
DEADLINE = "15s"

BATCHED = [
    *(f"upstream.{name}" for name in ("upload", "create", "retrieve", "delete_file")),
    *("store.accept", "store.BatchPlanned", "store.UploadStarted", "store.Uploaded", "store.BatchCreated"),
    *("store.BatchPolled", "store.BatchEnded", "store.AttemptAnswered", "store.BatchCollected", "store.BatchCleaned"),
    "store.delivered",
]
"""Effects on the way of a request through a batch."""
CANCELLED = ["upstream.cancel", "store.CancelRequested"]
"""Effects when half of each batch hangs: it is cancelled and harvested."""
MISSING = ["store.AttemptMissing"]
"""Effects when the first batch is never validated: it is cancelled, and none of its lines was run."""
UNSURE = ["store.InputRevoked", "store.ProvedAbsent"]
"""Effects when the creation of the first batch is lost on its way."""
CALLED = ["store.CallPlanned", "upstream.call", "store.AttemptAnswered"]
"""Effects when batches do nothing at all and cannot be cancelled: bought synchronously."""
REFUSED = ["store.AttemptRefused"]
"""Effects when some lines of the first batch fail at the provider."""
UNSENT = ["store.UploadLost"]
"""Effects when the first upload is refused."""
UNSOLD = ["store.BatchAbandoned"]
"""Effects when the provider says that it knows no batches."""
LATE = ["store.AttemptSuperseded"]
"""Effects when batches bring their answers after those have been bought synchronously."""
BROKEN = ["store.AttemptLost"]
"""Effects when the connections of synchronous calls break."""
HANGING = "stuck:0"
HALF_STUCK = "stuck:0.5"
UNVALIDATED = "constant:60"
LOST = "constant:61"
FAILING = "constant:62"
UPLOAD_REFUSED = "constant:63"
NO_BATCHES = "constant:64"
TOO_LATE = "constant:12000"
HANGING_UP = "stuck:0.0"
UNCANCELLABLE = {"operation": "cancel_batch", "kind": "status", "status": 500, "count": None}
FAULTS: dict[str, tuple[dict[str, object], ...]] = {
    LOST: ({"operation": "create_batch", "kind": "drop_before"},),
    HANGING: (UNCANCELLABLE,),
    UNVALIDATED: ({"operation": "batch", "kind": "stuck", "state": "validating"},),
    FAILING: ({"operation": "line", "kind": "status", "status": 500, "count": 3},),
    UPLOAD_REFUSED: ({"operation": "upload_file", "kind": "status", "status": 503},),
    NO_BATCHES: ({"operation": "create_batch", "kind": "status", "status": 404},),
    TOO_LATE: (UNCANCELLABLE,),
    HANGING_UP: (UNCANCELLABLE, {"operation": "chat", "kind": "drop_after", "count": 3}),
}
"""What goes wrong at the provider, by its turnaround."""
MAY_BE_BILLED_TWICE = {"upstream.call.after", "store.AttemptAnswered.before", "store.AttemptAnswered.after"}
"""Synchronous calls have been answered, and not all of that is written down: that they were billed cannot be known."""
BUYS_TWICE = {HALF_STUCK, TOO_LATE}
"""Where the kill may cost the time in which a batch was to be harvested, and where a batch is late in any case."""
HANGS = {HANGING, HANGING_UP}
"""Where the batch, and its files, stay at the provider for as long as a test lasts."""
QUICK = {
    *("upstream.upload.after", "upstream.create.after", "store.BatchCreated.after", "store.AttemptAnswered.after"),
    *("store.accept.after", "upstream.delete_file.after", "upstream.call.after", "upstream.cancel.after"),
}
SLOW = {HANGING, HALF_STUCK}
"""What takes until the deadline: one kill of each is quick enough."""
QUICK_AND_SLOW = {"upstream.call.after", "upstream.cancel.after"}
QUICK_ON_REDIS = {"upstream.create.after", "store.AttemptAnswered.after"}


@dataclass(frozen=True)
class Kill:
    """Where to die, and in which world."""

    point: str
    turnaround: str
    store: str = "sqlite"

    def __str__(self) -> str:
        return f"{self.point}-{self.turnaround}-{self.store}"

    @property
    def is_quick(self) -> bool:
        if self.turnaround in SLOW and self.point not in QUICK_AND_SLOW:
            return False
        return self.point in (QUICK if self.store == "sqlite" else QUICK_ON_REDIS)


def _kills() -> list[object]:
    on_sqlite = [
        *(Kill(f"{name}.{side}", "constant:600") for name in BATCHED for side in ("before", "after")),
        *(Kill(f"{name}.{side}", HALF_STUCK) for name in CANCELLED for side in ("before", "after")),
        *(Kill(f"{name}.{side}", UNVALIDATED) for name in MISSING for side in ("before", "after")),
        *(Kill(f"{name}.{side}", LOST) for name in UNSURE for side in ("before", "after")),
        *(Kill(f"{name}.{side}", HANGING) for name in CALLED for side in ("before", "after")),
        *(Kill(f"{name}.{side}", FAILING) for name in REFUSED for side in ("before", "after")),
        *(Kill(f"{name}.{side}", UPLOAD_REFUSED) for name in UNSENT for side in ("before", "after")),
        *(Kill(f"{name}.{side}", NO_BATCHES) for name in UNSOLD for side in ("before", "after")),
        *(Kill(f"{name}.{side}", TOO_LATE) for name in LATE for side in ("before", "after")),
        *(Kill(f"{name}.{side}", HANGING_UP) for name in BROKEN for side in ("before", "after")),
    ]
    kills = [replace(kill, store=store) for store in ("sqlite", "valkey") for kill in on_sqlite]
    return [pytest.param(kill, id=str(kill), marks=() if kill.is_quick else (pytest.mark.long,)) for kill in kills]


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


def _go_wrong(provider: Running, faults: tuple[dict[str, object], ...]) -> None:
    body = json.dumps({"faults": faults}).encode()
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


@dataclass(frozen=True)
class Books:
    """What the store says: what became of the requests, what was paid, and for how many purchases too many."""

    states: set[RequestState]
    paid: Decimal
    duplicates: int
    unknown: int


async def _books(url: str, folder: Path) -> Books:
    path = folder / url.removeprefix("sqlite:")
    store = build_store(StoreSettings(f"sqlite:{path}" if url.startswith("sqlite") else url), SystemClock())
    await store.start()
    try:
        views = await store.list_requests(None, after=None, limit=10 * REQUESTS)
        totals = await store.ledger(since=0.0, until=SystemClock().now() + 1)
    finally:
        await store.close()
    return Books(
        states={view.state for view in views},
        paid=sum((total.paid_usd for total in totals), Decimal(0)),
        duplicates=sum(total.rows for total in totals if total.kind is Purchase.DUPLICATE),
        unknown=sum(total.unknown_paid for total in totals),
    )


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kill", _kills())
def test_whatever_step_it_dies_at_nothing_is_lost_and_nothing_bought_twice(tmp_path: Path, kill: Kill) -> None:
    with ExitStack() as stack:
        store = "sqlite:standby.db"
        if kill.store != "sqlite":
            server = RedisServer(binaries()[kill.store], tmp_path / "redis")
            server.start()
            stack.callback(server.kill)
            store = server.url
        _die_and_be_judged(tmp_path, kill, store)


def _die_and_be_judged(tmp_path: Path, kill: Kill, store: str) -> None:
    options = ("--store", store)

    async def story(provider: Running, first: Running) -> tuple[list[str], Running]:
        asking = asyncio.gather(*(_ask(first.url, n) for n in range(REQUESTS)))
        code = await asyncio.to_thread(first.process.wait, 60)
        assert code == -signal.SIGKILL, f"{kill.point} was not reached"
        again = await asyncio.to_thread(serve, tmp_path, provider, "--port", str(first.port), *options, config=SWEEPING)
        return await asking, again

    with emulator(tmp_path, "--turnaround", kill.turnaround) as provider:
        if kill.turnaround in FAULTS:
            _go_wrong(provider, FAULTS[kill.turnaround])
        environ = {"STANDBY_FAILPOINT": kill.point}
        first = serve(tmp_path, provider, "--port", "0", *options, config=SWEEPING, environ=environ)
        answers, again = asyncio.run(story(provider, first))
        try:
            assert all(answer.startswith(f"echo: crash-{n:03}") for n, answer in enumerate(answers))
            assert kill.turnaround in HANGS or asyncio.run(_files_are_gone(provider))
        finally:
            assert stop(again) == 0
            assert first.process.stdout is not None
            first.process.stdout.close()
        books = asyncio.run(_books(store, tmp_path))
        assert books.states == {RequestState.DONE}
        bought = sum(_bought(provider, f"crash-{n:03}") for n in range(REQUESTS))
        if kill.turnaround == HANGING_UP or (kill.point in MAY_BE_BILLED_TWICE and kill.turnaround == HANGING):
            assert bought <= REQUESTS + books.unknown
            return
        assert bought == REQUESTS + books.duplicates
        assert books.paid == _bill(provider)[0]
        assert books.duplicates == 0 or kill.turnaround in BUYS_TWICE


async def _files_are_gone(provider: Running) -> bool:
    for _ in range(int(SETTLED_SECONDS / 0.25)):
        if not _bill(provider)[1]:
            return True
        await asyncio.sleep(0.25)
    return False

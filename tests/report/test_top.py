import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from proxy.batching.waitlist import Waitlist
from proxy.domain.ids import CredentialId
from proxy.domain.moves import BatchPolled
from proxy.domain.request import Queue
from proxy.report.top import ROWS_MAX, frame, take_look, top
from proxy.report.view import View
from proxy.runtime.clock import SystemClock
from proxy.store.interface import Store
from proxy.store.sqlite import SqliteStore
from tests.report.conftest import NOW, Scene, row
from tests.store.samples import UPSTREAM, accepted, in_flight, request

LEAVE_SCREEN, SHOW_CURSOR = b"\x1b[?1049l", b"\x1b[?25h"


async def _fill(store: Store) -> None:
    made, _ = await in_flight(store, request("req-flies", accepted_at=NOW - 60, deadline_at=NOW + 600))
    await store.apply([BatchPolled(made.id, NOW, "in_progress", 1, 0, due_at=NOW)])
    await accepted(store, *(request(f"req-{n}", accepted_at=NOW - 30, deadline_at=NOW + 3600 + n) for n in range(9)))
    other = Queue(UPSTREAM, CredentialId("cred"), "/v1/responses", "gpt-4.1")
    await accepted(store, request("req-other", queue=other, accepted_at=NOW - 7200, deadline_at=NOW - 60))


def _once(scene: Scene) -> str:
    told = scene.tell(lambda view: top(view, once=True))
    assert told.code == 0
    return told.text


def test_a_frame_has_the_money_the_queues_the_batches_and_the_deadlines(scene: Scene) -> None:
    scene.fill = _fill
    scene.rows = [row(paid="1", listed="2", deadline_at=NOW), row(at=NOW - 13 * 3600, paid="70", listed="70")]
    said = _once(scene)
    assert "2027-01-15 12:00:00 (UTC)" in said
    assert re.search(r"today +1 +\$2\.0000 +\$1\.0000 +\$1\.0000 +50\.0 % +0 of 1", said)
    assert re.search(r"gpt-4\.1 +openai +1 +0 +0 +0 +2h +-1m", said)
    assert re.search(r"gpt-4o-mini +openai +9 +0 +1 +0 +1m +10m", said)
    assert re.search(r"in_flight +in_progress +━+ +1/1", said)
    assert said.index("req-other") < said.index("req-flies") < said.index("req-0")


def test_a_long_list_is_cut_and_says_so(scene: Scene) -> None:
    async def fill(store: Store) -> None:
        for number in range(ROWS_MAX + 2):
            await in_flight(store, request(f"req-{number}"))

    scene.fill = fill
    assert f"Open batches, {ROWS_MAX} of {ROWS_MAX + 2}" in _once(scene)


def test_an_empty_store_has_nothing_to_show_and_says_that(scene: Scene) -> None:
    said = _once(scene)
    for title in ("Waiting: none", "Open batches: none", "Next deadlines: none"):
        assert title in said


def test_a_narrow_terminal_is_enough(scene: Scene) -> None:
    scene.fill = _fill
    for scene.width in (40, 60, 79):
        assert max(len(line) for line in _once(scene).splitlines()) <= scene.width


def test_what_was_not_to_be_read_is_said_above_what_was_read_last(scene: Scene) -> None:
    async def show(view: View) -> int:
        view.console.print(frame(view, await take_look(view, Waitlist(view.reader)), "the store cannot be reached"))
        return 0

    said = scene.tell(show).text
    assert said.index("the store cannot be reached") < said.index("Bought today")


def test_a_look_follows_what_changes(scene: Scene) -> None:
    async def show(view: View) -> int:
        waitlist = Waitlist(view.reader)
        before = await take_look(view, waitlist)
        store = view.reader
        assert isinstance(store, SqliteStore)
        await accepted(store, request("req-new"))
        after = await take_look(view, waitlist)
        assert (len(before.next_up), [one.id for one in after.next_up]) == (0, ["req-new"])
        return 0

    scene.tell(show)


def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    async def make() -> None:
        store = SqliteStore(tmp_path / "standby.db", SystemClock())
        await store.start()
        await accepted(store, request("req-shown"))
        await store.close()

    asyncio.run(make())
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "proxy", "top"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        shown = _read(ours, until=b"req-shown")
        assert LEAVE_SCREEN not in shown
        process.send_signal(signal.SIGINT)
        rest = _read(ours, until=SHOW_CURSOR, before=shown)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        os.close(ours)
    assert LEAVE_SCREEN in rest
    assert b"Traceback" not in rest


def _read(terminal: int, *, until: bytes, before: bytes = b"", seconds: float = 30.0) -> bytes:
    """What appears on a terminal, until something is among it."""
    read = b""
    give_up_at = time.monotonic() + seconds
    while until not in read:
        assert time.monotonic() < give_up_at, before + read
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                read += os.read(terminal, 65_536)
            except OSError:  # the other end is closed
                break
    return read

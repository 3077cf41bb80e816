"""A whole run at debug: nothing that is logged, by us or by a library, holds a prompt, an answer or a key."""

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from proxy.config.settings import UpstreamSettings
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import Constant
from proxy.telemetry.logs import Logs, configure
from tests.world import MINUTE, World, gather, play

KEYS = ("sk-provider-secret-1", "sk-client-secret-2", "operator-secret-of-this-proxy")
PROMPT = "prompt-that-nobody-may-read"
ENVIRON = {"STANDBY_OPERATOR_KEY": KEYS[2], "PROVIDER_KEY": KEYS[0]}


@pytest.fixture(autouse=True)
def _standard_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def everything(world: World) -> None:
    """Urgent, streamed, deferred, escalated, refused, wrong in every way, and looked at."""
    asyncio.get_running_loop().slow_callback_duration = 60.0
    bearer = {"Authorization": f"Bearer {KEYS[1]}"}
    await gather(
        world.ask(PROMPT, key=KEYS[1]),
        world.ask(PROMPT, key=KEYS[1], stream=True),
        world.ask(PROMPT, key=KEYS[1], deadline="4h"),
        world.ask(PROMPT, key=KEYS[1], deadline="12m"),
        world.ask(PROMPT, key=KEYS[1], deadline="whenever"),
        world.ask(PROMPT, key=KEYS[1], deadline="4h", n="many"),
    )
    accepted = await world.ask(PROMPT, key=KEYS[1], deadline="4h", headers={"Prefer": "respond-async"})
    await world.send("DELETE", accepted.headers["Location"], headers=bearer)
    await world.send("GET", "/operator/overview", headers=bearer)
    await world.send("GET", "/operator/overview", headers={"api-key": KEYS[2]})
    await world.send("POST", "/v1/files", headers=bearer, json_body={PROMPT: 1})
    await world.settled()


@pytest.mark.parametrize("line_format", ["console", "json"])
@pytest.mark.parametrize("configured", [True, False])
def test_a_whole_run_at_debug_logs_no_prompt_no_answer_and_no_key(
    tmp_path: Path, line_format: Literal["console", "json"], *, configured: bool
) -> None:
    stream = io.StringIO()

    async def story(world: World) -> None:
        configure("debug", line_format, stream)
        world.service.announcer.connect(Logs().listen)
        await everything(world)

    play(
        tmp_path,
        story,
        emulator=EmulatorSettings(turnaround=Constant(20 * MINUTE), latency_seconds=1.0),
        faults=(
            Fault(operation="create_batch", kind=FaultKind.STATUS, status=503, count=1),
            Fault(operation="chat", kind=FaultKind.STATUS, status=503, count=2),
        ),
        upstream=UpstreamSettings(api_key_env="PROVIDER_KEY" if configured else None),
        environ=ENVIRON,
    )
    logged = stream.getvalue()
    for word in ("request.decided", "request.accepted", "batch.submitted", "request.finished", "request.escalated"):
        assert word in logged
    for secret in (*KEYS, *(key[-8:] for key in KEYS), PROMPT):
        assert secret not in logged

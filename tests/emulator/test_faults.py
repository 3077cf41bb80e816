"""Injected faults: each kind, over real connections, and the control routes that order them."""

import json
from typing import Any

import aiohttp
import pytest

from proxy.emulator.faults import Fault, FaultKind, Faults, fault_from


async def read_into(got: bytearray, response: aiohttp.ClientResponse) -> None:
    async for piece in response.content.iter_any():
        got += piece


def test_a_status_fault_strikes_so_often_and_does_nothing_else(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("chat", "status", status=503, count=2)
        assert [(await site.chat()).status for _ in range(3)] == [503, 503, 200]
        account = await site.emulator.account()
        assert account["total"]["requests"] == 1
        assert account["routes"]["chat"] == {"200": 1, "503": 2}

    play(story)


def test_a_status_fault_can_say_when_to_come_again(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("chat", "status", status=429, seconds=90)
        got = await site.chat()
        assert (got.status, got.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert got.headers["retry-after"] == "9"
        await site.fault("chat", "status", status=404)
        assert "retry-after" not in (await site.chat()).headers
        assert (await site.call("POST", "/emulator/faults", {"fault": []})).status == 400

    play(story, time_scale=10.0)


def test_a_fault_can_be_marked_and_repeat_for_ever(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("chat", "status", status=500, marker="poison", count=None)
        assert (await site.chat("poison")).status == 500
        assert (await site.chat("honey")).status == 200
        assert (await site.chat("more poison")).status == 500
        await site.call("DELETE", "/emulator/faults")
        assert (await site.chat("poison")).status == 200

    play(story)


def test_a_connection_dropped_before_leaves_nothing_done(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("upload_file", "drop_before")
        with pytest.raises(aiohttp.ClientError):
            await site.upload(b"x")
        assert (await site.emulator.account())["files"] == []
        assert (await site.emulator.account())["routes"]["upload_file"] == {"0": 1}

    play(story)


def test_a_connection_dropped_after_has_done_it_all(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        file_id = (await site.upload([line("a")])).json["id"]
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        await site.fault("create_batch", "drop_after")
        with pytest.raises(aiohttp.ClientError):
            await site.call("POST", "/v1/batches", body)
        (batch,) = (await site.call("GET", "/v1/batches")).json["data"]
        assert batch["input_file_id"] == file_id
        await site.fault("chat", "drop_after")
        with pytest.raises(aiohttp.ClientError):
            await site.chat("lost answer")
        bought = await site.emulator.lines("lost answer")
        assert [entry["sync"] for entry in bought["bodies"]] == [1]

    play(story)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_truncated_answer_breaks_off_in_the_middle(play: Any, streamed: bool) -> None:  # noqa: FBT001 - parameter
    async def story(site: Any) -> None:
        await site.fault("chat", "truncate")
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 500}], "stream": streamed}
        headers = {"Authorization": "Bearer sk-test"}
        got = bytearray()
        async with site.session.post(f"{site.url}/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await read_into(got, response)
        assert len(got) > 0
        assert b"[DONE]" not in got
        if not streamed:
            with pytest.raises(json.JSONDecodeError):
                json.loads(got)

    play(story)


def test_a_truncated_download_breaks_off_in_the_middle(play: Any) -> None:
    async def story(site: Any) -> None:
        file_id = (await site.upload(b"x" * 100_000)).json["id"]
        await site.fault("download", "truncate")
        with pytest.raises(aiohttp.ClientError):
            await site.call("GET", f"/v1/files/{file_id}/content")
        await site.fault("download", "drop_after", count=2)  # aiohttp repeats a GET once by itself
        with pytest.raises(aiohttp.ClientError):
            await site.call("GET", f"/v1/files/{file_id}/content")
        assert len((await site.call("GET", f"/v1/files/{file_id}/content")).raw) == 100_000

    play(story)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_trickles_is_whole_in_the_end(play: Any, streamed: bool) -> None:  # noqa: FBT001 - parameter
    async def story(site: Any) -> None:
        await site.fault("chat", "trickle", seconds=300)
        started = site.clock.at
        got = await site.chat("slow", stream=streamed)
        assert got.status == 200
        assert b"echo: slow" in got.raw if not streamed else got.raw.endswith(b"data: [DONE]\n\n")
        assert site.clock.at - started >= 290

    play(story)


def test_a_download_that_trickles_is_whole_in_the_end(play: Any) -> None:
    async def story(site: Any) -> None:
        file_id = (await site.upload(b"x" * 100_000)).json["id"]
        await site.fault("download", "trickle", seconds=600)
        started = site.clock.at
        assert len((await site.call("GET", f"/v1/files/{file_id}/content")).raw) == 100_000
        assert 590 <= site.clock.at - started <= 700

    play(story)


def test_a_delay_takes_provider_seconds(play: Any) -> None:
    async def story(site: Any) -> None:
        started = site.clock.at
        await site.fault("list_batches", "delay", seconds=120)
        assert (await site.call("GET", "/v1/batches")).status == 200
        assert site.clock.at - started == 2.0

    play(story, time_scale=60.0)


def test_a_hidden_batch_appears_later(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("batch", "hidden", seconds=30)
        batch = await site.batch([line("a")])
        assert (await site.call("GET", f"/v1/batches/{batch['id']}")).status == 404
        assert (await site.call("GET", "/v1/batches")).json["data"] == []
        assert (await site.look(batch, after=30))["id"] == batch["id"]
        assert len((await site.call("GET", "/v1/batches")).json["data"]) == 1

    play(story)


def test_late_output_is_null_for_a_while_after_completed(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("batch", "late_output", seconds=20)
        batch = await site.look(await site.batch([line("a")]), after=480)
        assert (batch["status"], batch["output_file_id"]) == ("completed", None)
        batch = await site.look(batch, after=20)
        assert len(await site.lines_of(batch["output_file_id"])) == 1

    play(story)


def test_an_error_file_id_can_be_an_empty_string(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("batch", "empty_error_file_id")
        batch = await site.look(await site.batch([line("a")]), after=480)
        assert (batch["status"], batch["error_file_id"]) == ("completed", "")

    play(story)


def test_output_lines_can_be_missing_doubled_or_unknown_and_are_billed_as_they_were_bought(
    play: Any, line: Any
) -> None:
    async def story(site: Any) -> None:
        for kind, lines in (("missing_lines", 2), ("duplicated_lines", 1), ("unknown_lines", 3)):
            await site.fault("batch", kind, lines=lines)
        batch = await site.look(await site.batch([line(f"c{n}") for n in range(10)]), after=480)
        assert batch["request_counts"]["completed"] == 10
        found = [entry["custom_id"] for entry in await site.lines_of(batch["output_file_id"])]
        ours = [custom_id for custom_id in found if custom_id.startswith("c")]
        assert len(set(ours)) == 8
        assert len(ours) == 9
        assert len(found) - len(ours) == 3
        assert (await site.emulator.account())["tiers"]["batch"]["requests"] == 10

    play(story)


@pytest.mark.parametrize("state", ["validating", "in_progress", "finalizing"])
def test_a_batch_can_be_stuck_in_a_state_until_it_expires(play: Any, line: Any, state: str) -> None:
    async def story(site: Any) -> None:
        await site.fault("batch", "stuck", state=state)
        batch = await site.look(await site.batch([line("a")]), after=86399)
        assert batch["status"] == state
        batch = await site.look(batch, after=1)
        assert batch["status"] == "expired"
        assert (batch["output_file_id"] is not None) == (state == "finalizing")

    play(story)


def test_marked_lines_fail_into_the_error_file_unbilled(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("line", "status", status=500, marker="poison", count=None)
        lines = [line("a", "poison"), line("b", "honey"), line("c", "poison")]
        batch = await site.look(await site.batch(lines), after=480)
        assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
        errors = await site.lines_of(batch["error_file_id"])
        assert {entry["custom_id"] for entry in errors} == {"a", "c"}
        assert {entry["response"]["status_code"] for entry in errors} == {500}
        assert (await site.emulator.account())["tiers"]["batch"]["requests"] == 1

    play(story)


def test_faults_are_listed_with_what_is_left(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.fault("chat", "status", count=2)
        await site.chat()
        (left,) = (await site.call("GET", "/emulator/faults")).json["faults"]
        assert (left["operation"], left["kind"], left["count"]) == ("chat", "status", 1)

    play(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "dance", "kind": "status"},
        {"operation": "chat", "kind": "explode"},
        {"operation": "chat", "kind": "hidden"},
        {"operation": "batch", "kind": "status"},
        {"operation": "line", "kind": "delay"},
        {"operation": "chat", "kind": "status", "count": 0},
        {"operation": "chat", "kind": "status", "probability": 2},
        {"operation": "chat", "kind": "status", "often": True},
        {"operation": "batch", "kind": "stuck", "state": "completed"},
        {"kind": "status"},
        "chat",
    ],
)
def test_a_wrong_fault_is_refused_and_none_is_added(play: Any, wrong: object) -> None:
    async def story(site: Any) -> None:
        good = {"operation": "chat", "kind": "status"}
        got = await site.call("POST", "/emulator/faults", {"faults": [good, wrong]})
        assert got.status == 400
        assert (await site.call("GET", "/emulator/faults")).json == {"faults": []}

    play(story)
    with pytest.raises(ValueError, match=r"\w"):
        fault_from(wrong)


def test_probability_is_seeded() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults([Fault(operation="chat", kind=FaultKind.STATUS, count=None, probability=0.3)], seed)
        return [faults.draw("chat") is not None for _ in range(200)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 30 < sum(strikes(1)) < 90

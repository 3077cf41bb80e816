"""Virtual batches: Standby serves `/v1/files` and `/v1/batches` itself, in front of an upstream without a Batch API."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.answer import Answer
from proxy.domain.events import RequestEscalated, RequestFinished, StepFailed, VirtualBatchMoved
from proxy.domain.ids import RequestId, TenantId
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.serving import serving
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.server.auth import ProxyKey
from proxy.server.settings import VirtualSettings
from proxy.server.virtual_files import FILE
from proxy.simulation.clock import LoopClock
from proxy.simulation.loop import run
from proxy.upstream.costmap import read_cost_map
from tests.conftest import Servers
from tests.world import HOUR, MINUTE, MODEL, MONDAY_NOON, Json, Reply, World, living, play

VIRTUAL = VirtualSettings(enabled=True)
OWN_MACHINE = UpstreamSettings(batch=False, flex=False, capacity=3)
TEN_SECONDS = EmulatorSettings(latency_seconds=10.0)
ALICE, BOB = {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer sk-bob"}
CHAT = "/v1/chat/completions"
ENDED = {"completed", "failed", "expired", "cancelled"}


def line(custom_id: str, text: str, **changes: object) -> Json:
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body} | changes


def jsonl(lines: Sequence[Json]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def simple(count: int) -> bytes:
    return jsonl([line(f"line-{number}", f"text {number}") for number in range(count)])


async def upload(
    world: World,
    content: bytes,
    *,
    headers: Mapping[str, str] = ALICE,
    purpose: str = "batch",
    name: str = "mine.jsonl",
) -> Reply:
    form = aiohttp.FormData()
    form.add_field("purpose", purpose)
    form.add_field("file", content, filename=name)
    async with world.http.post(world.service.url + "/v1/files", data=form, headers=headers) as response:
        return Reply(response.status, response.headers, await response.read(), world.now)


async def create(world: World, content: bytes, *, headers: Mapping[str, str] = ALICE, **changes: object) -> Reply:
    file = await upload(world, content, headers=headers)
    assert file.status == 200, file.body
    wanted = {"input_file_id": file.json["id"], "endpoint": CHAT, "completion_window": "24h"} | changes
    return await world.send("POST", "/v1/batches", headers=headers, json_body=wanted)


async def shown(world: World, batch_id: str, headers: Mapping[str, str] = ALICE) -> Json:
    return (await world.send("GET", f"/v1/batches/{batch_id}", headers=headers)).json


async def ended(world: World, batch_id: str, *, within: float = HOUR, headers: Mapping[str, str] = ALICE) -> Json:
    give_up_at = world.now + within
    while (batch := await shown(world, batch_id, headers))["status"] not in ENDED:
        assert world.now < give_up_at, batch
        await world.sleep(5.0)
    return batch


async def results(world: World, file_id: str | None, headers: Mapping[str, str] = ALICE) -> dict[str, Json]:
    """The lines of a result file by their custom ids."""
    if file_id is None:
        return {}
    content = await world.send("GET", f"/v1/files/{file_id}/content", headers=headers)
    assert content.status == 200
    assert len(content.body) == int(content.headers["Content-Length"])
    lines: list[Json] = [json.loads(one) for one in content.body.splitlines()]
    assert len({one["custom_id"] for one in lines}) == len(lines)
    return {one["custom_id"]: one for one in lines}


def text_of(result: Json) -> str:
    text: str = result["response"]["body"]["choices"][0]["message"]["content"]
    return text


@pytest.fixture(params=["sqlite", "valkey"])
def on(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where a world keeps its rows: what `play` and `living` are told."""
    if request.param == "sqlite":
        return {"virtual_batches": VIRTUAL}
    servers: Servers = request.getfixturevalue("shared_redis")
    return {"virtual_batches": VIRTUAL, "redis": servers("valkey").url}


def test_a_batch_is_run_where_the_upstream_has_none(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        made = await create(world, simple(20), metadata={"job": "nightly"})
        assert made.status == 200
        assert (made.json["status"], made.json["object"], made.json["metadata"]) == (
            "validating",
            "batch",
            {"job": "nightly"},
        )
        batch = await ended(world, made.json["id"])
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
        assert (batch["error_file_id"], batch["errors"], batch["model"]) == (None, None, MODEL)
        assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]
        found = await results(world, batch["output_file_id"])
        assert found.keys() == {f"line-{number}" for number in range(20)}
        for number in range(20):
            assert f"{text_of(found[f'line-{number}'])} ".startswith(f"echo: text {number} ")
        assert batch["usage"]["output_tokens"] == sum(
            result["response"]["body"]["usage"]["completion_tokens"] for result in found.values()
        )
        assert world.now - MONDAY_NOON < 2 * MINUTE  # 20 calls of 10 s, three at once
        assert [event.status for event in world.seen(VirtualBatchMoved)] == [
            "validating",
            "in_progress",
            "finalizing",
            "completed",
        ]
        assert not world.seen(StepFailed)
        assert not world.seen(RequestEscalated)
        await world.assert_books_agree()

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **on)


def test_a_file_with_bad_lines_fails_as_a_whole_and_says_where(on: dict[str, Any], tmp_path: Path) -> None:
    bad = [
        json.dumps(line("a", "fine")).encode(),
        b'{"custom_id": "b", ',
        json.dumps(line("a", "the same id again")).encode(),
        json.dumps(line("c", "x", url="/v1/embeddings")).encode(),
        json.dumps(line("d", "x", method="GET")).encode(),
        json.dumps(line("", "x")).encode(),
        b"",
        json.dumps(line("e", "x", body={"messages": []})).encode(),
    ]

    async def story(world: World) -> None:
        made = await create(world, b"\n".join(bad))
        batch = await ended(world, made.json["id"])
        assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("failed", None, None)
        assert [(error["line"], error["code"]) for error in batch["errors"]["data"]] == [
            (2, "invalid_json_line"),
            (3, "duplicate_custom_id"),
            (4, "mismatched_endpoint"),
            (5, "invalid_method"),
            (6, "missing_required_parameter"),
            (8, "missing_required_parameter"),
        ]
        assert await world.bought("fine") == (0, 0)
        empty = await ended(world, (await create(world, b"\n\n")).json["id"])
        assert [error["code"] for error in empty["errors"]["data"]] == ["empty_file"]

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **on)


def test_a_line_that_cannot_be_answered_fails_alone(on: dict[str, Any], tmp_path: Path) -> None:
    no_messages = line("empty", "x", body={"model": MODEL, "messages": []})
    unknown_field = line("odd", "x")
    unknown_field["body"]["nope"] = 1
    stripped = line("streams", "streamed")
    stripped["body"] |= {"stream": True, "service_tier": "priority"}

    async def story(world: World) -> None:
        made = await create(world, jsonl([line("good", "good"), no_messages, unknown_field, stripped]))
        batch = await ended(world, made.json["id"])
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
        assert (await results(world, batch["output_file_id"])).keys() == {"good", "streams"}
        errors = await results(world, batch["error_file_id"])
        assert {name: result["response"]["status_code"] for name, result in errors.items()} == {
            "empty": 400,
            "odd": 400,
        }
        assert all(result["response"]["body"]["error"]["message"] for result in errors.values())
        await world.assert_books_agree()

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **on)


def test_urgent_calls_come_before_the_lines(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        made = await create(world, simple(6))
        began = world.now
        for _ in range(12):
            answers = await asyncio.gather(*(world.ask("urgent") for _ in range(3)))
            assert all(answer.status == 200 for answer in answers)
        assert world.now - began < 12 * 10.0 + 5.0
        assert (await shown(world, made.json["id"]))["request_counts"]["completed"] <= 3
        batch = await ended(world, made.json["id"])
        assert batch["request_counts"]["completed"] == 6

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **on)


def test_more_lines_than_may_be_open_at_once_are_all_run(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        batch = await ended(world, (await create(world, simple(57))).json["id"])
        assert batch["request_counts"] == {"total": 57, "completed": 57, "failed": 0}
        assert len(await results(world, batch["output_file_id"])) == 57

    settings = on | {"virtual_batches": replace(VIRTUAL, open_max=5)}
    play(tmp_path, story, upstream=replace(OWN_MACHINE, capacity=20), emulator=TEN_SECONDS, **settings)


def test_one_line_that_is_stuck_holds_up_no_other(on: dict[str, Any], tmp_path: Path) -> None:
    stuck = Fault(operation="chat", kind=FaultKind.STATUS, count=None, marker='"text 0"')

    async def story(world: World) -> None:
        made = await create(world, simple(30), completion_window="2h")
        await world.sleep(10 * MINUTE)
        assert (await shown(world, made.json["id"]))["request_counts"]["completed"] == 29
        batch = await ended(world, made.json["id"], within=3 * HOUR)
        assert batch["status"] == "expired"
        errors = await results(world, batch["error_file_id"])
        assert {name: result["error"]["code"] for name, result in errors.items()} == {"line-0": "batch_expired"}

    settings = on | {"virtual_batches": replace(VIRTUAL, open_max=3)}
    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, faults=(stuck,), **settings)


def test_a_word_that_anything_may_have_ended_does_no_harm_while_results_are_collected(tmp_path: Path) -> None:
    """What a replica hears when it may have missed something."""

    async def story(world: World) -> None:
        store, heard = world.service.house.store, world.service.virtual.ended
        result = store.result

        async def meanwhile(request_id: RequestId) -> Answer | None:
            heard(None)
            return await result(request_id)

        store.result = meanwhile  # type: ignore[method-assign]  # the word comes at the worst moment
        batch = await ended(world, (await create(world, simple(5))).json["id"])
        assert batch["request_counts"] == {"total": 5, "completed": 5, "failed": 0}

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, virtual_batches=VIRTUAL)


def test_a_cancelled_batch_keeps_what_is_done_and_buys_nothing_more(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        made = await create(world, simple(40))
        batch_id = made.json["id"]
        await world.sleep(35.0)
        cancelled = await world.send("POST", f"/v1/batches/{batch_id}/cancel", headers=ALICE)
        assert cancelled.json["status"] == "cancelling"
        assert (await world.send("POST", f"/v1/batches/{batch_id}/cancel", headers=ALICE)).json[
            "status"
        ] == "cancelling"
        batch = await ended(world, batch_id)
        assert batch["status"] == "cancelled"
        assert batch["cancelled_at"] - batch["cancelling_at"] <= 15  # the calls under way were waited for
        output = await results(world, batch["output_file_id"])
        errors = await results(world, batch["error_file_id"])
        assert 6 <= len(output) <= 15
        assert len(output) + len(errors) == 40
        assert {result["error"]["code"] for result in errors.values()} == {"batch_cancelled"}
        assert (await world.account())["total"]["requests"] == len(output)
        assert (await world.send("POST", f"/v1/batches/{batch_id}/cancel", headers=ALICE)).status == 409
        await world.assert_books_agree()

    settings = on | {"virtual_batches": replace(VIRTUAL, open_max=20)}
    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **settings)


def test_what_is_not_done_in_its_window_expires(on: dict[str, Any], tmp_path: Path) -> None:
    """The upstream does one call in ten minutes: what cannot be done is said so, and what is under way still counts."""

    async def story(world: World) -> None:
        batch = await ended(world, (await create(world, simple(9), completion_window="1h")).json["id"], within=2 * HOUR)
        assert batch["status"] == "expired"
        assert HOUR <= batch["expired_at"] - batch["created_at"] <= HOUR + 11 * MINUTE
        output = await results(world, batch["output_file_id"])
        errors = await results(world, batch["error_file_id"])
        assert len(output) + len(errors) == 9
        assert len(output) >= 5
        assert {result["error"]["code"] for result in errors.values()} == {"batch_expired"}
        await world.assert_books_agree()

    paced = replace(OWN_MACHINE, capacity=1, limits=replace(OWN_MACHINE.limits, requests_per_minute=0.1))
    play(tmp_path, story, upstream=paced, emulator=TEN_SECONDS, **on)


def _key(name: str) -> ProxyKey:
    return ProxyKey(name, TenantId(name), hashlib.sha256(f"sb-{name}".encode()).hexdigest())


def test_no_tenant_sees_anothers_and_each_may_have_its_own(on: dict[str, Any], tmp_path: Path) -> None:
    alice, bob = {"Authorization": "Bearer sb-alice"}, {"Authorization": "Bearer sb-bob"}

    async def story(world: World) -> None:
        made = await create(world, simple(2), headers=alice)
        assert made.status == 200
        batch = await ended(world, made.json["id"], headers=alice)
        input_id, output_id = batch["input_file_id"], batch["output_file_id"]
        for path in (f"/v1/batches/{batch['id']}", f"/v1/files/{input_id}", f"/v1/files/{output_id}/content"):
            assert (await world.send("GET", path, headers=bob)).status == 404
            assert (await world.send("GET", path, headers=alice)).status == 200
        assert (await world.send("POST", f"/v1/batches/{batch['id']}/cancel", headers=bob)).status == 404
        assert (await world.send("DELETE", f"/v1/files/{input_id}", headers=bob)).status == 404
        wanted = {"input_file_id": input_id, "endpoint": CHAT, "completion_window": "24h"}
        assert (await world.send("POST", "/v1/batches", headers=bob, json_body=wanted)).status == 404
        for path in ("/v1/batches", "/v1/files"):
            assert (await world.send("GET", path, headers=bob)).json["data"] == []
            assert (await world.send("GET", path, headers=alice)).json["data"]
        assert (await world.send("GET", "/v1/fine_tuning/jobs", headers=alice)).status == 403

    keys: dict[str, Any] = {"keys": (_key("alice"), _key("bob")), "environ": {"PROVIDER_KEY": "sk-real"}}
    upstream = replace(OWN_MACHINE, api_key_env="PROVIDER_KEY")
    play(tmp_path, story, upstream=upstream, emulator=TEN_SECONDS, **keys, **on)


def test_files_are_listed_shown_and_deleted(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        files = [(await upload(world, simple(number + 1))).json for number in range(3)]
        assert (files[0]["object"], files[0]["filename"], files[0]["bytes"]) == ("file", "mine.jsonl", len(simple(1)))
        page = (await world.send("GET", "/v1/files?limit=2", headers=ALICE)).json
        assert [file["id"] for file in page["data"]] == [files[2]["id"], files[1]["id"]]
        assert page["has_more"]
        page = (await world.send("GET", f"/v1/files?after={page['last_id']}", headers=ALICE)).json
        assert ([file["id"] for file in page["data"]], page["has_more"]) == ([files[0]["id"]], False)
        where = f"/v1/files/{files[0]['id']}"
        assert (await world.send("GET", where, headers=ALICE)).json == files[0]
        assert (await world.send("GET", where + "/content", headers=ALICE)).body == simple(1)
        assert (await world.send("DELETE", where, headers=ALICE)).json["deleted"] is True
        assert (await world.send("GET", where, headers=ALICE)).status == 404
        for query in ("limit=0", "limit=x", "order=asc"):
            assert (await world.send("GET", f"/v1/files?{query}", headers=ALICE)).status == 400

    play(tmp_path, story, upstream=OWN_MACHINE, **on)


def test_the_list_of_files_can_be_narrowed_to_a_purpose(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        batches = [await ended(world, (await create(world, simple(1))).json["id"]) for _ in range(3)]
        for purpose, name in (("batch", "input_file_id"), ("batch_output", "output_file_id"), ("other", "")):
            wanted = [batch[name] for batch in reversed(batches)] if name else []
            seen: list[str] = []
            query = f"purpose={purpose}&limit=2"
            while True:
                page = (await world.send("GET", f"/v1/files?{query}", headers=ALICE)).json
                seen += [file["id"] for file in page["data"]]
                if not page["has_more"]:
                    break
                query = f"purpose={purpose}&limit=2&after={page['last_id']}"
            assert seen == wanted
        everything = (await world.send("GET", "/v1/files?limit=10000", headers=ALICE)).json
        assert len(everything["data"]) == 6

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **on)


def test_an_upload_that_breaks_off_leaves_nothing(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        head = (
            "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-alice\r\nContent-Length: 9000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="file"; filename="mine.jsonl"\r\n\r\n'
        )
        host, port = world.service.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + b"x" * 3 * 2**20)
        await writer.drain()
        shelf = world.service.house.store.shelf
        while not (pending := await shelf.pending(FILE)) or await shelf.part(pending[0].id, 1) is None:
            await world.sleep(0.1)
        assert (await world.send("GET", "/v1/files", headers=ALICE)).json["data"] == []
        assert (await world.send("GET", f"/v1/files/{pending[0].id}", headers=ALICE)).status == 404
        writer.close()
        await writer.wait_closed()
        await world.sleep(MINUTE)
        assert await shelf.pending(FILE) == []
        assert await shelf.part(pending[0].id, 0) is None

    play(tmp_path, story, upstream=OWN_MACHINE, **on)


def test_a_file_that_a_batch_reads_cannot_be_deleted(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        made = await create(world, simple(3))
        where = f"/v1/files/{made.json['input_file_id']}"
        refused = await world.send("DELETE", where, headers=ALICE)
        assert (refused.status, refused.json["error"]["code"]) == (409, "file_in_use")
        await ended(world, made.json["id"])
        assert (await world.send("DELETE", where, headers=ALICE)).status == 200

    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, virtual_batches=VIRTUAL)


def test_what_is_no_batch_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert (await upload(world, simple(1), purpose="fine-tune")).status == 400
        assert (await upload(world, simple(1), name="mine.txt")).status == 400
        assert (await upload(world, b"")).status == 400
        assert (await upload(world, b"x" * 20_001)).status == 413
        assert (await world.send("POST", "/v1/files", headers=ALICE, json_body={})).status == 400
        assert (await world.send("GET", "/v1/files", headers=ALICE)).json["data"] == []
        for changes, param in (
            ({"endpoint": "/v1/files"}, "endpoint"),
            ({"completion_window": "soon"}, "completion_window"),
            ({"completion_window": "8d"}, "completion_window"),
            ({"metadata": {"a": 1}}, "metadata"),
            ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ):
            refused = await create(world, simple(1), **changes)
            assert (refused.status, refused.json["error"]["param"]) == (400, param)
        wrong: list[object] = [{}, [], {"input_file_id": "file-none", "endpoint": CHAT}]
        for body in wrong:
            assert (await world.send("POST", "/v1/batches", headers=ALICE, json_body=body)).status == 400
        unknown = {"input_file_id": "file-none", "endpoint": CHAT, "completion_window": "24h"}
        assert (await world.send("POST", "/v1/batches", headers=ALICE, json_body=unknown)).status == 404
        assert (await world.send("PUT", "/v1/batches", headers=ALICE, json_body={})).status == 405
        assert (await world.send("POST", "/v1/files/file-1/content", headers=ALICE)).status == 405
        too_many = await ended(world, (await create(world, simple(6))).json["id"])
        assert [error["code"] for error in too_many["errors"]["data"]] == ["too_many_tasks"]
        long = await ended(world, (await create(world, jsonl([line("a", "x" * 3_000)]))).json["id"])
        assert [error["code"] for error in long["errors"]["data"]] == ["line_too_long"]

    limits = replace(VIRTUAL, file_max_bytes=20_000, lines_max=5, line_max_bytes=2_000)
    play(tmp_path, story, upstream=OWN_MACHINE, virtual_batches=limits)


def test_a_retried_creation_makes_no_second_batch(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        file_id = (await upload(world, simple(1))).json["id"]
        wanted = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
        retried = ALICE | {"x-stainless-retry-count": "1"}
        first = await world.send("POST", "/v1/batches", headers=ALICE, json_body=wanted)
        again = await world.send("POST", "/v1/batches", headers=retried, json_body=wanted)
        assert again.json["id"] == first.json["id"]
        other = await world.send("POST", "/v1/batches", headers=retried, json_body=wanted | {"metadata": {"a": "b"}})
        second = await world.send("POST", "/v1/batches", headers=ALICE, json_body=wanted)
        assert len({first.json["id"], other.json["id"], second.json["id"]}) == 3

    play(tmp_path, story, upstream=OWN_MACHINE, virtual_batches=VIRTUAL)


def test_a_tenant_has_so_many_batches_under_way_and_no_more(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = await create(world, simple(1))
        assert (await create(world, simple(1))).status == 200
        refused = await create(world, simple(1))
        assert (refused.status, refused.json["error"]["code"]) == (429, "too_many_batches")
        assert (await create(world, simple(1), headers=BOB)).status == 200
        await ended(world, first.json["id"])
        await world.sleep(MINUTE)
        assert (await create(world, simple(1))).status == 200

    limits = replace(VIRTUAL, batches_max=2)
    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, virtual_batches=limits)


def test_lines_go_to_the_upstreams_of_their_models_also_where_nobody_knows_their_capacity(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        lines = [line(f"{number}", f"text {number}") for number in range(12)]
        for number, one in enumerate(lines):
            one["body"]["model"] = "gpt-4o" if number % 2 else MODEL
        batch = await ended(world, (await create(world, jsonl(lines))).json["id"])
        assert (batch["status"], batch["model"]) == ("completed", None)
        assert world.service.house.limits.under_way(OWN_MACHINE.name) == 0

    upstream = UpstreamSettings(batch=False, flex=False)
    play(tmp_path, story, upstream=upstream, emulator=TEN_SECONDS, virtual_batches=VIRTUAL)


def test_what_is_past_its_retention_is_gone_and_what_is_read_is_not(on: dict[str, Any], tmp_path: Path) -> None:
    async def story(world: World) -> None:
        old = await ended(world, (await create(world, simple(2), completion_window="2h")).json["id"])
        unread = (await upload(world, simple(1))).json["id"]
        await world.sleep(3 * HOUR)
        batch = await ended(world, (await create(world, simple(2), completion_window="2h")).json["id"])
        await world.sleep(1.2 * HOUR)
        for path in (
            f"/v1/batches/{old['id']}",
            f"/v1/files/{unread}",
            f"/v1/files/{old['input_file_id']}",
            f"/v1/files/{old['output_file_id']}",
        ):
            assert (await world.send("GET", path, headers=ALICE)).status == 404
        assert len(await results(world, batch["output_file_id"])) == 2

    settings = on | {"virtual_batches": replace(VIRTUAL, retention_seconds=4 * HOUR)}
    play(tmp_path, story, upstream=OWN_MACHINE, emulator=TEN_SECONDS, **settings)


def test_answers_that_nobody_was_there_to_collect_are_not_swept_before_they_are(
    on: dict[str, Any], tmp_path: Path
) -> None:
    """The process is away for longer than finished requests are kept."""
    settings = on | {"virtual_batches": replace(VIRTUAL, look_seconds=MINUTE)}

    async def whole() -> None:
        clock = LoopClock()
        async with serving(TEN_SECONDS, LoopClock(MONDAY_NOON), read_cost_map().models) as provider:
            upstreams = (replace(OWN_MACHINE, capacity=20, base_url=provider.url + "/v1"),)
            async with living(tmp_path, provider, clock, upstreams=upstreams, **settings) as world:
                batch_id = (await create(world, simple(10), completion_window="3d")).json["id"]
                await world.until(lambda: len(world.seen(RequestFinished)) == 10, within=HOUR)
                assert (await shown(world, batch_id))["request_counts"]["completed"] == 0
            await clock.sleep_until(clock.now() + 48 * HOUR)
            async with living(tmp_path, provider, clock, seed=1, upstreams=upstreams, **settings) as world:
                batch = await ended(world, batch_id)
                assert batch["request_counts"] == {"total": 10, "completed": 10, "failed": 0}
                assert len(await results(world, batch["output_file_id"])) == 10
                assert (await world.account())["total"]["requests"] == 10
                await world.assert_books_agree()

    run(whole(), start_at=MONDAY_NOON)

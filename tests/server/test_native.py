"""Batches by the client's own hand: untouched, and in the ledger once they have ended."""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest

from proxy.config.settings import UpstreamSettings
from proxy.domain.events import NativeBatchBooked
from proxy.domain.ids import TenantId
from proxy.domain.money import Purchase
from proxy.emulator.faults import Fault, FaultKind
from proxy.server.auth import ProxyKey
from tests.world import HOUR, MINUTE, Json, World, play

ALICE = {"Authorization": "Bearer sk-alice"}


async def _upload(world: World, lines: int, headers: Mapping[str, str] = ALICE) -> str:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "by hand"}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    content = "".join(json.dumps({"custom_id": str(number), **line}) + "\n" for number in range(lines))
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", content.encode(), filename="mine.jsonl")
    async with world.http.post(world.service.url + "/v1/files", data=form, headers=headers) as response:
        file: Json = await response.json()
    file_id: str = file["id"]
    return file_id


async def _create(world: World, lines: int = 3) -> str:
    made = await world.send(
        "POST",
        "/v1/batches",
        headers=ALICE,
        json_body={
            "input_file_id": await _upload(world, lines),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
    )
    batch_id: str = made.json["id"]
    return batch_id


def test_an_ended_batch_is_booked_once_with_the_providers_own_amount(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        batch_id = await _create(world)
        await world.send("GET", f"/v1/batches/{batch_id}", headers=ALICE)
        assert await world.ledger_usd() == 0
        await world.sleep(HOUR)
        for _ in range(3):
            shown = await world.send("GET", f"/v1/batches/{batch_id}", headers=ALICE)
            assert shown.json["status"] == "completed"
        await world.send("GET", "/v1/batches", headers=ALICE)
        assert await world.ledger_usd() == Decimal((await world.account())["total"]["usd"]) > 0
        (booked,) = world.seen(NativeBatchBooked)
        assert (booked.row.kind, booked.row.tier.value, booked.row.saved_usd) == (Purchase.NATIVE, "batch", Decimal(0))
        page = (await world.send("GET", "/metrics")).body.decode()
        assert 'kind="native"' in page

    play(tmp_path, story)


def test_standbys_own_batches_are_not_booked_as_the_clients(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.ask("hello", deadline="3h")
        listed = await world.send("GET", "/v1/batches", headers=ALICE)
        assert [batch["status"] for batch in listed.json["data"]] == ["completed"]
        assert not world.seen(NativeBatchBooked)
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story)


def test_what_a_client_does_with_files_and_batches_is_relayed_as_it_is(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        batch_id = await _create(world, lines=200)
        cancelled = await world.send("POST", f"/v1/batches/{batch_id}/cancel", headers=ALICE)
        assert cancelled.json["status"] == "cancelling"
        await world.sleep(20 * MINUTE)
        shown = await world.send("GET", f"/v1/batches/{batch_id}", headers=ALICE)
        assert shown.json["status"] == "cancelled"
        assert shown.headers["X-Standby-Reason"] == "passthrough"
        assert (await world.send("GET", "/v1/batches/batch_none", headers=ALICE)).status == 404
        refused = await world.send("POST", "/v1/batches", headers=ALICE, json_body={"input_file_id": "file-none"})
        assert refused.status == 400

    play(tmp_path, story)


@pytest.mark.parametrize("allowed", [False, True])
def test_with_proxy_keys_the_account_that_they_share_is_closed_unless_it_is_opened(
    allowed: bool,  # noqa: FBT001  a parameter of the test
    tmp_path: Path,
) -> None:
    async def story(world: World) -> None:
        team = {"Authorization": "Bearer sb-team"}
        for method, path in [
            ("GET", "/v1/files"),
            ("GET", "/v1/batches"),
            ("DELETE", "/v1/files/file-1"),
            ("GET", "/v1/files/file-1/content"),
            ("GET", "/v1/responses/resp_1"),
            ("POST", "/v1/batches"),
            ("GET", "/within/2h/v1/files"),
        ]:
            answer = await world.send(method, path, headers=team)
            assert (answer.status == 403) is not allowed, (method, path)
            if not allowed:
                assert answer.json["error"]["code"] == "whole_account"
        assert (await world.send("GET", "/v1/models", headers=team)).status == 200
        assert (await world.ask("x", key="sb-team")).status == 200

    digest = hashlib.sha256(b"sb-team").hexdigest()
    play(
        tmp_path,
        story,
        keys=(ProxyKey("team", TenantId("team"), digest, whole_account=allowed),),
        upstream=UpstreamSettings(api_key_env="PROVIDER_KEY"),
        environ={"PROVIDER_KEY": "sk-real"},
    )


def test_a_store_that_is_away_does_not_break_what_passes(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        batch_id = await _create(world)
        await world.sleep(HOUR)
        await world.service.desk.store.close()
        shown = await world.send("GET", f"/v1/batches/{batch_id}", headers=ALICE)
        assert (shown.status, shown.json["status"]) == (200, "completed")
        assert not world.seen(NativeBatchBooked)

    play(tmp_path, story, faults=(Fault(operation="get_batch", kind=FaultKind.DELAY, seconds=0.1),))

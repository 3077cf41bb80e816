"""Connections that are held for hours: what each client gets to see, retries, leavers, and the asynchronous way."""

import asyncio
import json
from pathlib import Path

import pytest

from proxy.domain.events import RequestAttached, RequestFinished
from proxy.domain.ids import RequestId, TenantId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.request import RequestView
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.server.settings import Settings as ServerSettings
from tests.world import HOUR, MINUTE, MONDAY_NOON, World, gather, play

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "raw"}]})
TEN_MINUTES = Settings(turnaround=Constant(10 * MINUTE), latency_seconds=1.0)


async def _raw(world: World, *headers: str, body: str = BODY, version: str = "1.1") -> bytes:
    """Send a request as bytes; everything that comes back until the connection closes."""
    host, port = world.service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [
        f"POST /v1/chat/completions HTTP/{version}",
        "Host: standby",
        "Authorization: Bearer sk-alice",
        "X-Deadline: 4h",
        "Content-Type: application/json",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
    await writer.drain()
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def test_openai_python_is_kept_waiting_by_interim_responses_and_its_status_stays_free(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        received = await _raw(world, "User-Agent: AsyncOpenAI/Python 2.54.0", "x-stainless-read-timeout: 600")
        interim = received.count(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert 600 / 15 - 5 <= interim <= 800 / 15
        final = received.split(b"102 Processing\r\n\r\n")[-1]
        assert final.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"echo: raw" in final

    play(tmp_path, story, emulator=TEN_MINUTES)


def test_node_gets_its_headers_before_its_patience_ends_then_white_space_then_the_answer(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        received = await _raw(world, "User-Agent: OpenAI/JS 6.49.0")
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"102 Processing" not in received
        head, _, chunked = received.partition(b"\r\n\r\n")
        assert b"application/json" in head
        assert chunked.startswith(b"1\r\n \r\n1\r\n \r\n")
        assert b"echo: raw" in chunked

    play(tmp_path, story, emulator=TEN_MINUTES)


def test_behind_another_proxy_nobody_gets_interim_responses(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        agent = "User-Agent: AsyncOpenAI/Python 2.54.0"
        received = await _raw(world, agent, "X-Forwarded-For: 10.0.0.7")
        assert b"102 Processing" not in received
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n1\r\n \r\n" in received

    play(tmp_path, story, emulator=TEN_MINUTES)


def test_a_stream_is_kept_alive_by_comments(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = json.dumps(json.loads(BODY) | {"stream": True})
        received = await _raw(world, "User-Agent: OpenAI/JS 6.49.0", body=body)
        assert b"text/event-stream" in received
        assert received.count(b": standby\n\n") > 10
        assert received.rstrip().endswith(b"0")
        assert b"data: [DONE]\n\n" in received

    play(tmp_path, story, emulator=TEN_MINUTES)


def test_an_http_1_0_client_just_waits(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        received = await _raw(world, "User-Agent: AsyncOpenAI/Python 2.54.0", version="1.0")
        assert received.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"echo: raw" in received

    play(tmp_path, story, emulator=TEN_MINUTES)


def test_an_error_after_the_status_was_spent_comes_as_an_error_body(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = json.dumps(json.loads(BODY) | {"no_such_parameter": 1})
        received = await _raw(world, "User-Agent: OpenAI/JS 6.49.0", body=body)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b'"error"' in received

    play(tmp_path, story, emulator=TEN_MINUTES)


def test_a_retry_of_a_stock_sdk_attaches_to_the_same_work(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = asyncio.ensure_future(world.ask("once", deadline="3h"))  # noqa: TID251  cancelled on purpose below
        await world.sleep(5 * MINUTE)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        again = await world.ask("once", deadline="3h", headers={"x-stainless-retry-count": "1"})
        assert again.status == 200
        (attached,) = world.seen(RequestAttached)
        assert attached.by == "retry"
        assert await world.bought("once") == (0, 1)
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story)


def test_a_client_that_comes_back_after_the_answer_finds_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = asyncio.ensure_future(world.ask("kept", deadline="3h"))  # noqa: TID251  cancelled on purpose below
        await world.sleep(5 * MINUTE)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await world.until(lambda: bool(world.seen(RequestFinished)), within=HOUR)
        began = world.now
        again = await world.ask("kept", deadline="3h", headers={"x-stainless-retry-count": "1"})
        assert (again.status, again.tier) == (200, "batch")
        assert world.now - began < 1.0
        assert await world.bought("kept") == (0, 1)

    play(tmp_path, story)


def test_two_first_time_identical_calls_are_two_requests(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one, two = await gather(world.ask("sample", deadline="3h"), world.ask("sample", deadline="3h"))
        assert one.headers["X-Standby-Request-Id"] != two.headers["X-Standby-Request-Id"]
        assert await world.bought("sample") == (0, 2)

    play(tmp_path, story)


def test_an_idempotency_key_attaches_and_with_another_body_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        key = {"Idempotency-Key": "job-7"}
        one, two, other = await gather(
            world.ask("same", deadline="3h", headers=key),
            world.ask("same", deadline="3h", headers=key),
            world.ask("different", deadline="3h", headers=key),
        )
        assert one.headers["X-Standby-Request-Id"] == two.headers["X-Standby-Request-Id"]
        assert (other.status, other.json["error"]["code"]) == (422, "idempotency_key_reused")
        stranger = await world.ask("different", deadline="3h", headers=key, key="sk-bob")
        assert stranger.status == 200
        assert await world.bought("same") == (0, 1)

    play(tmp_path, story)


def test_a_client_that_leaves_for_good_before_anything_was_submitted_costs_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first = asyncio.ensure_future(world.ask("never mind", deadline="3h"))  # noqa: TID251  cancelled on purpose below
        await world.sleep(5.0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await world.until(lambda: bool(world.seen(RequestFinished)), within=10 * MINUTE)
        (finished,) = world.seen(RequestFinished)
        assert finished.outcome is OutcomeLabel.CANCELLED
        await world.sleep(HOUR)
        assert await world.bought("never mind") == (0, 0)

    play(tmp_path, story, server=ServerSettings(port=0, return_grace_seconds=20.0))


def test_respond_async_gives_a_202_to_poll_until_the_response_is_there(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        accepted = await world.ask("later", deadline="3h", headers={"Prefer": "respond-async"})
        assert accepted.status == 202
        assert accepted.headers["Preference-Applied"] == "respond-async"
        assert accepted.json["status"] == "queued"
        where = accepted.headers["Location"]
        alice = {"Authorization": "Bearer sk-alice"}
        await world.sleep(20 * MINUTE)
        done = await world.send("GET", where, headers=alice)
        assert done.json["status"] == "done"
        assert done.json["tier"] == "batch"
        assert done.json["response"]["status_code"] == 200
        assert done.json["response"]["body"]["choices"][0]["message"]["content"].startswith("echo: later")

    play(tmp_path, story)


def test_wait_holds_first_and_only_then_gives_the_202(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        short = await world.ask("w", deadline="3h", headers={"Prefer": "respond-async, wait=30"})
        assert short.status == 202
        assert 30 <= short.at - MONDAY_NOON < 32
        long = await world.ask("v", deadline="3h", headers={"Prefer": "respond-async, wait=3600"})
        assert long.status == 200

    play(tmp_path, story)


ALICE = {"Authorization": "Bearer sk-alice"}


async def _leave(world: World, text: str = "later", deadline: str = "3h") -> str:
    """A request to be fetched later; where from."""
    accepted = await world.ask(text, deadline=deadline, headers={"Prefer": "respond-async"})
    return accepted.headers["Location"]


@pytest.mark.parametrize(
    ("wait", "waited"), [("", 0), ("?wait=0", 0), ("?wait=20", 20), ("?wait=20s", 20), ("?wait=9h", 60)]
)
def test_a_poll_may_wait_for_the_answer(wait: str, waited: float, tmp_path: Path) -> None:
    async def story(world: World) -> None:
        where = await _leave(world)
        asked_at = world.now
        shown = await world.send("GET", where + wait, headers=ALICE)
        assert (shown.status, shown.json["status"], shown.json["response"]) == (200, "queued", None)
        assert waited <= shown.at - asked_at < waited + 1
        assert 1 <= int(shown.headers["Retry-After"]) <= 60

    play(tmp_path, story)


def test_a_poll_that_waits_ends_with_the_answer(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        where = await _leave(world)
        while (shown := await world.send("GET", where + "?wait=60", headers=ALICE)).json["status"] != "done":
            assert world.now < MONDAY_NOON + HOUR
        assert shown.json["response"]["status_code"] == 200
        assert "Retry-After" not in shown.headers
        assert abs(shown.at - shown.json["finished_at"]) < 2

    play(tmp_path, story)


def test_a_poll_that_waits_for_nonsense_is_told_what_would_be_right(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        refused = await world.send("GET", await _leave(world) + "?wait=long", headers=ALICE)
        assert (refused.status, refused.json["error"]["param"]) == (400, "wait")

    play(tmp_path, story)


def test_polls_are_told_to_come_more_often_as_the_deadline_nears(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        far = await world.ask("far", deadline="12h", headers={"Prefer": "respond-async"})
        near = await world.ask("near", deadline="16m", headers={"Prefer": "respond-async"})
        assert (far.headers["Retry-After"], near.headers["Retry-After"]) == ("60", "48")

    play(tmp_path, story)


def test_a_wake_up_for_nothing_is_no_busy_loop(tmp_path: Path) -> None:
    """As when word of other processes may have been missed: everybody looks once, and waits on."""

    async def story(world: World) -> None:
        house, looks = world.service.house, 0
        get = house.store.get

        async def counted(request_id: RequestId, tenant: TenantId | None = None) -> RequestView | None:
            nonlocal looks
            looks += 1
            return await get(request_id, tenant)

        async with world.background(world.ask("held", deadline="3h")):
            await world.sleep(5.0)
            house.store.get = counted  # type: ignore[method-assign]  # the same, and counted
            house.holds.wake(None)
            await world.sleep(60.0)
            house.store.get = get  # type: ignore[method-assign]
        assert looks == 1

    play(tmp_path, story)


def test_a_tenant_sees_lists_and_cancels_its_own_requests_only(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        alice, bob = {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer sk-bob"}
        mine = await world.ask("mine", deadline="3h", headers={"Prefer": "respond-async"})
        where = mine.headers["Location"]
        assert (await world.send("GET", where, headers=bob)).status == 404
        assert (await world.send("DELETE", where, headers=bob)).status == 404
        assert (await world.send("GET", "/v1/deferred", headers=bob)).json["data"] == []
        listed = (await world.send("GET", "/v1/deferred", headers=alice)).json
        assert [one["id"] for one in listed["data"]] == [mine.json["id"]]
        gone = await world.send("DELETE", where, headers=alice)
        assert (gone.status, gone.json["status"]) == (200, "cancelled")
        assert (await world.send("DELETE", where, headers=alice)).status == 409
        await world.sleep(HOUR)
        assert await world.bought("mine") == (0, 0)

    play(tmp_path, story)


def test_the_list_is_paged_and_can_be_narrowed_to_a_status(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        alice = {"Authorization": "Bearer sk-alice"}
        made = [await world.ask(f"q{n}", deadline="3h", headers={"Prefer": "respond-async"}) for n in range(5)]
        newest_first = [one.json["id"] for one in reversed(made)]
        seen: list[str] = []
        query = "limit=2"
        for more in (True, True, False):
            page = (await world.send("GET", f"/v1/deferred?{query}", headers=alice)).json
            seen += [one["id"] for one in page["data"]]
            assert (page["first_id"], page["has_more"]) == (page["data"][0]["id"], more)
            query = f"limit=2&after={page['last_id']}"
        assert seen == newest_first
        await world.send("DELETE", f"/v1/deferred/{seen[0]}", headers=alice)
        for status, ids in (("cancelled", seen[:1]), ("open", seen[1:]), ("done", [])):
            page = (await world.send("GET", f"/v1/deferred?status={status}", headers=alice)).json
            assert [one["id"] for one in page["data"]] == ids
        for query in ("limit=0", "limit=101", "limit=x", "status=asleep"):
            assert (await world.send("GET", f"/v1/deferred?{query}", headers=alice)).status == 400

    play(tmp_path, story)


def test_an_unasked_202_is_never_sent(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"q{n}", deadline="3h") for n in range(5)))
        assert {answer.status for answer in answers} == {200}

    play(tmp_path, story)

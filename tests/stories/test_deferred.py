"""A day in the life of deferrable requests: bought in batches, answered in time, nothing left behind."""

from pathlib import Path

import pytest

from proxy.domain.events import BatchSettled, BatchSubmitted, RequestFinished
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from tests.world import HOUR, MINUTE, MONDAY_NOON, World, gather, play


def test_requests_with_a_deadline_share_a_batch_and_come_back_by_the_same_call(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answers = await gather(*(world.ask(f"question {n}", deadline="4h") for n in range(20)))
        assert [answer.status for answer in answers] == [200] * 20
        assert all(answer.text.startswith(f"echo: question {n} ") for n, answer in enumerate(answers))
        assert {answer.tier for answer in answers} == {"batch"}
        assert len({answer.headers["X-Standby-Batch-Id"] for answer in answers}) == 1
        assert len(world.seen(BatchSubmitted)) == 1
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story)


def test_an_urgent_call_is_answered_at_once_and_never_batched(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("now please")
        assert (answer.status, answer.tier, answer.reason) == (200, "standard", "no_deadline")
        assert answer.at - MONDAY_NOON < 2.0
        assert await world.bought("now please") == (1, 0)
        await world.assert_books_agree()

    play(tmp_path, story)


def test_a_deadline_too_short_for_a_batch_is_bought_at_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("soon", deadline="5m")
        assert (answer.tier, answer.reason) == ("standard", "deadline_short")

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/responses", {"input": "hi"}),
    ],
)
def test_every_batchable_endpoint_is_deferred(tmp_path: Path, path: str, body: dict[str, object]) -> None:
    async def story(world: World) -> None:
        headers = {"Authorization": "Bearer sk-alice", "X-Deadline": "3h"}
        answer = await world.send("POST", path, headers=headers, json_body={"model": "gpt-4o-mini", **body})
        assert (answer.status, answer.tier) == (200, "batch")
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story)


def test_embeddings_are_deferred(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        headers = {"Authorization": "Bearer sk-alice", "X-Deadline": "3h"}
        body = {"model": "text-embedding-3-small", "input": ["one", "two"]}
        answer = await world.send("POST", "/v1/embeddings", headers=headers, json_body=body)
        assert (answer.status, answer.tier) == (200, "batch")
        assert len(answer.json["data"]) == 2
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story)


def test_a_bad_request_fails_alone_at_once_and_never_reaches_a_batch(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        headers = {"Authorization": "Bearer sk-alice", "X-Deadline": "3h"}
        body = {"model": "gpt-4o-mini", "messages": "not a list"}
        answer = await world.send("POST", "/v1/chat/completions", headers=headers, json_body=body)
        assert answer.status == 400
        assert answer.json["error"]["param"] == "messages"
        assert answer.at - MONDAY_NOON < 1.0

    play(tmp_path, story)


def test_a_line_that_fails_at_the_provider_keeps_its_own_status_and_body(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        good, bad = await gather(
            world.ask("fine", deadline="3h"), world.ask("wrong", deadline="3h", no_such_parameter=True)
        )
        assert good.status == 200
        assert bad.status == 400
        assert "no_such_parameter" in bad.json["error"]["message"]
        await world.settled()
        await world.assert_books_agree()

    play(tmp_path, story)


def test_stream_requests_get_their_stream_when_the_answer_is_there(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("tell me", deadline="3h", stream=True, stream_options={"include_usage": True})
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert b"data: [DONE]\n\n" in answer.body
        assert b'"usage":{' in answer.body

    play(tmp_path, story)


def test_different_models_and_keys_never_share_a_batch(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await gather(
            world.ask("a", deadline="3h"),
            world.ask("b", deadline="3h", model="gpt-4.1-mini"),
            world.ask("c", deadline="3h", key="sk-bob"),
        )
        assert len(world.seen(BatchSubmitted)) == 3

    play(tmp_path, story)


def test_far_apart_deadlines_do_not_share_a_batch(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await gather(world.ask("soon", deadline="1h"), world.ask("tomorrow", deadline="20h"))
        assert len(world.seen(BatchSubmitted)) == 2

    play(tmp_path, story)


def test_what_was_saved_is_half_of_the_list_price(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.ask("cheap", deadline="4h")
        assert answer.headers["X-Standby-Cost-Usd"] == answer.headers["X-Standby-Saved-Usd"]
        finished = world.seen(RequestFinished)[0]
        assert finished.row is not None
        assert finished.row.list_usd is not None
        assert finished.row.paid_usd == finished.row.list_usd / 2

    play(tmp_path, story)


def test_a_batch_reports_its_turnaround_and_what_became_of_its_lines(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await gather(*(world.ask(f"q{n}", deadline="4h") for n in range(5)))
        await world.settled()
        (settled,) = world.seen(BatchSettled)
        assert (settled.answered, settled.superseded, settled.refused, settled.missing) == (5, 0, 0, 0)
        assert 10 * MINUTE <= settled.turnaround_seconds < 12 * MINUTE

    play(tmp_path, story)


def test_a_url_prefix_defers_tools_that_can_set_nothing_else(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        within, urgent = await gather(
            world.ask("x", path="/within/2h/v1/chat/completions"),
            world.ask("y", path="/urgent/v1/chat/completions", headers={"X-Deadline": "2h"}),
        )
        assert within.tier == "batch"
        assert (urgent.tier, urgent.reason) == ("standard", "client_urgent")

    play(tmp_path, story)


def test_metadata_defers_and_is_taken_out_before_the_provider_sees_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        deferred, urgent = await gather(
            world.ask("m", metadata={"deadline": "2h", "team": "search"}),
            world.ask("n", metadata={"priority": "urgent"}),
        )
        assert deferred.tier == "batch"
        assert (urgent.status, urgent.reason) == (200, "client_urgent")

    play(tmp_path, story)


def test_a_held_answer_waits_for_hours_if_it_must(tmp_path: Path) -> None:

    async def story(world: World) -> None:
        answer = await world.ask("slow", deadline="20h")
        assert (answer.status, answer.tier) == (200, "batch")
        assert answer.at - MONDAY_NOON > 11 * HOUR

    play(tmp_path, story, emulator=Settings(turnaround=Constant(11 * HOUR)))

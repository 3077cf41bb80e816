"""Batches over HTTP: every state, what is billed in each, and the limits."""

from typing import Any

import pytest

from proxy.emulator.turnaround import Constant, Stuck


def test_a_batch_goes_through_every_state_and_each_line_is_answered_once(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line(f"c{n}", f"question {n}") for n in range(10)], metadata={"ours": "1"})
        assert batch["status"] == "validating"
        assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
        assert batch["metadata"] == {"ours": "1"}
        assert batch["expires_at"] - batch["created_at"] == 86400

        batch = await site.look(batch, after=2.9)
        assert batch["status"] == "validating"
        batch = await site.look(batch, after=0.2)
        assert (batch["status"], batch["model"]) == ("in_progress", "gpt-4o-mini")
        assert batch["request_counts"] == {"total": 10, "completed": 0, "failed": 0}
        batch = await site.look(batch, after=240)
        assert 4 <= batch["request_counts"]["completed"] <= 6
        assert batch["output_file_id"] is None
        batch = await site.look(batch, after=235.5)
        assert (batch["status"], batch["request_counts"]["completed"]) == ("finalizing", 10)
        batch = await site.look(batch, after=2)
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 10, "completed": 10, "failed": 0}
        assert batch["error_file_id"] is None
        assert batch["completed_at"] - batch["created_at"] == 480

        lines = await site.lines_of(batch["output_file_id"])
        assert sorted(entry["custom_id"] for entry in lines) == [f"c{n}" for n in range(10)]
        assert [entry["custom_id"] for entry in lines] != [f"c{n}" for n in range(10)]
        for entry in lines:
            number = entry["custom_id"][1:]
            content = entry["response"]["body"]["choices"][0]["message"]["content"]
            assert content.startswith(f"echo: question {number}")
            assert (entry["response"]["status_code"], entry["error"]) == (200, None)

    play(story)


def test_the_batch_answers_what_the_synchronous_route_answers(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a", "same question")])
        batch = await site.look(batch, after=480)
        (entry,) = await site.lines_of(batch["output_file_id"])
        called = (await site.chat("same question")).json
        assert entry["response"]["body"]["choices"] == called["choices"]
        assert entry["response"]["body"]["usage"] == called["usage"]

    play(story)


def test_the_bill_of_a_batch_is_its_usage_at_the_batch_price(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line(f"c{n}", max_tokens=4) for n in range(3)])
        assert (await site.emulator.account())["total"]["requests"] == 0
        site.clock.at += 480
        account = await site.emulator.account()  # nobody has polled, it is billed all the same
        batch = await site.look(batch)
        assert batch["usage"]["input_tokens"] == 3 * (1 + 3)
        assert batch["usage"]["output_tokens"] == 3 * 4
        assert account["tiers"]["batch"]["requests"] == 3
        assert account["tiers"]["batch"]["usd"] == "0.0000045"  # 12 * 7.5e-08 + 12 * 3e-07
        assert account["batches"] == {"completed": 1}

    play(story, reply_words_max=100)


def test_a_line_with_a_bad_body_fails_alone_into_the_error_file(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("good"), line("bad", temperature=9), line("odd", deadline="1h")])
        batch = await site.look(batch, after=480)
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
        errors = {entry["custom_id"]: entry for entry in await site.lines_of(batch["error_file_id"])}
        assert set(errors) == {"bad", "odd"}
        assert errors["bad"]["error"] is None
        assert errors["bad"]["response"]["status_code"] == 400
        assert errors["bad"]["response"]["body"]["error"]["param"] == "temperature"
        assert "deadline" in errors["odd"]["response"]["body"]["error"]["message"]
        assert (await site.emulator.account())["total"]["requests"] == 1

    play(story)


def test_a_batch_of_failures_completes_without_an_output_file(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.look(await site.batch([line("bad", n="many")]), after=480)
        assert (batch["status"], batch["output_file_id"]) == ("completed", None)
        assert len(await site.lines_of(batch["error_file_id"])) == 1

    play(story)


def test_an_expired_batch_keeps_what_was_done_and_names_the_rest(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line(f"c{n}") for n in range(10)])
        batch = await site.look(batch, after=86399)
        assert batch["status"] == "in_progress"
        batch = await site.look(batch, after=1)
        assert batch["status"] == "expired"
        assert batch["expired_at"] == batch["expires_at"]
        done = await site.lines_of(batch["output_file_id"])
        rest = await site.lines_of(batch["error_file_id"])
        assert len(done) == 4  # a little less than half: validating took its time
        assert len(rest) == 6
        assert {entry["error"]["code"] for entry in rest} == {"batch_expired"}
        assert {entry["response"] for entry in rest} == {None}
        assert len({entry["custom_id"] for entry in done + rest}) == 10
        assert (await site.emulator.account())["tiers"]["batch"]["requests"] == 4

    play(story, turnaround=Constant(2 * 86400.0))


def test_a_stuck_batch_expires_with_the_share_that_was_done(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line(f"c{n}") for n in range(10)])
        batch = await site.look(batch, after=80000)
        assert (batch["status"], batch["request_counts"]["completed"]) == ("in_progress", 3)
        batch = await site.look(batch, after=10000)
        assert (batch["status"], batch["request_counts"]["completed"]) == ("expired", 3)

    play(story, turnaround=Stuck(0.3))


def test_cancelling_finishes_what_is_in_flight_bills_it_and_names_the_rest(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line(f"c{n:02}") for n in range(40)])
        batch = await site.look(batch, after=240)
        before = batch["request_counts"]["completed"]
        cancelled = await site.call("POST", f"/v1/batches/{batch['id']}/cancel")
        assert cancelled.json["status"] == "cancelling"
        again = await site.call("POST", f"/v1/batches/{batch['id']}/cancel")
        assert again.status == 400
        assert (await site.look(batch, after=299))["status"] == "cancelling"
        batch = await site.look(batch, after=1)
        assert batch["status"] == "cancelled"
        done = await site.lines_of(batch["output_file_id"])
        rest = await site.lines_of(batch["error_file_id"])
        assert len(done) == before + 5
        assert len(done) + len(rest) == 40
        assert {entry["error"]["code"] for entry in rest} == {"batch_cancelled"}
        assert (await site.emulator.account())["tiers"]["batch"]["requests"] == before + 5

    play(story, cancelling_seconds=300.0, lines_in_flight=5)


def test_a_batch_cancelled_while_validating_has_no_files(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a")])
        await site.call("POST", f"/v1/batches/{batch['id']}/cancel")
        batch = await site.look(batch, after=60)
        assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("cancelled", None, None)

    play(story)


def test_a_batch_at_its_end_cannot_be_cancelled(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a")])
        site.clock.at += 480
        got = await site.call("POST", f"/v1/batches/{batch['id']}/cancel")
        assert got.status == 400
        assert "completed" in got.json["error"]["message"]

    play(story)


def test_time_is_scaled_for_everything_about_a_batch(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a")])
        assert batch["expires_at"] - batch["created_at"] == 60
        batch = await site.look(batch, after=480 / 1440)
        assert batch["status"] == "completed"

    play(story, time_scale=1440.0)


def test_the_list_is_paged_newest_first_and_per_key(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        ids = [(await site.batch([line("a")]))["id"] for _ in range(5)]
        await site.batch([line("a")], key="sk-other")
        first = (await site.call("GET", "/v1/batches?limit=2")).json
        assert [batch["id"] for batch in first["data"]] == [ids[4], ids[3]]
        assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[4], ids[3], True)
        rest = (await site.call("GET", f"/v1/batches?limit=100&after={first['last_id']}")).json
        assert [batch["id"] for batch in rest["data"]] == [ids[2], ids[1], ids[0]]
        assert rest["has_more"] is False
        for wrong in ("limit=0", "limit=101", "limit=x", "after=nobody"):
            assert (await site.call("GET", f"/v1/batches?{wrong}")).status == 400

    play(story)


def test_another_key_sees_nothing_of_a_batch(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a")])
        assert (await site.call("GET", f"/v1/batches/{batch['id']}", key="sk-other")).status == 404
        assert (await site.call("POST", f"/v1/batches/{batch['id']}/cancel", key="sk-other")).status == 404
        body = {"input_file_id": batch["input_file_id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        assert (await site.call("POST", "/v1/batches", body, key="sk-other")).status == 400

    play(story)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"completion_window": "1h"}, "completion_window"),
        ({"endpoint": "/v1/nothing"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"metadata": {"a": 1}}, None),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": "text"}, "metadata"),
        ({"priority": 1}, "priority"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after"),
    ],
)
def test_a_wrong_create_is_refused_with_the_argument_at_fault(
    play: Any, line: Any, change: dict[str, object], param: str | None
) -> None:
    async def story(site: Any) -> None:
        file_id = (await site.upload([line("a")])).json["id"]
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"} | change
        got = await site.call("POST", "/v1/batches", body)
        assert got.status == 400
        if param is not None:
            assert got.json["error"]["param"] == param
        assert (await site.call("GET", "/v1/batches")).json["data"] == []

    play(story)


def test_a_file_with_another_purpose_is_no_input(play: Any) -> None:
    async def story(site: Any) -> None:
        file_id = (await site.upload(b"x", purpose="user_data")).json["id"]
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        got = await site.call("POST", "/v1/batches", body)
        assert (got.status, got.json["error"]["param"]) == (400, "input_file_id")

    play(story)


def test_the_input_file_may_be_deleted_while_the_batch_runs(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a")])
        await site.call("DELETE", f"/v1/files/{batch['input_file_id']}")
        batch = await site.look(batch, after=480)
        assert len(await site.lines_of(batch["output_file_id"])) == 1

    play(story)


def test_output_files_expire_after_the_time_asked_for(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a")], output_expires_after={"anchor": "created_at", "seconds": 3600})
        batch = await site.look(batch, after=480)
        path = f"/v1/files/{batch['output_file_id']}"
        shown = (await site.call("GET", path)).json
        assert (shown["purpose"], shown["expires_at"] - shown["created_at"]) == ("batch_output", 3600)
        site.clock.at += 3600
        assert (await site.call("GET", path)).status == 404

    play(story)


def test_too_many_enqueued_tokens_fail_the_batch_until_others_have_ended(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        lines = [line("a", "x" * 240)]  # 63 tokens
        first = await site.batch(lines)
        second = await site.batch(lines)
        other = await site.batch(lines, key="sk-other")
        second = await site.look(second, after=3)
        assert second["status"] == "failed"
        (problem,) = second["errors"]["data"]
        assert (problem["code"], problem["line"]) == ("token_limit_exceeded", None)
        assert second["request_counts"]["total"] == 0
        assert (await site.look(first))["status"] == "in_progress"
        assert (await site.look(other, key="sk-other"))["status"] == "in_progress"
        site.clock.at += 480
        third = await site.batch(lines)
        assert (await site.look(third, after=3))["status"] == "in_progress"

    play(story, model_enqueued_tokens_max={"gpt-4o-mini": 100})


def test_creations_are_limited_per_hour_and_key(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        first = await site.batch([line("a")])
        await site.batch([line("a")])
        body = {"input_file_id": first["input_file_id"], "endpoint": first["endpoint"], "completion_window": "24h"}
        got = await site.call("POST", "/v1/batches", body)
        assert (got.status, got.json["error"]["code"]) == (429, "rate_limit_exceeded")
        assert got.headers["retry-after"] == "3600"
        assert (await site.batch([line("a")], key="sk-other"))["status"] == "validating"
        site.clock.at += 3600
        assert (await site.call("POST", "/v1/batches", body)).status == 200

    play(story, batch_creations_per_hour=2)


def test_embeddings_responses_and_moderations_go_through_batches_too(play: Any) -> None:
    async def story(site: Any) -> None:
        bodies = {
            "/v1/embeddings": {"model": "text-embedding-3-small", "input": "a", "dimensions": 4},
            "/v1/responses": {"model": "gpt-4o-mini", "input": "a"},
            "/v1/moderations": {"input": "a"},
        }
        for endpoint, body in bodies.items():
            lines = [{"custom_id": "one", "method": "POST", "url": endpoint, "body": body}]
            batch = await site.look(await site.batch(lines, endpoint=endpoint), after=480)
            assert batch["status"] == "completed", batch
            (entry,) = await site.lines_of(batch["output_file_id"])
            assert entry["response"]["status_code"] == 200
        assert (await site.emulator.account())["tiers"]["batch"]["unpriced_requests"] == 0

    play(story)

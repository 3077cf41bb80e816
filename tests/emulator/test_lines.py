"""What fails a whole input file, with the line at fault."""

import json
from typing import Any

import pytest


async def problems_of(site: Any, content: Any, endpoint: str = "/v1/chat/completions") -> list[tuple[str, int | None]]:
    batch = await site.look(await site.batch(content, endpoint=endpoint), after=3)
    assert batch["status"] == "failed", batch
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    assert batch["errors"]["object"] == "list"
    assert (await site.emulator.account())["total"]["requests"] == 0
    return [(problem["code"], problem["line"]) for problem in batch["errors"]["data"]]


CHANGES = [
    ({"custom_id": None}, "missing_required_parameter"),
    ({"custom_id": 7}, "invalid_type"),
    ({"custom_id": "c0"}, "duplicate_custom_id"),
    ({"method": None}, "missing_required_parameter"),
    ({"method": "GET"}, "invalid_method"),
    ({"url": None}, "missing_required_parameter"),
    ({"url": "/v1/responses"}, "url_mismatch"),
    ({"url": "/v1/chat/completions/"}, "invalid_url"),
    ({"body": None}, "missing_required_parameter"),
    ({"body": "text"}, "invalid_type"),
    ({"body": {"messages": []}}, "missing_required_parameter"),
    ({"body": {"model": "gpt-5-mini", "messages": []}}, "model_mismatch"),
    ({"body": {"model": "gpt-4o-mini", "stream": True}}, "invalid_request"),
    ({"body": {"model": "gpt-4o-mini", "stream_options": {"include_usage": True}}}, "invalid_request"),
    ({"body": {"model": "gpt-4o-mini", "service_tier": "flex"}}, "invalid_request"),
    ({"priority": 1}, "unknown_parameter"),
]


@pytest.mark.parametrize(("change", "code"), CHANGES)
def test_one_bad_line_fails_the_file_and_is_named(play: Any, line: Any, change: dict[str, object], code: str) -> None:
    async def story(site: Any) -> None:
        lines = [line("c0"), line("c1") | change, line("c2")]
        assert await problems_of(site, lines) == [(code, 2)]

    play(story)


@pytest.mark.parametrize("raw", [b"{", b"[]", b"", b'{"custom_id": NaN}', b"\xff\xfe"])
def test_a_line_that_is_no_json_object_fails_the_file(play: Any, line: Any, raw: bytes) -> None:
    async def story(site: Any) -> None:
        good = [json.dumps(line(f"c{n}")).encode() for n in range(2)]
        assert await problems_of(site, b"\n".join([good[0], raw, good[1]])) == [("invalid_json_line", 2)]

    play(story)


def test_every_bad_line_is_named(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        lines = [line("a") | {"method": "GET"}, line("b"), line("b"), line("c") | {"url": "/v1/responses"}]
        assert await problems_of(site, lines) == [
            ("invalid_method", 1),
            ("duplicate_custom_id", 3),
            ("url_mismatch", 4),
        ]

    play(story)


def test_after_many_problems_the_rest_is_not_read(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        assert await problems_of(site, [line("a") | {"method": "GET"}] + [line("a")] * 200) == [
            ("invalid_method", 1),
            *(("duplicate_custom_id", number) for number in range(2, 101)),
        ]

    play(story)


def test_a_byte_order_mark_fails_the_file(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        content = b"\xef\xbb\xbf" + json.dumps(line("a")).encode() + b"\n"
        assert await problems_of(site, content) == [("invalid_json_line", 1)]

    play(story)


def test_the_last_line_may_end_without_a_newline(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch(json.dumps(line("a")).encode())
        assert (await site.look(batch, after=3))["status"] == "in_progress"

    play(story)


def test_too_many_lines_or_bytes_fail_the_file(play: Any, line: Any) -> None:
    async def many_lines(site: Any) -> None:
        assert await problems_of(site, [line(f"c{n}") for n in range(4)]) == [("too_many_tasks", None)]

    async def many_bytes(site: Any) -> None:
        assert await problems_of(site, [line("a", "x" * 300)]) == [("file_too_large", None)]

    play(many_lines, batch_lines_max=3)
    play(many_bytes, batch_bytes_max=200)


def test_too_many_embedding_inputs_fail_the_file(play: Any) -> None:
    async def story(site: Any) -> None:
        body = {"model": "text-embedding-3-small", "input": ["a", "b"]}
        lines = [{"custom_id": f"c{n}", "method": "POST", "url": "/v1/embeddings", "body": body} for n in range(3)]
        assert await problems_of(site, lines, "/v1/embeddings") == [("too_many_tasks", None)]

    play(story, embedding_inputs_max=5)


@pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "claude-nobody"])
def test_a_model_that_is_unknown_or_has_no_batch_price_fails_the_file(play: Any, line: Any, model: str) -> None:
    async def story(site: Any) -> None:
        assert await problems_of(site, [line("a", model=model)]) == [("model_not_found", 1)]

    play(story)

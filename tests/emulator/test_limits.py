"""Rate limits: headers, refusals, refill, one pool per key and model."""

from typing import Any

import pytest

from proxy.emulator.limits import go_duration
from proxy.emulator.settings import RateLimit


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (0.0001, "1ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (3661, "1h1m1s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown


def test_headers_tell_what_is_left_and_when_it_is_full_again(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.chat("x" * 28, max_tokens=50)  # 10 prompt tokens, and 50 taken ahead
        assert got.headers["x-ratelimit-limit-requests"] == "60"
        assert got.headers["x-ratelimit-remaining-requests"] == "59"
        assert got.headers["x-ratelimit-reset-requests"] == "1s"
        assert got.headers["x-ratelimit-limit-tokens"] == "600"
        assert got.headers["x-ratelimit-remaining-tokens"] == "540"
        assert got.headers["x-ratelimit-reset-tokens"] == "6s"

    play(story, rpm=60, tpm=600)


def test_too_many_requests_are_refused_and_refill_with_time(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat()).status == 200
        assert (await site.chat()).status == 200
        got = await site.chat()
        assert got.status == 429
        assert (got.json["error"]["code"], got.json["error"]["type"]) == ("rate_limit_exceeded", "requests")
        assert (got.headers["retry-after"], got.headers["retry-after-ms"]) == ("30", "30000")
        assert got.headers["x-ratelimit-remaining-requests"] == "0"
        site.clock.at += 30
        assert (await site.chat()).status == 200
        account = await site.emulator.account()
        assert (account["rate_limited"], account["total"]["requests"]) == (1, 3)

    play(story, rpm=2)


def test_too_many_tokens_are_refused_and_a_refusal_costs_its_request(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat("x" * 28, max_tokens=70)).status == 200
        got = await site.chat("x" * 28, max_tokens=70)
        assert (got.status, got.json["error"]["type"]) == (429, "tokens")
        assert got.headers["retry-after"] == "36"  # 60 of 100 tokens are missing
        assert got.headers["x-ratelimit-remaining-requests"] == "8"

    play(story, rpm=10, tpm=100)


def test_a_call_that_can_never_fit_is_refused_without_a_time(play: Any) -> None:
    async def story(site: Any) -> None:
        got = await site.chat("x" * 28, max_tokens=500)
        assert got.status == 429
        assert "Request too large" in got.json["error"]["message"]
        assert "retry-after" not in got.headers

    play(story, tpm=100)


def test_keys_and_models_have_limits_of_their_own(play: Any) -> None:
    async def story(site: Any) -> None:
        assert (await site.chat()).status == 200
        assert (await site.chat()).status == 429
        assert (await site.chat(key="sk-other")).status == 200
        assert (await site.chat(model="gpt-5-mini")).headers["x-ratelimit-limit-requests"] == "5"

    play(story, rpm=1, model_limits={"gpt-5-mini": RateLimit(5, 1000)})


def test_batches_do_not_use_the_synchronous_limits(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.look(await site.batch([line(f"c{n}") for n in range(5)]), after=480)
        assert batch["request_counts"]["completed"] == 5
        assert (await site.chat()).headers["x-ratelimit-remaining-requests"] == "0"

    play(story, rpm=1)


def test_the_window_of_the_limits_is_not_scaled(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.chat()
        assert (await site.chat()).headers["retry-after"] == "60"

    play(story, rpm=1, time_scale=1440.0)

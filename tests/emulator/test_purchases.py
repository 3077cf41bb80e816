"""Proving that an answer was bought once."""

from typing import Any

from proxy.emulator.purchases import Bought, Purchases, body_key


def test_one_request_bought_on_both_ways_is_seen_as_one_body(play: Any, line: Any) -> None:
    async def story(site: Any) -> None:
        batch = await site.batch([line("a", "the question"), line("b", "another")])
        await site.chat("the question", stream=True, stream_options={"include_usage": True})
        site.clock.at += 480
        shown = (await site.call("GET", "/emulator/lines?text=the question")).json
        (body,) = shown["bodies"]
        assert (body["text"], body["sync"], body["batch"], body["custom_ids"]) == ("the question", 1, 1, ["a"])
        assert shown["custom_ids"] == {"a": 1, "b": 1}
        assert (await site.look(batch))["status"] == "completed"

    play(story)


def test_refused_requests_are_not_purchases(play: Any) -> None:
    async def story(site: Any) -> None:
        await site.chat("never", temperature=9)
        assert (await site.emulator.lines())["bodies"] == []

    play(story)


def test_how_a_request_is_delivered_does_not_make_it_another() -> None:
    body: dict[str, object] = {"model": "m", "messages": [1], "temperature": 1}
    assert body_key(body) == body_key({"temperature": 1, "stream": True, "service_tier": "flex"} | body)
    assert body_key(body) != body_key(body | {"temperature": 0})


def test_memory_is_bounded_and_says_so() -> None:
    purchases = Purchases(2)
    purchases.book([Bought(str(n), "", f"c{n}") for n in range(5)])
    purchases.book([Bought("0", "", "c0")])
    shown: Any = purchases.shown()
    assert [entry["batch"] for entry in shown["bodies"]] == [2, 1]
    assert shown["custom_ids"] == {"c0": 2, "c1": 1}
    assert shown["untold"] == 3

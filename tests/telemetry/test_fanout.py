import logging

import pytest

from proxy.domain.events import AnyEvent, RequestRejected
from proxy.telemetry.fanout import Announcer

EVENT = RequestRejected(status=400, code="bad_deadline", at=1.0)


def test_every_listener_hears_every_event_in_the_order_of_connection() -> None:
    heard: list[tuple[str, AnyEvent]] = []
    announcer = Announcer()
    announcer.connect(lambda event: heard.append(("first", event)))
    announcer.connect(lambda event: heard.append(("second", event)))
    announcer.announce(EVENT)
    assert heard == [("first", EVENT), ("second", EVENT)]


def test_an_announcement_without_listeners_is_no_error() -> None:
    announcer = Announcer()
    announcer.announce(EVENT)
    assert announcer.failures == 0


def test_a_listener_that_fails_is_counted_logged_once_and_harms_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[AnyEvent] = []

    def fail(_: AnyEvent) -> None:
        raise KeyError("an unknown event")

    announcer = Announcer()
    announcer.connect(fail)
    announcer.connect(heard.append)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            announcer.announce(EVENT)
    assert heard == [EVENT] * 3
    assert announcer.failures == 3
    assert len(caplog.records) == 1
    assert "RequestRejected" in caplog.text
    assert "an unknown event" in caplog.text


def test_each_failing_listener_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def first(_: AnyEvent) -> None:
        raise ValueError("one")

    def second(_: AnyEvent) -> None:
        raise ValueError("two")

    announcer = Announcer()
    announcer.connect(first)
    announcer.connect(second)
    announcer.announce(EVENT)
    announcer.announce(EVENT)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert announcer.failures == 4


def test_a_listener_connected_during_an_announcement_hears_the_next_one() -> None:
    heard: list[AnyEvent] = []
    announcer = Announcer()
    announcer.connect(lambda _: announcer.connect(heard.append))
    announcer.announce(EVENT)
    assert heard == []
    announcer.announce(EVENT)
    assert heard == [EVENT]

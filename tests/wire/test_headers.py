from collections.abc import Callable, Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.decision import Reason
from proxy.domain.ids import BatchId, RequestId
from proxy.domain.tier import Tier
from proxy.wire.headers import (
    HOP_BY_HOP,
    forwarded_request_headers,
    forwarded_response_headers,
    outcome_headers,
)

Forward = Callable[[Iterable[tuple[str, str]]], list[tuple[str, str]]]
OWN = ("X-Deadline", "X-Priority", "Prefer", "grpc-timeout", "X-Server-Timeout", "X-Standby-Anything", "x-standby-")
CONNECTION = ("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization")
END_TO_END = (
    *("Authorization", "Content-Type", "Content-Length", "Content-Encoding", "Accept-Encoding", "User-Agent"),
    *("Idempotency-Key", "Priority", "OpenAI-Organization", "OpenAI-Beta", "x-stainless-retry-count", "traceparent"),
    *("X-Custom", "Cookie", "Forwarded", "X-Forwarded-For"),
)


def outcome(
    cost: Decimal | None = None, saved: Decimal | None = None, deadline_at: float | None = None
) -> dict[str, str]:
    return dict(
        outcome_headers(
            request_id=RequestId("req-1"),
            tier=Tier.BATCH,
            reason=Reason.DEADLINE_ALLOWS,
            cost_usd=cost,
            saved_usd=saved,
            deadline_at=deadline_at,
        )
    )


@pytest.mark.parametrize("name", [*OWN, *CONNECTION, "Host", "Expect"])
def test_what_is_meant_for_standby_or_for_one_connection_does_not_go_upstream(name: str) -> None:
    for spelled in (name, name.lower(), name.upper()):
        assert forwarded_request_headers([("A", "1"), (spelled, "x"), ("B", "2")]) == [("A", "1"), ("B", "2")]


@pytest.mark.parametrize("name", END_TO_END)
def test_every_other_header_goes_upstream_as_it_is(name: str) -> None:
    assert forwarded_request_headers([(name, " vàlue ")]) == [(name, " vàlue ")]


@pytest.mark.parametrize(
    "name", ["x-request-id", "x-ratelimit-remaining-tokens", "Retry-After", "Content-Length", "Via"]
)
def test_upstreams_headers_come_back_as_they_are(name: str) -> None:
    assert forwarded_response_headers([(name, "1")]) == [(name, "1")]


@pytest.mark.parametrize("name", [*CONNECTION, "X-Standby-Tier", "x-standby-cost-usd"])
def test_what_speaks_of_upstreams_connection_or_in_our_name_does_not_come_back(name: str) -> None:
    assert forwarded_response_headers([(name, "x"), ("Date", "now")]) == [("Date", "now")]


@pytest.mark.parametrize("forward", [forwarded_request_headers, forwarded_response_headers])
def test_order_and_duplicates_are_kept(forward: Forward) -> None:
    headers = [("Set-Cookie", "a"), ("X-A", "1"), ("set-cookie", "b"), ("X-A", "1")]
    assert forward(iter(headers)) == headers


@pytest.mark.parametrize("forward", [forwarded_request_headers, forwarded_response_headers])
def test_headers_that_connection_names_are_dropped(forward: Forward) -> None:
    headers = [
        ("X-One", "1"),
        ("connection", "close, X-One ,"),
        ("CONNECTION", "x-two"),
        ("x-two", "2"),
        ("X-Three", "3"),
    ]
    assert forward(headers) == [("X-Three", "3")]


@given(st.lists(st.tuples(st.sampled_from([*OWN, *CONNECTION, *END_TO_END, "X-Ürgent"]), st.text(max_size=8))))
def test_what_passes_is_a_part_of_what_came_in_the_same_order(headers: list[tuple[str, str]]) -> None:
    rest = iter(headers)
    for forwarded in forwarded_request_headers(headers):
        assert forwarded in rest
        assert forwarded[0].lower() not in HOP_BY_HOP


def test_an_outcome_names_request_tier_and_reason() -> None:
    assert outcome() == {
        "X-Standby-Request-Id": "req-1",
        "X-Standby-Tier": "batch",
        "X-Standby-Reason": "deadline_allows",
    }


def test_an_outcome_names_its_batch() -> None:
    named = outcome_headers(
        request_id=RequestId("r"), tier=Tier.BATCH, reason=Reason.DEADLINE_ALLOWS, batch_id=BatchId("b-1")
    )
    assert ("X-Standby-Batch-Id", "b-1") in named


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("0.00", "0"),
        ("1E-10", "0.0000000001"),
        ("0.00012500", "0.000125"),
        ("12", "12"),
        ("120", "120"),
        ("1E+2", "100"),
        ("-0.5", "-0.5"),
    ],
)
def test_dollars_are_written_without_exponent_and_without_trailing_zeros(amount: str, text: str) -> None:
    headers = outcome(cost=Decimal(amount), saved=Decimal(amount))
    assert headers["X-Standby-Cost-Usd"] == text
    assert headers["X-Standby-Saved-Usd"] == text


def test_the_deadline_is_told_in_utc() -> None:
    assert outcome(deadline_at=1_900_000_000.9)["X-Standby-Deadline"] == "2030-03-17T17:46:40Z"

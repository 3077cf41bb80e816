from collections.abc import Callable
from decimal import Decimal

import pytest

from proxy.backtest.baseline import AllSynchronous, Oracle
from proxy.backtest.traces import Row
from proxy.backtest.weather import CompletionPath
from proxy.routing.pricing import PriceBook

MODEL = "gpt-4.1"
"""2 dollars per million tokens in, 8 out; half of it in a batch."""
PathOf = Callable[[float], CompletionPath]


def row(at: float, within: float | None) -> Row:
    return Row(at, MODEL, 1_000_000, 0, within)


@pytest.mark.parametrize(("within", "saved"), [(None, "0"), (599.0, "0"), (600.0, "1"), (86_400.0, "1")])
def test_the_optimum_saves_what_some_batch_could_have_answered_in_time(
    prices: PriceBook, constant_path: PathOf, within: float | None, saved: str
) -> None:
    oracle = Oracle({MODEL: constant_path(600.0)}, prices)
    oracle.arrive(row(0.0, within))
    assert oracle.saved_usd == Decimal(saved)
    assert oracle.list_usd == Decimal(2)


def test_the_optimum_saves_nothing_on_what_is_not_cheaper_in_batches(prices: PriceBook, constant_path: PathOf) -> None:
    oracle = Oracle({"text-embedding-ada-002": constant_path(1.0)}, prices)
    oracle.arrive(Row(0.0, "text-embedding-ada-002", 1000, 0, 86_400.0))
    assert oracle.saved_usd == 0


def short(at: float, within: float | None) -> Row:
    return Row(at, MODEL, 10, 0, within)


def missed(rpm: int, *rows: Row) -> int:
    client = AllSynchronous(rpm)
    for each in rows:
        client.arrive(each)
    client.run_until(float("inf"))
    return client.missed


def test_an_all_synchronous_client_misses_what_the_rate_limit_does_not_let_through_in_time() -> None:
    burst = [short(0.0, 30.0) for _ in range(100)]
    assert missed(60, *burst) == 100 - 60 - 29
    assert missed(100, *burst) == 0


def test_it_sends_interactive_calls_first_and_then_the_earliest_deadline() -> None:
    crowd = [short(0.0, 3600.0) for _ in range(70)]
    assert missed(60, *crowd, short(1.0, 10.0), short(1.0, None)) == 0


def test_what_it_has_not_used_for_a_minute_it_may_use_at_once_and_no_more() -> None:
    later = [short(1000.0, 2.0) for _ in range(63)]
    assert missed(60, *later) == 2

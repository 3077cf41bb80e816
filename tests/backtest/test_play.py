from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from proxy.backtest.baseline import AllSynchronous
from proxy.backtest.play import Outcome, Play, play
from proxy.backtest.provider import Settings as ProviderSettings
from proxy.backtest.run import MONDAY, coarse
from proxy.backtest.traces import Row
from proxy.backtest.weather import CompletionPath, World
from proxy.backtest.workload import Settings, measure, workload
from proxy.config.load import load_policy
from proxy.config.settings import Config
from proxy.routing.policy import Policy, PolicyFile
from proxy.routing.pricing import PriceBook
from proxy.simulation.loop import run

HOUR = 3600.0
MODEL = "gpt-4.1"
SPAN = 6 * HOUR


def played(
    prices: PriceBook,
    rows: list[Row],
    *,
    world: World = World.NORMAL,
    rpm: int = 60,
    seed: int = 1,
    policy: Policy | None = None,
) -> Outcome:
    staged = Play(
        policy=policy or load_policy(Config().policy_file),
        config=coarse(Config()),
        prices=prices,
        paths={MODEL: CompletionPath(world, SPAN, MODEL, seed)},
        provider=ProviderSettings(rpm, seed),
    )
    return run(play(staged, iter(rows), lambda _: None), start_at=MONDAY)


def mixed(count: int, seed: int = 1) -> list[Row]:
    trace = [Row(number * SPAN / count, MODEL, 1000 + number % 50, 100) for number in range(count)]
    return list(workload(iter(trace), measure(iter(trace)), Settings(seed=seed, bulk_per_day=4)))


@pytest.fixture(scope="module")
def normal(prices: PriceBook) -> Outcome:
    return played(prices, mixed(400))


def test_every_request_is_answered_and_the_ledger_is_the_providers_bill(normal: Outcome) -> None:
    account = normal.account
    assert normal.requests == len(mixed(400)) > 1000
    assert (account.answered, account.failed) == (normal.requests, 0)
    assert account.paid_usd == normal.billed_usd
    assert normal.files_left == 0
    assert account.step_failures == 0


def test_deadlines_are_met_and_no_more_is_saved_than_can_be(normal: Outcome) -> None:
    account = normal.account
    assert account.missed == 0
    assert account.batches > 10
    saved = account.list_usd - account.paid_usd
    assert Decimal("0.8") * normal.optimum_usd < saved <= normal.optimum_usd


def test_hours_and_classes_add_up_to_the_whole(normal: Outcome) -> None:
    account = normal.account
    assert sum(sum(tiers.values()) for tiers in account.spend_by_hour.values()) == account.paid_usd
    assert sum(account.list_by_hour.values()) == account.list_usd
    assert sum(account.slack_classes.values()) == account.with_deadline
    assert sum(account.saved_by_class.values()) - account.duplicate_usd == account.list_usd - account.paid_usd
    assert sum(normal.optimum_by_class.values()) == normal.optimum_usd


def test_a_seed_decides_everything(prices: PriceBook, normal: Outcome) -> None:
    again = played(prices, mixed(400))
    assert again.account == replace(normal.account, began_at=again.account.began_at)


def test_where_nothing_ever_finishes_deadlines_hold_and_little_is_paid_twice(prices: PriceBook) -> None:
    rows = [Row(number * 60.0, MODEL, 1000, 100, 2 * HOUR) for number in range(200)]
    outcome = played(prices, rows, world=World.STUCK)
    account = outcome.account
    assert account.missed == 0
    assert account.escalated == 200
    assert account.duplicate_usd < account.list_usd / 20


def test_a_crowd_that_the_rate_limit_cannot_carry_misses_no_more_than_all_synchronous(prices: PriceBook) -> None:
    rows = [Row(10.0, MODEL, 1000, 100, 900.0) for _ in range(1500)]
    outcome = played(prices, rows, world=World.STUCK, rpm=60)
    assert outcome.all_sync_missed > 400
    assert outcome.account.missed <= outcome.all_sync_missed * 1.25
    assert outcome.account.answered == 1500


def test_a_policy_that_calls_everything_urgent_saves_nothing(prices: PriceBook) -> None:
    urgent = Policy(PolicyFile(default=replace(PolicyFile().default, urgent=True)))
    account = played(prices, mixed(200), policy=urgent, rpm=600).account
    assert account.paid_usd == account.list_usd
    assert account.deferred == 0


LOOSE_SECONDS = 240.0
"""What the engine keeps of each deadline: margin, service time, its tick and its look, all coarse here."""


NO_SHRINKING = (Phase.explicit, Phase.generate)
"""Each example takes a second."""
CROWDS = st.lists(
    st.tuples(st.integers(0, 180), st.sampled_from([15, 30, 60, 240, 1440]), st.integers(1, 40)), min_size=1, max_size=8
)
"""Deferrable requests: the minute in which they come, how many minutes they have, how many they are."""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=NO_SHRINKING)
@given(crowds=CROWDS, rpm=st.sampled_from([20, 60]), world=st.sampled_from(World), seed=st.integers(1, 1000))
def test_whatever_comes_and_however_long_batches_take(
    prices: PriceBook, crowds: list[tuple[int, int, int]], rpm: int, world: World, seed: int
) -> None:
    """The limit is never exceeded, urgent calls within the headroom never meet a 429, a feasible set of deadlines is
    met, and the ledger is the bill.
    """
    deferrable = [
        Row(minute * 60.0, MODEL, 1000, 100, minutes * 60.0)
        for minute, minutes, requests in crowds
        for _ in range(requests)
    ]
    apart = 60.0 / (0.08 * rpm)
    urgent = [Row(number * apart, MODEL, 500, 50) for number in range(int(SPAN / 2 / apart))]
    rows = sorted([*deferrable, *urgent], key=lambda row: row.at)
    outcome = played(prices, rows, world=world, rpm=rpm, seed=seed)
    account = outcome.account
    assert (account.refused, account.given_up, account.failed) == (0, 0, 0)
    assert account.paid_usd == outcome.billed_usd
    patient = AllSynchronous(int(rpm * 0.8), burst=1)
    for row in rows:
        if row.within_seconds is not None:
            patient.arrive(replace(row, within_seconds=row.within_seconds - LOOSE_SECONDS))
    patient.run_until(float("inf"))
    if patient.missed == 0:
        assert account.missed == 0

"""A policy's own tests go through the real reading and deciding, come out the same everywhere, and can fail."""

from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from proxy.config.trial import Conditions, Outcome, run_tests, shipped_conditions
from proxy.domain.decision import Delivery, OnMiss, Reason
from proxy.domain.tier import Tier
from proxy.routing.localtime import Weekday
from proxy.routing.policy import Match, PolicyFile, Rule, Then
from proxy.routing.policytest import Asked, Expected, PolicyTest
from proxy.routing.pricing import ModelPrice, PriceBook, TierPrice
from proxy.routing.terms import Budget, Mode, OverBudget

HOUR, DAY = 3600.0, 86_400.0
CHEAP = TierPrice(Decimal(1), Decimal(1))
DEAR = TierPrice(Decimal(2), Decimal(2))
PRICES = PriceBook.from_cost_map(
    {},
    {
        "half": ModelPrice(standard=DEAR, batch=CHEAP, flex=CHEAP),
        "sync-only": ModelPrice(standard=DEAR),
        "flex-only": ModelPrice(standard=DEAR, flex=CHEAP),
    },
    "a test",
)
CONDITIONS = Conditions(PRICES)
RULES = (
    Rule("chat", Match(header={"X-App": "chat*"}), Then(urgent=True)),
    Rule("night", Match(hours="20:00-06:00", tenant=("reports",)), Then(deadline_seconds=8 * HOUR)),
    Rule("weekend", Match(weekdays=(Weekday.SATURDAY, Weekday.SUNDAY)), Then(deadline_seconds=DAY)),
    Rule("blue", Match(metadata={"team": "blue"}, tools=True, stream=True), Then(delivery=Delivery.HOLD)),
    Rule("big", Match(input_tokens_min=1000, output_tokens_max=50, endpoint=("/v1/embeddings",)), Then(urgent=True)),
)
DEFAULT = Then(deadline_max_seconds=DAY, hint_may_defer=True)


def outcome(
    request: dict[str, Any],
    expect: Expected,
    *,
    conditions: Conditions = CONDITIONS,
    timezone: tzinfo | None = None,
    rules: tuple[Rule, ...] = RULES,
) -> Outcome:
    test = PolicyTest("it", expect, Asked(**request))
    (found,) = run_tests(PolicyFile(rules=rules, default=DEFAULT, tests=(test,), timezone=timezone), conditions)
    return found


def decided(request: dict[str, Any]) -> tuple[str, str, str, str]:
    found = outcome(request, Expected(deadline_seconds=1.0))
    assert found.decision is not None, found.refusal
    (left,) = [one.found for one in found.differences]
    return found.decision.policy, found.decision.tier, found.decision.reason, left


@pytest.mark.parametrize(
    ("request_of_the_test", "expected"),
    [
        ({}, ("default", "standard", "no_deadline", "none")),
        ({"deadline": "4h"}, ("default", "batch", "deadline_allows", "4h")),
        ({"deadline": "2d"}, ("default", "batch", "deadline_allows", "1d")),
        ({"deadline": "5s"}, ("default", "standard", "deadline_short", "5s")),
        ({"model": "half", "deadline": "20m"}, ("default", "flex", "deadline_allows_flex", "20m")),
        ({"model": "sync-only", "deadline": "4h"}, ("default", "standard", "not_sold_as_batch", "4h")),
        ({"model": "flex-only", "deadline": "4h"}, ("default", "flex", "deadline_allows_flex", "4h")),
        ({"priority": "deferrable"}, ("default", "batch", "deadline_allows", "1d")),
        ({"priority": "urgent"}, ("default", "standard", "client_urgent", "none")),
        ({"prefix": "/within/2h"}, ("default", "batch", "deadline_allows", "2h")),
        ({"prefix": "/by/14:00"}, ("default", "batch", "deadline_allows", "2h")),
        ({"prefix": "/urgent", "deadline": "4h"}, ("default", "standard", "client_urgent", "none")),
        ({"metadata": {"deadline": "3h"}}, ("default", "batch", "deadline_allows", "3h")),
        ({"headers": {"Priority": "u=7"}}, ("default", "batch", "deadline_allows", "1d")),
        ({"headers": {"grpc-timeout": "2H"}}, ("default", "batch", "deadline_allows", "2h")),
        ({"service_tier": "flex", "deadline": "4h"}, ("default", "flex", "client_tier", "none")),
        ({"key_deadline_seconds": HOUR}, ("default", "batch", "deadline_allows", "1h")),
        ({"headers": {"x-app": "chat/2"}, "deadline": "4h"}, ("chat", "standard", "policy_urgent", "none")),
        ({"tenant": "reports", "at": "23:00"}, ("night", "batch", "deadline_allows", "8h")),
        ({"tenant": "reports", "at": "sat 23:00"}, ("night", "batch", "deadline_allows", "8h")),
        ({"tenant": "others", "at": "sat 23:00"}, ("weekend", "batch", "deadline_allows", "1d")),
        ({"tools": True, "stream": True, "metadata": {"team": "blue"}}, ("blue", "standard", "no_deadline", "none")),
        (
            {"endpoint": "/v1/embeddings", "input_tokens": 1000, "output_tokens": 50},
            ("big", "standard", "policy_urgent", "none"),
        ),
        ({"endpoint": "/v1/audio/speech", "deadline": "4h"}, ("default", "standard", "endpoint_not_batchable", "4h")),
        ({"input_tokens": 60_000_000, "deadline": "4h"}, ("default", "standard", "too_large", "4h")),
    ],
    ids=str,
)
def test_a_request_is_decided_as_the_proxy_would(
    request_of_the_test: dict[str, Any], expected: tuple[str, str, str, str]
) -> None:
    assert decided(request_of_the_test) == expected


def test_what_is_expected_and_found_passes() -> None:
    expect = Expected(
        rule="night",
        deferred=True,
        tier=Tier.BATCH,
        reason=Reason.DEADLINE_ALLOWS,
        deadline_seconds=8 * HOUR,
        delivery=Delivery.ASYNC,
        tiers=frozenset({Tier.BATCH, Tier.STANDARD}),
        on_miss=OnMiss.ESCALATE,
        confidence=0.999,
        mode=Mode.ENFORCE,
    )
    request = {"tenant": "reports", "at": "mon 23:00", "headers": {"Prefer": "respond-async"}}
    assert outcome(request, expect).passed


def test_everything_that_is_named_is_compared_and_what_differs_is_told_in_the_files_words() -> None:
    expect = Expected(
        rule="night",
        deferred=True,
        tier=Tier.BATCH,
        reason=Reason.DEADLINE_ALLOWS,
        deadline_seconds=90.0,
        delivery=Delivery.ASYNC,
        tiers=frozenset({Tier.BATCH, Tier.FLEX}),
        on_miss=OnMiss.WAIT,
        confidence=0.5,
        budget=Budget(Decimal(50)),
        retention_seconds=HOUR,
        mode=Mode.OBSERVE,
    )
    found = outcome({}, expect)
    assert not found.passed
    assert {(one.name, one.expected, one.found) for one in found.differences} == {
        ("rule", "night", "default"),
        ("deferred", "true", "false"),
        ("tier", "batch", "standard"),
        ("reason", "deadline_allows", "no_deadline"),
        ("deadline", "1m30s", "none"),
        ("delivery", "async", "hold"),
        ("tiers", "[batch, flex]", "[]"),
        ("on_miss", "wait", "escalate"),
        ("confidence", "0.5", "0.999"),
        ("budget", "{usd_per_day: 50, over: deferrable_only}", "none"),
        ("retention", "1h", "none"),
        ("mode", "observe", "enforce"),
    }
    assert str(outcome({}, Expected(rule="night", deferred=True))) == (
        "the test 'it' fails: rule is default and not night; deferred is false and not true (default: no_deadline)"
    )


@pytest.mark.parametrize(
    ("request_of_the_test", "words"),
    [
        ({"deadline": "soon"}, "X-Deadline: 'soon' is no deadline that can be understood"),
        ({"deadline": "4h", "headers": {"x-deadline": "2h"}}, "X-Deadline: says both"),
        ({"priority": "9"}, "X-Priority: '9' is no priority"),
        ({"prefix": "/later"}, "the prefix '/later' means nothing; write /within/2h, /by/06:00 or /urgent"),
        ({"metadata": {"deadline": "x"}}, "metadata.deadline: 'x' is no deadline"),
    ],
)
def test_a_request_that_would_be_refused_fails_its_test_with_what_the_client_would_hear(
    request_of_the_test: dict[str, Any], words: str
) -> None:
    found = outcome(request_of_the_test, Expected(deferred=False))
    assert not found.passed
    assert words in str(found)


def test_what_a_rule_says_of_a_miss_holds_for_what_goes_into_a_batch() -> None:
    waits = (Rule("waits", then=Then(on_miss=OnMiss.WAIT, confidence=0.5)),)
    for request, on_miss in (
        ({"deadline": "8h"}, OnMiss.WAIT),
        ({"model": "flex-only", "deadline": "8h"}, OnMiss.ESCALATE),
        (dict[str, str](), OnMiss.WAIT),
    ):
        assert outcome(request, Expected(on_miss=on_miss), rules=waits).passed, request


def test_a_spent_budget_refuses_what_it_says() -> None:
    budgets = (
        Rule("all", Match(model=("none",)), Then(budget=Budget(Decimal(5), OverBudget.REFUSE))),
        Rule("urgent", then=Then(budget=Budget(Decimal(5)))),
    )
    for request, refused in (
        ({"model": "none", "spent_usd": Decimal(5), "deadline": "4h"}, True),
        ({"model": "none", "spent_usd": Decimal("4.99")}, False),
        ({"spent_usd": Decimal(5), "deadline": "4h"}, False),
        ({"spent_usd": Decimal(5)}, True),
        (dict[str, Any](), False),
    ):
        assert outcome(request, Expected(refused=refused), rules=budgets).passed, request
    assert outcome({"spent_usd": Decimal(5)}, Expected(refused=False)).passed


def test_a_rule_that_only_observes_is_seen_to_defer_nothing() -> None:
    watches = (Rule("watches", then=Then(mode=Mode.OBSERVE)),)
    expect = Expected(mode=Mode.OBSERVE, deferred=False, reason=Reason.OBSERVED, deadline_seconds=4 * HOUR)
    assert outcome({"deadline": "4h"}, expect, rules=watches).passed


def test_there_is_a_model_whose_prices_never_change() -> None:
    for deadline, tier in (("4h", Tier.BATCH), ("20m", Tier.FLEX), ("10s", Tier.STANDARD)):
        assert outcome({"model": "example-model", "deadline": deadline}, Expected(tier=tier)).passed


def test_local_times_are_local_to_the_file_and_else_to_the_configuration() -> None:
    tokyo, york = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")
    request = {"tenant": "reports", "at": "23:00"}
    for conditions in (Conditions(PRICES, tokyo), Conditions(PRICES, york)):
        for zone in (None, tokyo, UTC):
            assert outcome(request, Expected(rule="night"), conditions=conditions, timezone=zone).passed
    instant = {"tenant": "reports", "at": "2026-11-23T03:00:00Z"}
    assert outcome(instant, Expected(rule="night"), conditions=Conditions(PRICES, york)).passed
    assert outcome(instant, Expected(rule="default"), conditions=Conditions(PRICES, tokyo)).passed
    assert outcome(instant, Expected(rule="default"), conditions=CONDITIONS, timezone=tokyo).passed


def test_prices_are_those_of_the_installed_list_where_nothing_is_configured() -> None:
    conditions = shipped_conditions()
    assert conditions.timezone is UTC
    assert outcome({"model": "gpt-4o-mini", "deadline": "4h"}, Expected(tier=Tier.BATCH), conditions=conditions).passed
    assert shipped_conditions() is conditions

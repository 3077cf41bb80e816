from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.decision import Delivery
from proxy.domain.tier import Tier
from proxy.routing.localtime import Weekday
from proxy.routing.policy import Facts, Match, Policy, PolicyFile, Rule, Then
from proxy.routing.policytest import Expected, PolicyTest
from proxy.routing.terms import Terms

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FACTS = Facts(
    model="gpt-4o-mini",
    endpoint="/v1/chat/completions",
    tenant="analytics",
    key="reports",
    headers={"x-app": "nightly/2", "user-agent": "OpenAI/Python 2.0"},
    metadata={"team": "blue", "Case": "Kept"},
    stream=False,
    has_tools=False,
    input_tokens=1000,
    output_tokens=200,
    local_time=MONDAY,
)


def matches(match: Match, **changes: Any) -> bool:
    policy = Policy(PolicyFile(rules=(Rule("found", match),)))
    return policy.terms(replace(FACTS, **changes)).policy == "found"


def test_without_rules_everybody_gets_the_default() -> None:
    assert Policy(PolicyFile()).terms(FACTS) == Terms(policy="default")
    assert Policy(PolicyFile(default=Then(urgent=True))).terms(FACTS) == Terms(policy="default", urgent=True)


def test_the_first_rule_that_matches_wins() -> None:
    rules = (Rule("a", Match(model=("o3*",))), Rule("b", Match(tenant=("analytics",))), Rule("c"))
    policy = Policy(PolicyFile(rules=rules))
    assert policy.terms(FACTS).policy == "b"
    assert policy.terms(replace(FACTS, model="o3-mini")).policy == "a"
    assert policy.terms(replace(FACTS, tenant="x")).policy == "c"


def test_terms_are_what_the_rule_grants_and_nothing_of_the_default() -> None:
    then = Then(
        deadline_seconds=3600.0,
        deadline_min_seconds=60.0,
        deadline_max_seconds=7200.0,
        tiers=frozenset({Tier.BATCH}),
        delivery=Delivery.HOLD,
        hint_may_defer=True,
    )
    policy = Policy(PolicyFile(rules=(Rule("all", then=then), Rule("never")), default=Then(urgent=True)))
    assert policy.terms(FACTS) == Terms(
        policy="all",
        tiers=frozenset({Tier.BATCH}),
        urgent=False,
        default_deadline_seconds=3600.0,
        deadline_min_seconds=60.0,
        deadline_max_seconds=7200.0,
        delivery=Delivery.HOLD,
        hint_may_defer=True,
    )


def test_a_match_that_asks_for_nothing_matches_everything() -> None:
    assert matches(Match())


@pytest.mark.parametrize("name", ["model", "endpoint", "tenant", "key"])
@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("gpt-4o*", "gpt-4o-mini", True),
        ("gpt-4o*", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("*4o", "gpt-4o-mini", False),
        ("*-mini", "gpt-4o-mini", True),
        ("GPT-4o*", "gpt-4o-mini", False),
        ("gpt-?o", "gpt-4o", True),
        ("gpt-[0-4]o", "gpt-4o", True),
        ("gpt-[!0-4]o", "gpt-4o", False),
        ("gpt.4o", "gpt-4o", False),
        ("(gpt|o3)", "gpt", False),
        ("a", "a\n", False),
        ("a*", "a\nb", True),
        ("*", "", True),
        ("", "x", False),
    ],
)
def test_texts_are_globs_of_the_whole_text_in_which_case_counts(
    name: str, glob: str, text: str, *, expected: bool
) -> None:
    asked: dict[str, Any] = {name: (glob,)}
    assert matches(Match(**asked), **{name: text}) is expected


@pytest.mark.parametrize("name", ["model", "endpoint", "tenant", "key"])
def test_a_list_of_globs_means_any_of_them(name: str) -> None:
    asked: dict[str, Any] = {name: ("a*", "b")}
    match = Match(**asked)
    assert matches(match, **{name: "abc"})
    assert matches(match, **{name: "b"})
    assert not matches(match, **{name: "bc"})


def test_everything_that_is_asked_must_hold() -> None:
    match = Match(
        model=("gpt*",), tenant=("analytics",), header={"X-App": "nightly*"}, stream=False, hours="09:00-17:00"
    )
    assert matches(match)
    assert not matches(match, model="o3")
    assert not matches(match, tenant="x")
    assert not matches(match, headers={"x-app": "daily"})
    assert not matches(match, stream=True)
    assert not matches(match, local_time=MONDAY.replace(hour=18))


def test_header_names_have_no_case_and_metadata_names_do() -> None:
    assert matches(Match(header={"X-APP": "nightly/*"}))
    assert not matches(Match(header={"X-App": "NIGHTLY/*"}))
    assert matches(Match(metadata={"Case": "Kept"}))
    assert not matches(Match(metadata={"case": "Kept"}))


def test_every_header_and_metadata_entry_that_is_asked_must_match() -> None:
    assert matches(Match(header={"x-app": "*", "user-agent": "OpenAI/*"}))
    assert not matches(Match(header={"x-app": "*", "user-agent": "curl/*"}))
    assert not matches(Match(metadata={"team": "blue", "Case": "lost"}))


def test_what_a_request_does_not_have_matches_not_even_a_star() -> None:
    assert not matches(Match(header={"x-none": "*"}))
    assert not matches(Match(metadata={"none": "*"}))
    assert matches(Match(header={"x-app": "*"}), headers={"x-app": ""})


@pytest.mark.parametrize("asked", [True, False])
def test_streams_and_tools_are_told_apart(*, asked: bool) -> None:
    assert matches(Match(stream=asked), stream=asked)
    assert not matches(Match(stream=asked), stream=not asked)
    assert matches(Match(tools=asked), has_tools=asked)
    assert not matches(Match(tools=asked), has_tools=not asked)


@pytest.mark.parametrize(("tokens", "expected"), [(99, False), (100, True), (200, True), (201, False)])
def test_limits_on_input_tokens_are_included(tokens: int, *, expected: bool) -> None:
    assert matches(Match(input_tokens_min=100, input_tokens_max=200), input_tokens=tokens) is expected


def test_one_limit_on_input_tokens_is_enough() -> None:
    assert matches(Match(input_tokens_min=0), input_tokens=0)
    assert not matches(Match(input_tokens_max=0), input_tokens=1)


@pytest.mark.parametrize(("tokens", "expected"), [(99, True), (100, True), (101, False), (None, False)])
def test_a_client_that_sets_no_limit_may_get_any_length(tokens: int | None, *, expected: bool) -> None:
    assert matches(Match(output_tokens_max=100), output_tokens=tokens) is expected


@pytest.mark.parametrize(("tokens", "expected"), [(99, False), (100, True), (101, True), (None, False)])
def test_a_client_that_sets_no_limit_has_not_asked_for_a_long_answer(tokens: int | None, *, expected: bool) -> None:
    assert matches(Match(output_tokens_min=100), output_tokens=tokens) is expected


@pytest.mark.parametrize(
    ("hours", "time", "expected"),
    [
        ("09:00-17:00", (9, 0), True),
        ("09:00-17:00", (16, 59), True),
        ("09:00-17:00", (17, 0), False),
        ("09:00-17:00", (8, 59), False),
        ("22:00-06:00", (22, 0), True),
        ("22:00-06:00", (0, 0), True),
        ("22:00-06:00", (5, 59), True),
        ("22:00-06:00", (6, 0), False),
        ("22:00-06:00", (12, 0), False),
        ("18:00-24:00", (23, 59), True),
        ("18:00-24:00", (0, 0), False),
        ("18:00-24:00", (17, 59), False),
        ("00:00-06:30", (6, 29), True),
        ("00:00-06:30", (0, 0), True),
        ("00:00-06:30", (23, 59), False),
    ],
)
def test_hours_include_their_begin_and_not_their_end_and_may_span_midnight(
    hours: str, time: tuple[int, int], *, expected: bool
) -> None:
    assert matches(Match(hours=hours), local_time=MONDAY.replace(hour=time[0], minute=time[1])) is expected


def test_hours_are_local() -> None:
    tokyo = MONDAY.astimezone(timezone(timedelta(hours=9)))
    assert matches(Match(hours="20:00-22:00"), local_time=tokyo)
    assert not matches(Match(hours="11:00-13:00"), local_time=tokyo)


def test_a_rule_may_have_a_time_zone_of_its_own_and_a_file_one_for_its_rules() -> None:
    tokyo, new_york = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")
    assert matches(Match(hours="21:00-22:00", timezone=tokyo))
    assert matches(Match(weekdays=(Weekday.TUESDAY,), timezone=tokyo), local_time=MONDAY.replace(hour=15))
    rules = (Rule("tokyo", Match(hours="21:00-22:00", timezone=tokyo)), Rule("york", Match(hours="07:00-08:00")))
    assert Policy(PolicyFile(rules=rules, timezone=new_york)).terms(FACTS).policy == "tokyo"
    assert Policy(PolicyFile(rules=rules[1:], timezone=new_york)).terms(FACTS).policy == "york"
    assert Policy(PolicyFile(rules=rules[1:])).terms(FACTS).policy == "default"


def test_a_time_zone_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^timezone: it says nothing without hours or weekdays"):
        Match(timezone=UTC)


def test_a_header_that_is_asked_for_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^header\.X-App: it is here twice, since case does not count"):
        Match(header={"X-App": "a", "x-app": "b"})


def test_weekdays_are_those_of_the_local_date() -> None:
    assert matches(Match(weekdays=(Weekday.MONDAY,)))
    assert not matches(Match(weekdays=(Weekday.SATURDAY, Weekday.SUNDAY)))
    in_tokyo = (MONDAY + timedelta(hours=6)).astimezone(timezone(timedelta(hours=9)))
    assert matches(Match(weekdays=(Weekday.TUESDAY,)), local_time=in_tokyo)


def test_every_day_of_the_week_has_its_name() -> None:
    for number, day in enumerate(Weekday):
        local_time = MONDAY + timedelta(days=number)
        assert day == local_time.strftime("%a").lower()
        assert matches(Match(weekdays=(day,)), local_time=local_time)


@pytest.mark.parametrize("hours", ["22-6", "24:00-06:00", "9:00-17:00", "09:00-24:01", "09:60-10:00", "now", ""])
def test_a_span_of_time_that_is_none_is_refused(hours: str) -> None:
    with pytest.raises(ValueError, match=r"^hours: .* is no span of time; write 22:00-06:00$"):
        Match(hours=hours)


@pytest.mark.parametrize("hours", ["06:00-06:00", "00:00-24:00"])
def test_a_span_that_may_mean_all_or_nothing_is_refused(hours: str) -> None:
    with pytest.raises(ValueError, match=r"^hours: .* leave it out for the whole day$"):
        Match(hours=hours)


def test_a_match_that_can_never_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^input_tokens_min: 5 is more than input_tokens_max, 4"):
        Match(input_tokens_min=5, input_tokens_max=4)
    with pytest.raises(ValueError, match=r"^output_tokens_min: 5 is more than output_tokens_max, 4"):
        Match(output_tokens_min=5, output_tokens_max=4)


@pytest.mark.parametrize("name", ["", "Report", "a b", "-a", "a" * 41, "a\n"])
def test_a_rule_name_that_is_no_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^name: "):
        Rule(name)


def test_two_rules_of_one_name_are_refused_at_the_second() -> None:
    with pytest.raises(ValueError, match=r"^rules\.2\.name: 'a' is taken already"):
        PolicyFile(rules=(Rule("a"), Rule("b"), Rule("a")))
    with pytest.raises(ValueError, match=r"^rules\.0\.name: 'default' is taken already"):
        PolicyFile(rules=(Rule("default"),))


def test_tests_of_one_name_and_of_rules_that_do_not_exist_are_refused_where_they_stand() -> None:
    first, second = PolicyTest("a", Expected(rule="one")), PolicyTest("a", Expected(rule="default"))
    with pytest.raises(ValueError, match=r"^tests\.1\.name: 'a' is taken already"):
        PolicyFile(rules=(Rule("one"),), tests=(first, second))
    with pytest.raises(
        ValueError, match=r"^tests\.0\.expect\.rule: 'one' is no rule of this policy; there are default"
    ):
        PolicyFile(tests=(first,))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"urgent": True, "deadline_seconds": 60.0}, r"^urgent: a rule cannot be urgent and give a deadline"),
        ({"tiers": frozenset()}, r"^tiers: none is left; name at least one"),
        ({"deadline_seconds": 0.0}, r"^deadline_seconds: 0.0 is not a time to wait"),
        ({"deadline_max_seconds": 0.0}, r"^deadline_max_seconds: 0.0 is not a time to wait"),
        ({"deadline_min_seconds": 2.0, "deadline_max_seconds": 1.0}, r"^deadline_min_seconds: 2.0 is over"),
        (
            {"deadline_seconds": 1.0, "deadline_min_seconds": 2.0},
            r"^deadline_seconds: 1s is under deadline_min_seconds",
        ),
    ],
)
def test_terms_that_contradict_themselves_are_refused(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Then(**terms)


def test_a_default_deadline_over_the_cap_is_allowed_because_the_planner_caps_it() -> None:
    assert Then(deadline_seconds=7200.0, deadline_max_seconds=3600.0).terms("x").default_deadline_seconds == 7200.0


def test_a_policy_shows_its_rules() -> None:
    assert repr(Policy(PolicyFile(rules=(Rule("a"), Rule("b"))))) == "<Policy a, b>"
    assert repr(Policy(PolicyFile())) == "<Policy without rules>"


TEXT = st.text(max_size=12)
GLOBS = st.lists(st.text(alphabet="ab*?[]!-\\^.", max_size=6), max_size=3).map(tuple)


@given(
    match=st.builds(
        Match,
        model=GLOBS,
        tenant=GLOBS,
        header=st.dictionaries(TEXT, TEXT, max_size=2),
        metadata=st.dictionaries(TEXT, TEXT, max_size=2),
        stream=st.none() | st.booleans(),
        output_tokens_max=st.none() | st.integers(),
        hours=st.sampled_from([None, "22:00-06:00", "09:00-24:00"]),
        weekdays=st.lists(st.sampled_from(Weekday)).map(tuple),
    ),
    facts=st.builds(
        Facts,
        model=TEXT,
        endpoint=TEXT,
        tenant=TEXT,
        key=TEXT,
        headers=st.dictionaries(TEXT, TEXT, max_size=3),
        metadata=st.dictionaries(TEXT, TEXT, max_size=3),
        stream=st.booleans(),
        has_tools=st.booleans(),
        input_tokens=st.integers(),
        output_tokens=st.none() | st.integers(),
        local_time=st.datetimes(timezones=st.just(UTC)),
    ),
)
def test_terms_are_found_for_any_request_under_any_rule(match: Match, facts: Facts) -> None:
    assert Policy(PolicyFile(rules=(Rule("found", match),))).terms(facts).policy in {"found", "default"}

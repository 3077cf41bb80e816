"""Rules that can never match: what is found, what is not, and that nothing that is claimed is ever wrong."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from proxy.routing.localtime import Weekday
from proxy.routing.policy import Facts, Match, Policy, PolicyFile, Rule
from proxy.routing.reach import Dead, dead_rules

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
NAMES = "abcdefgh"


def dead(*matches: Match, timezone: ZoneInfo | None = None) -> list[Dead]:
    rules = tuple(Rule(name, match) for name, match in zip(NAMES, matches, strict=False))
    return dead_rules(PolicyFile(rules=rules, timezone=timezone))


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Match(model=("gpt*",)), Match(model=("gpt-4o", "gpt-4.1*"), stream=True)),
        (Match(model=("*",)), Match(tools=True)),
        (Match(tenant=("a", "b")), Match(tenant=("[ab]",), hours="09:00-10:00")),
        (Match(header={"X-App": "*"}), Match(header={"x-app": "chat", "x-more": "1"})),
        (Match(metadata={"team": "b*"}), Match(metadata={"team": "blue"})),
        (Match(input_tokens_min=10), Match(input_tokens_min=10, input_tokens_max=20)),
        (Match(output_tokens_min=5, output_tokens_max=9), Match(output_tokens_min=6, output_tokens_max=9)),
        (Match(hours="22:00-06:00"), Match(hours="23:00-24:00", weekdays=(Weekday.MONDAY,))),
        (Match(weekdays=tuple(Weekday)), Match()),
        (
            Match(hours="09:00-17:00", timezone=BERLIN),
            Match(hours="10:00-11:00", timezone=BERLIN, model=("x",)),
        ),
        (Match(stream=True), Match(stream=True, key=("k",))),
    ],
)
def test_a_rule_behind_one_that_takes_all_of_it_is_dead(earlier: Match, later: Match) -> None:
    assert Dead("b", ("a",)) in dead(earlier, later)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (Match(model=("gpt-4o",)), Match(model=("gpt*",))),
        (Match(model=("gpt*",), stream=True), Match(model=("gpt-4o",))),
        (Match(header={"x-app": "*"}), Match()),
        (Match(header={"x-app": "*"}), Match(header={"x-other": "a"})),
        (Match(metadata={"team": "*"}), Match(metadata={"Team": "blue"})),
        (Match(output_tokens_min=0), Match()),
        (Match(output_tokens_max=10), Match(output_tokens_min=10)),
        (Match(input_tokens_max=9), Match(input_tokens_max=10)),
        (Match(hours="22:00-06:00"), Match(hours="21:59-23:00")),
        (Match(weekdays=(Weekday.MONDAY,)), Match(weekdays=(Weekday.MONDAY, Weekday.TUESDAY))),
        (Match(hours="09:00-17:00", timezone=BERLIN), Match(hours="10:00-11:00", timezone=NEW_YORK)),
        (Match(hours="09:00-17:00", timezone=BERLIN), Match(hours="10:00-11:00")),
        (Match(tools=True), Match(stream=True)),
    ],
)
def test_a_rule_that_something_may_still_come_to_is_not_called_dead(earlier: Match, later: Match) -> None:
    assert "b" not in [found.rule for found in dead(earlier, later)]


@pytest.mark.parametrize(
    "matches",
    [
        (Match(stream=True), Match(stream=False), Match(model=("x",))),
        (Match(input_tokens_max=99), Match(input_tokens_min=100), Match()),
        (Match(hours="06:00-22:00"), Match(hours="22:00-06:00"), Match(tenant=("t",))),
        (Match(model=("[a-m]*",)), Match(model=("[n-z]*",)), Match(model=("[a-z]*",), tools=True)),
        (
            Match(weekdays=(Weekday.SATURDAY,)),
            Match(weekdays=(Weekday.SUNDAY,), key=("k*",)),
            Match(weekdays=(Weekday.SATURDAY, Weekday.SUNDAY), key=("kk",)),
        ),
        (Match(output_tokens_max=4), Match(output_tokens_min=5), Match(output_tokens_min=1)),
    ],
)
def test_rules_that_take_everything_together_are_named_together(matches: tuple[Match, Match, Match]) -> None:
    assert Dead("c", ("a", "b")) in dead(*matches)


def test_rules_that_leave_a_gap_between_them_take_nothing_away() -> None:
    assert not dead(Match(input_tokens_max=98), Match(input_tokens_min=100), Match())[:-1]
    assert not dead(Match(output_tokens_max=4), Match(output_tokens_min=5), Match(stream=True))
    assert not dead(Match(stream=True, tools=True), Match(stream=False, tools=False), Match(key=("k",)))


def test_a_rule_that_asks_for_nothing_that_exists_contradicts_itself() -> None:
    assert dead(Match(model=("[z-a]",)), Match(header={"x": "[b-a]"})) == [Dead("a", ()), Dead("b", ())]


def test_the_default_is_dead_behind_a_rule_for_everything() -> None:
    assert dead(Match()) == [Dead("default", ("a",))]
    assert not dead(Match(model=("gpt*",)))
    assert not dead()


def test_the_files_own_zone_is_that_of_rules_without_one() -> None:
    later = Match(hours="10:00-11:00")
    assert dead(Match(hours="09:00-17:00", timezone=BERLIN), later, timezone=BERLIN) == [Dead("b", ("a",))]
    assert not dead(Match(hours="09:00-17:00", timezone=NEW_YORK), later, timezone=BERLIN)


GLOBS = st.lists(st.sampled_from(["a", "b", "*", "?", "a*", "[ab]", "[!a]", "?*", "", "[b-a]"]), max_size=2).map(tuple)
GLOB = st.sampled_from(["a", "b", "*", "?", "[!b]"])
BOUNDS = st.sampled_from(
    [(least, most) for least in (None, 0, 2, 3) for most in (None, 1, 3, 4) if (least or 0) <= (most or 9)]
)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    """Small ones out of few words, so that they often meet."""
    inputs, outputs = draw(BOUNDS), draw(BOUNDS)
    hours = draw(st.sampled_from([None, None, "00:00-12:00", "12:00-24:00", "18:00-06:00", "06:00-18:00"]))
    weekdays = draw(st.sampled_from([(), (), (Weekday.MONDAY,), (Weekday.MONDAY, Weekday.TUESDAY), tuple(Weekday)]))
    return Match(
        model=draw(GLOBS),
        tenant=draw(st.just(()) | GLOBS),
        header=draw(st.dictionaries(st.sampled_from(["x", "X-Y"]), GLOB, max_size=1)),
        metadata=draw(st.dictionaries(st.just("m"), GLOB, max_size=1)),
        stream=draw(st.none() | st.booleans()),
        tools=draw(st.none() | st.booleans()),
        input_tokens_min=inputs[0],
        input_tokens_max=inputs[1],
        output_tokens_min=outputs[0],
        output_tokens_max=outputs[1],
        hours=hours,
        weekdays=weekdays,
        timezone=draw(st.sampled_from([None, BERLIN])) if hours or weekdays else None,
    )


@st.composite
def narrow(draw: st.DrawFn) -> Match:
    """One that asks for little, so that it takes much."""
    match = draw(matches())
    kept = draw(st.sampled_from(["model", "stream", "input_tokens_max", "input_tokens_min", "hours", "header"]))
    return Match(**{kept: getattr(match, kept)})


CHANCE = Random(1)
TEXTS = ("", "a", "b", "c", "ab")
REQUESTS = [
    Facts(
        model=CHANCE.choice(TEXTS),
        endpoint="/v1/x",
        tenant=CHANCE.choice(TEXTS),
        key="",
        headers={name: CHANCE.choice(TEXTS) for name in ("x", "x-y") if CHANCE.random() < 0.5},
        metadata={"m": CHANCE.choice(TEXTS)} if CHANCE.random() < 0.5 else {},
        stream=CHANCE.random() < 0.5,
        has_tools=CHANCE.random() < 0.5,
        input_tokens=CHANCE.randrange(6),
        output_tokens=CHANCE.choice([None, 0, 1, 2, 3, 4, 5]),
        local_time=MONDAY + timedelta(hours=CHANCE.randrange(7 * 24)),
    )
    for _ in range(1500)
]


@settings(max_examples=200)
@given(asked=st.lists(narrow() | matches(), min_size=2, max_size=6), zone=st.sampled_from([None, BERLIN]))
def test_no_request_ever_comes_to_a_rule_that_is_called_dead(asked: list[Match], zone: ZoneInfo | None) -> None:
    file = PolicyFile(rules=tuple(Rule(name, match) for name, match in zip(NAMES, asked, strict=False)), timezone=zone)
    claimed = {found.rule for found in dead_rules(file)}
    event(f"claims {min(len(claimed), 3)}")
    policy = Policy(file)
    assert not claimed & {policy.terms(request).policy for request in REQUESTS}

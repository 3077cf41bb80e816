from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.domain.decision import Priority, Urgency, UrgencySource
from proxy.domain.errors import ClientFault
from proxy.domain.tier import Tier
from proxy.wire.body import BodyHints
from proxy.wire.urgency import FARTHEST_SECONDS, Prefix, read_urgency, split_prefix

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")
"""The clocks go forward on 28 March 2027 at 02:00, and back on 31 October 2027 at 03:00."""
SILENCE = Urgency()


def urgency(
    *headers: tuple[str, str],
    prefix: Prefix | None = None,
    hints: BodyHints | None = None,
    now: float = NOW,
    timezone: tzinfo = UTC,
) -> Urgency:
    every = CIMultiDictProxy(CIMultiDict(headers))
    return read_urgency(prefix=prefix, headers=every, hints=hints, now=now, timezone=timezone)


def at(text: str, timezone: tzinfo = UTC, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("path", "prefix", "rest"),
    [
        ("/v1/models", None, "/v1/models"),
        ("/urgent/v1/models", Prefix("urgent"), "/v1/models"),
        ("/urgent/v1", Prefix("urgent"), "/v1"),
        ("/within/2h/v1/chat/completions", Prefix("within", "2h"), "/v1/chat/completions"),
        ("/by/06:00/v1/embeddings", Prefix("by", "06:00"), "/v1/embeddings"),
        ("/by/06%3A00/v1/x%2Fy", Prefix("by", "06:00"), "/v1/x%2Fy"),
        ("/by/2030-01-31T06:00+02:00/v1/x", Prefix("by", "2030-01-31T06:00+02:00"), "/v1/x"),
        ("/within/1%20h/v1", Prefix("within", "1 h"), "/v1"),
        ("/within/2h/v1/x?a=/v1&b=%2F", Prefix("within", "2h"), "/v1/x?a=/v1&b=%2F"),
        ("/within//v1/x", Prefix("within", ""), "/v1/x"),
        ("/within/%ff/v1/x", Prefix("within", "\ufffd"), "/v1/x"),
        ("/v1/models?x=/within/2h/v1", None, "/v1/models?x=/within/2h/v1"),
        ("/within/2h/v2/x", None, "/within/2h/v2/x"),
        ("/within/2h", None, "/within/2h"),
        ("/within/v1/x", None, "/within/v1/x"),
        ("/urgent", None, "/urgent"),
        ("/urgent/v1beta/x", None, "/urgent/v1beta/x"),
        ("/Within/2h/v1", None, "/Within/2h/v1"),
        ("//within/2h/v1", None, "//within/2h/v1"),
        ("/", None, "/"),
        ("", None, ""),
        ("*", None, "*"),
    ],
)
def test_a_prefix_is_taken_off_only_where_v1_follows(path: str, prefix: Prefix | None, rest: str) -> None:
    assert split_prefix(path) == (prefix, rest)


@given(st.text("/v1withnby20:?%"))
def test_without_a_prefix_any_path_stays_as_it_is(path: str) -> None:
    prefix, rest = split_prefix(path)
    assert rest == path if prefix is None else path.endswith(rest)


def test_silence_says_nothing() -> None:
    assert urgency() == SILENCE
    assert urgency(hints=BodyHints(model="m")) == SILENCE


@pytest.mark.parametrize(
    ("text", "deadline_at"),
    [
        ("90s", NOW + 90),
        ("15m", NOW + 900),
        ("1h30m", NOW + 5400),
        ("2d", NOW + 172_800),
        ("7200", NOW + 7200),
        (" 7200 ", NOW + 7200),
        ("1900000000", 1_900_000_000),
        ("1803906000.5", 1_803_906_000.5),
        ("2027-03-02T06:00:00Z", at("2027-03-02T06:00")),
        ("2027-03-02t06:00:00z", at("2027-03-02T06:00")),
        ("2027-03-02 06:00:00Z", at("2027-03-02T06:00")),
        ("2027-03-02T06:00:00+02:00", at("2027-03-02T04:00")),
        ("2027-03-02T06:00:00-00:30", at("2027-03-02T06:30")),
        ("2027-03-02T06:00:00.25Z", at("2027-03-02T06:00") + 0.25),
        ("2027-03-02T06:00:00.123456789Z", at("2027-03-02T06:00") + 0.123456),
        ("2027-03-02T06:00Z", at("2027-03-02T06:00")),
        ("366d", NOW + FARTHEST_SECONDS),
    ],
)
def test_a_deadline_is_a_duration_a_timestamp_or_unix_seconds(text: str, deadline_at: float) -> None:
    now = 1_899_000_000.0 if text == "1900000000" else NOW
    assert urgency(("x-deadline", text), now=now) == Urgency(UrgencySource.HEADER, deadline_at=deadline_at)
    hints = BodyHints(metadata_deadline=text)
    assert urgency(hints=hints, now=now) == Urgency(UrgencySource.METADATA, deadline_at=deadline_at)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "-5", "06:00", "1e3", "1 h", "true", "[1]", "1900000000000", "190000000012", "9" * 4000),
        *("2027-03-02", "2027-03-02T06:00:00", "2027-03-02T06:00", "2027-13-02T06:00Z", "2027-02-30T06:00Z"),
        *("2027-03-02T25:00Z", "2027-03-02T06:00:61Z", "2027-03-02T06:00:00+25:00", "2027-W10-2T06:00Z", "\udcff2h"),
        "Tue, 02 Mar 2027 06:00:00 GMT",
    ],
)
def test_a_deadline_that_cannot_be_understood_is_refused_with_what_would_be_right(text: str) -> None:
    for fault in (refusal(("X-Deadline", text)), refusal(hints=BodyHints(metadata_deadline=text))):
        assert (fault.status, fault.code) == (400, "invalid_deadline")
        assert "is no deadline that can be understood" in fault.message
        assert "90s, 15m, 1h30m, 2d" in fault.message
        assert "2030-01-31T06:00:00Z" in fault.message
        assert len(fault.message) < 400
    assert refusal(("X-Deadline", text)).param == "X-Deadline"
    assert refusal(hints=BodyHints(metadata_deadline=text)).param == "metadata.deadline"


@pytest.mark.parametrize(
    "text",
    ["0", "0s", "0.0", "1700000000", "2027-03-01T12:00:00Z", "2027-03-01T12:59:00+01:00", "0001-01-01T00:00+23:59"],
)
def test_a_deadline_in_the_past_is_refused_with_what_would_be_right(text: str) -> None:
    fault = refusal(("X-Deadline", text))
    assert (fault.status, fault.code, fault.param) == (400, "invalid_deadline", "X-Deadline")
    assert f"{text!r} has passed already" in fault.message
    assert "Give a duration" in fault.message


@pytest.mark.parametrize("text", ["367d", "999999999", "9999999999", "9999-12-31T23:59:59-12:00", "100w"])
def test_a_deadline_more_than_a_year_away_is_refused(text: str) -> None:
    fault = refusal(("X-Deadline", text))
    assert (fault.status, fault.code) == (400, "invalid_deadline")
    assert "more than a year away" in fault.message


def test_a_number_in_the_metadata_is_read_as_in_a_header() -> None:
    assert urgency(hints=BodyHints(metadata_deadline=60)).deadline_at == NOW + 60
    assert urgency(hints=BodyHints(metadata_priority=7)).priority is Priority.DEFERRABLE


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("urgent", Priority.URGENT),
        ("high", Priority.URGENT),
        ("normal", Priority.NORMAL),
        ("deferrable", Priority.DEFERRABLE),
        ("low", Priority.DEFERRABLE),
        (" Deferrable ", Priority.DEFERRABLE),
        ("0", Priority.URGENT),
        ("1", Priority.URGENT),
        ("2", Priority.NORMAL),
        ("4", Priority.NORMAL),
        ("5", Priority.DEFERRABLE),
        ("7", Priority.DEFERRABLE),
    ],
)
def test_a_priority_is_a_word_or_a_number_with_0_the_most_urgent(text: str, priority: Priority) -> None:
    assert urgency(("x-priority", text)) == Urgency(UrgencySource.HEADER, priority=priority)
    assert urgency(hints=BodyHints(metadata_priority=text)) == Urgency(UrgencySource.METADATA, priority=priority)


@pytest.mark.parametrize("text", ["", "8", "-1", "05", "1.0", "asap", "null", "\u0663", "²", "x" * 500])
def test_a_priority_that_is_none_is_refused_with_what_would_be_right(text: str) -> None:
    for where, fault in (
        ("X-Priority", refusal(("X-Priority", text))),
        ("metadata.priority", refusal(hints=BodyHints(metadata_priority=text))),
    ):
        assert (fault.status, fault.code, fault.param) == (400, "invalid_priority", where)
        assert "urgent, normal or deferrable" in fault.message
        assert len(fault.message) < 300


@pytest.mark.parametrize("name", ["X-Deadline", "X-Priority"])
def test_a_header_that_says_two_things_is_refused(name: str) -> None:
    fault = refusal((name, "5"), (name.lower(), "1"))
    assert (fault.status, fault.param) == (400, name)
    assert "'5' and '1'" in fault.message


def test_a_header_that_says_the_same_twice_says_it_once() -> None:
    assert urgency(("X-Deadline", "2h"), ("x-deadline", "2h ")).deadline_at == NOW + 7200
    assert urgency(("X-Priority", "low"), ("X-Priority", "low")).priority is Priority.DEFERRABLE


EVERYTHING = BodyHints(metadata_deadline="3h", metadata_priority="low", service_tier="flex")
FLEX = Tier.FLEX


def test_the_path_comes_first_then_headers_metadata_tier_and_hints() -> None:
    deadline, priority, hint = ("X-Deadline", "2h"), ("X-Priority", "low"), ("X-Server-Timeout", "600")
    said = urgency(deadline, priority, hint, prefix=Prefix("within", "1h"), hints=EVERYTHING)
    assert said == Urgency(UrgencySource.PATH, deadline_at=NOW + 3600, service_tier=FLEX)
    said = urgency(deadline, priority, hint, hints=EVERYTHING)
    assert said == Urgency(UrgencySource.HEADER, deadline_at=NOW + 7200, service_tier=FLEX)
    said = urgency(priority, hint, hints=EVERYTHING)
    assert said == Urgency(UrgencySource.HEADER, priority=Priority.DEFERRABLE, service_tier=FLEX)
    said = urgency(hint, hints=EVERYTHING)
    assert said == Urgency(UrgencySource.METADATA, deadline_at=NOW + 10_800, service_tier=FLEX)
    said = urgency(hint, hints=BodyHints(metadata_priority="low", service_tier="flex"))
    assert said == Urgency(UrgencySource.METADATA, priority=Priority.DEFERRABLE, service_tier=FLEX)
    said = urgency(hint, hints=BodyHints(service_tier="flex"))
    assert said == Urgency(UrgencySource.SERVICE_TIER, service_tier=FLEX)
    assert urgency(hint, hints=BodyHints()) == Urgency(UrgencySource.HINT, deadline_at=NOW + 600)


@pytest.mark.parametrize(
    ("word", "tier"),
    [
        ("flex", Tier.FLEX),
        ("priority", Tier.PRIORITY),
        ("fast", Tier.PRIORITY),
        ("auto", None),
        ("default", None),
        ("scale", None),
    ],
)
def test_only_tiers_that_are_a_choice_are_the_clients_choice(word: str, tier: Tier | None) -> None:
    source = UrgencySource.SERVICE_TIER if tier else UrgencySource.NONE
    assert urgency(hints=BodyHints(service_tier=word)) == Urgency(source, service_tier=tier)


def test_the_urgent_prefix_says_urgent() -> None:
    assert urgency(prefix=Prefix("urgent")) == Urgency(UrgencySource.PATH, priority=Priority.URGENT)


@pytest.mark.parametrize("text", ["", "soon", "06:00", "2030-01-31T06:00Z", "1900000000", "-1h"])
def test_within_takes_only_a_duration(text: str) -> None:
    fault = refusal(prefix=Prefix("within", text))
    assert (fault.status, fault.code, fault.param) == (400, "invalid_deadline", "/within/...")
    assert "/within/2h/v1" in fault.message


def test_within_no_time_has_passed_already() -> None:
    assert "has passed already" in refusal(prefix=Prefix("within", "0s")).message


@pytest.mark.parametrize(
    "text",
    ["", "6:00", "24:00", "06:60", "0600", "06:00:00", "2h", "2030-01-31T06:00", "\u0660\u0666:00", "1900000000"],
)
def test_by_takes_only_a_time_of_day_or_a_timestamp_with_its_zone(text: str) -> None:
    fault = refusal(prefix=Prefix("by", text))
    assert (fault.status, fault.code, fault.param) == (400, "invalid_deadline", "/by/...")
    assert "/by/06:00/v1" in fault.message


@pytest.mark.parametrize(
    ("text", "said"), [("2027-03-01T12:00Z", "has passed"), ("2029-03-01T12:00Z", "more than a year")]
)
def test_by_a_timestamp_that_cannot_be_waited_for_is_refused(text: str, said: str) -> None:
    assert said in refusal(prefix=Prefix("by", text)).message


def test_by_a_timestamp_means_that_instant() -> None:
    assert by("2027-03-02T06:00+02:00", NOW, BERLIN) == at("2027-03-02T04:00")


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2027-03-01T05:59", "06:00", at("2027-03-01T06:00", BERLIN)),
        ("2027-03-01T06:00", "06:00", at("2027-03-02T06:00", BERLIN)),
        ("2027-03-01T06:01", "06:00", at("2027-03-02T06:00", BERLIN)),
        ("2027-12-31T23:00", "00:00", at("2028-01-01T00:00", BERLIN)),
        ("2028-02-28T12:00", "06:00", at("2028-02-29T06:00", BERLIN)),
    ],
)
def test_by_a_time_of_day_means_the_next_one_in_the_proxys_zone(now: str, text: str, expected: float) -> None:
    assert by(text, at(now, BERLIN), BERLIN) == expected


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        (at("2027-03-28T01:00", BERLIN), "02:30", at("2027-03-28T03:30", BERLIN)),
        (at("2027-03-28T03:10", BERLIN), "02:30", at("2027-03-28T03:30", BERLIN)),
        (at("2027-03-28T03:40", BERLIN), "02:30", at("2027-03-29T02:30", BERLIN)),
        (at("2027-03-27T12:00", BERLIN), "06:00", at("2027-03-28T06:00", BERLIN)),
        (at("2027-10-31T01:00", BERLIN), "02:30", at("2027-10-31T02:30", BERLIN)),
        (at("2027-10-31T02:40", BERLIN), "02:30", at("2027-10-31T02:30", BERLIN, fold=1)),
        (at("2027-10-31T02:10", BERLIN, fold=1), "02:30", at("2027-10-31T02:30", BERLIN, fold=1)),
        (at("2027-10-31T02:40", BERLIN, fold=1), "02:30", at("2027-11-01T02:30", BERLIN)),
        (at("2027-10-31T02:40", BERLIN, fold=1), "06:00", at("2027-10-31T06:00", BERLIN)),
        (at("2027-10-30T12:00", BERLIN), "02:30", at("2027-10-31T02:30", BERLIN)),
    ],
)
def test_by_a_time_of_day_holds_when_the_clocks_change(now: float, text: str, expected: float) -> None:
    assert by(text, now, BERLIN) == expected


@given(st.integers(0, 3 * 365 * 86_400), st.integers(0, 23), st.integers(0, 59))
def test_by_a_time_of_day_is_ahead_and_at_most_25_hours_away(offset: int, hour: int, minute: int) -> None:
    now = NOW + offset
    assert 0 < by(f"{hour:02}:{minute:02}", now, BERLIN) - now <= 25 * 3600


@pytest.mark.parametrize(
    ("header", "deadline_at"),
    [
        (("grpc-timeout", "30M"), NOW + 1800),
        (("grpc-timeout", "2H"), NOW + 7200),
        (("grpc-timeout", "90S"), NOW + 90),
        (("Grpc-Timeout", "1500m"), NOW + 1.5),
        (("grpc-timeout", "500000u"), NOW + 0.5),
        (("grpc-timeout", "99999999n"), NOW + 0.099_999_999),
        (("X-Server-Timeout", "600"), NOW + 600),
        (("x-server-timeout", "0.5"), NOW + 0.5),
    ],
)
def test_standard_timeouts_are_hints(header: tuple[str, str], deadline_at: float) -> None:
    said = urgency(header)
    assert said.source is UrgencySource.HINT
    assert said.deadline_at == pytest.approx(deadline_at, abs=1e-6)


@pytest.mark.parametrize(
    "header",
    [
        *(
            ("grpc-timeout", text)
            for text in ("", "0S", "99999999H", "5s", "5", "123456789S", "-1S", "1.5S", "\u0661S")
        ),
        *(("X-Server-Timeout", text) for text in ("", "0", "never", "-1", "999999999", "1900000000")),
        *(("Priority", text) for text in ("", "i", "u", "u=8", "u=-1", "u=", "u=55", "U=5", "du=5", "u='5'")),
    ],
)
def test_a_hint_that_makes_no_sense_hints_nothing(header: tuple[str, str]) -> None:
    assert urgency(header) == SILENCE


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("u=0", Priority.URGENT),
        ("u=3", Priority.NORMAL),
        ("u=5, i", Priority.DEFERRABLE),
        ("i,u=7", Priority.DEFERRABLE),
        ("i, u = 7 ;x", Priority.DEFERRABLE),
    ],
)
def test_rfc_9218_priority_is_a_hint(text: str, priority: Priority) -> None:
    assert urgency(("Priority", text)) == Urgency(UrgencySource.HINT, priority=priority)


def test_a_timeout_is_a_better_hint_than_a_priority() -> None:
    assert urgency(("Priority", "u=7"), ("X-Server-Timeout", "60")).deadline_at == NOW + 60
    assert urgency(("grpc-timeout", "5"), ("X-Server-Timeout", "60")).deadline_at == NOW + 60


@pytest.mark.parametrize(
    ("values", "respond_async", "wait_seconds"),
    [
        (["respond-async"], True, None),
        (["respond-async, wait=30"], True, 30),
        (["respond-async", "wait=30"], True, 30),
        (["wait=30", "handling=lenient", "Respond-Async"], True, 30),
        (['respond-async; foo="bar, baz", wait="30"'], True, 30),
        (["respond-async;wait=30"], True, None),
        (["respond-async, wait=10, wait=20"], True, 10),
        (["respond-async", "wait=10", "wait=20"], True, 10),
        (["respond-async, wait=0"], True, 0),
        (["respond-async, wait=soon"], True, None),
        (["respond-async, wait=-1"], True, None),
        (["respond-async, wait=1.5"], True, None),
        (["respond-async, wait=9999999999"], True, None),
        (["respond-async, wait=\u0661"], True, None),
        (["respond-async="], True, None),
        (["wait=30"], False, None),
        (["return=minimal"], False, None),
        (["respond-asynchronously"], False, None),
        (["respond-async=false"], False, None),
        (['note="never, respond-async, please"'], False, None),
        (['note="a \\", respond-async, b"'], False, None),
        (['note="unclosed, respond-async'], False, None),
        ([""], False, None),
        ([",,;,"], False, None),
    ],
)
def test_prefer_asks_for_a_202(values: list[str], respond_async: bool, wait_seconds: float | None) -> None:  # noqa: FBT001  a table's column
    said = urgency(*(("Prefer", value) for value in values))
    assert said == Urgency(respond_async=respond_async, wait_seconds=wait_seconds)


def test_headers_may_come_in_any_mapping_that_ignores_case() -> None:
    headers: Mapping[str, str] = CIMultiDict({"X-DEADLINE": "2h", "PREFER": "respond-async"})
    said = read_urgency(prefix=None, headers=headers, hints=None, now=NOW, timezone=UTC)
    assert said == Urgency(UrgencySource.HEADER, deadline_at=NOW + 7200, respond_async=True)


TEXTS = st.text(max_size=30) | st.text('0123456789.:-+TZtzsmhdwu=,;" ', max_size=30)
NAMES = st.sampled_from(
    ["X-Deadline", "X-Priority", "Prefer", "grpc-timeout", "X-Server-Timeout", "Priority", "Accept", "prefer"]
)


@given(
    st.lists(st.tuples(NAMES, TEXTS), max_size=4),
    st.none() | st.builds(Prefix, st.sampled_from(["within", "by", "urgent"]), TEXTS),
    st.none() | st.builds(BodyHints, metadata_deadline=st.none() | st.integers() | TEXTS),
)
def test_whatever_is_said_gives_a_deadline_ahead_or_a_clients_fault(
    headers: list[tuple[str, str]], prefix: Prefix | None, hints: BodyHints | None
) -> None:
    with suppress(ClientFault):
        said = urgency(*headers, prefix=prefix, hints=hints, timezone=BERLIN)
        assert said.deadline_at is None or NOW < said.deadline_at <= NOW + FARTHEST_SECONDS
        assert said.deadline_at is None or said.priority is None


def refusal(*headers: tuple[str, str], prefix: Prefix | None = None, hints: BodyHints | None = None) -> ClientFault:
    with pytest.raises(ClientFault) as caught:
        urgency(*headers, prefix=prefix, hints=hints)
    return caught.value


def by(text: str, now: float, timezone: tzinfo) -> float:
    said = urgency(prefix=Prefix("by", text), now=now, timezone=timezone)
    assert said.source is UrgencySource.PATH
    assert said.deadline_at is not None
    return said.deadline_at

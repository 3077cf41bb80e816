from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Literal, NewType, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import pytest

from proxy.config.decode import decode, written_name
from proxy.config.tree import parse
from proxy.domain.errors import ConfigFault, Place

Name = NewType("Name", str)
Wanted = TypeVar("Wanted")


class Color(StrEnum):
    RED = "red"
    DARK_BLUE = "dark_blue"


@dataclass(frozen=True, slots=True)
class Room:
    color: Color = Color.RED
    area: float = 1.0
    age_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.age_seconds < 1:
            raise ValueError("age_seconds: too young; age_seconds must be 1s or more")
        if self.area > 100:
            raise ValueError("a room of this size is a hall")


@dataclass(frozen=True, slots=True)
class House:
    name: Name = Name("")
    floors: int = 1
    height: float = 2.5
    open: bool = True
    mode: Literal["day", "night", "none"] = "day"
    price: Decimal = Decimal(0)
    file: Path | None = Path("x")
    zone: tzinfo = timezone(timedelta(hours=9))
    wait_seconds: float = 1.0
    keep_seconds: int = 1
    later_seconds: float | None = 1.0
    body_max_bytes: int = 1
    bytes_max: int = 1
    first: Room = field(default_factory=Room)
    last: Room | None = field(default_factory=Room)
    rooms: tuple[Room, ...] = (Room(),)
    words: list[str] = field(default_factory=lambda: ["x"])
    colors: frozenset[Color] = frozenset({Color.DARK_BLUE})
    headers: Mapping[str, str] = field(default_factory=lambda: {"x": "y"})
    by_name: dict[str, Room] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, room in enumerate(self.rooms):
            if room.area > 50:
                raise ValueError(f"rooms.{number}.area: {room.area:g} is too large for a house")
        if self.first.age_seconds > 1000:
            raise ValueError("first.age_seconds: is older than the house")
        if "bad" in self.headers:
            raise ValueError("headers.bad: is not possible")
        if "bad" in self.words:
            raise ValueError(f"words.{self.words.index('bad')}: is a bad word")
        if self.floors == 13:
            raise ValueError("tower: not a house")


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    wait_seconds: float


def read(text: str) -> House:
    return decode(parse(text, "f.yaml"), House)


def fault(text: str, into: type[Wanted] = House) -> ConfigFault:  # type: ignore[assignment]  # a default for a type variable
    with pytest.raises(ConfigFault) as caught:
        decode(parse(text, "f.yaml"), into)
    return caught.value


def test_an_empty_file_is_the_defaults() -> None:
    assert read("") == read("---\n") == House()


def test_the_name_in_a_file_is_the_field_without_its_unit() -> None:
    assert written_name("age_seconds") == "age"
    assert written_name("body_max_bytes") == "body_max"
    assert written_name("bytes_max") == "bytes_max"
    assert written_name("requests_per_minute") == "requests_per_minute"


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("name: alice", "name", "alice"),
        ("name: no", "name", "no"),
        ("name: 0123", "name", "0123"),
        ("name: 2026-11-23", "name", "2026-11-23"),
        ("name: ''", "name", ""),
        ("floors: 10_000", "floors", 10_000),
        ("floors: -3", "floors", -3),
        ("height: 3", "height", 3.0),
        ("height: 0.25", "height", 0.25),
        ("open: true", "open", True),
        ("open: no", "open", False),
        ("mode: night", "mode", "night"),
        ("mode: none", "mode", "none"),
        ("price: 0.15", "price", Decimal("0.15")),
        ("price: 1_000", "price", Decimal(1000)),
        ("file: a/b.yaml", "file", Path("a/b.yaml")),
        ("file: null", "file", None),
        ("zone: UTC", "zone", UTC),
        ("wait: 90s", "wait_seconds", 90.0),
        ("wait: 1h30m", "wait_seconds", 5400.0),
        ("wait: '15m'", "wait_seconds", 900.0),
        ("wait: 2.5", "wait_seconds", 2.5),
        ("wait: 0", "wait_seconds", 0.0),
        ("wait: 250ms", "wait_seconds", 0.25),
        ("keep: 2d", "keep_seconds", 172_800),
        ("later: 5m", "later_seconds", 300.0),
        ("later: null", "later_seconds", None),
        ("later:", "later_seconds", None),
        ("body_max: 200MB", "body_max_bytes", 200_000_000),
        ("body_max: 64MiB", "body_max_bytes", 67_108_864),
        ("body_max: 512", "body_max_bytes", 512),
        ("bytes_max: 190MB", "bytes_max", 190_000_000),
        ("first: {color: dark_blue}", "first", Room(Color.DARK_BLUE)),
        ("first:", "first", Room()),
        ("last: {area: 2}", "last", Room(area=2.0)),
        ("last:", "last", None),
        ("rooms: [{area: 2}, {}]", "rooms", (Room(area=2.0), Room())),
        ("rooms: {area: 2}", "rooms", (Room(area=2.0),)),
        ("rooms:", "rooms", ()),
        ("words: [a, 1, no]", "words", ["a", "1", "no"]),
        ("words: a", "words", ["a"]),
        ("words: []", "words", []),
        ("colors: [red, dark_blue, red]", "colors", frozenset(Color)),
        ("colors: red", "colors", frozenset({Color.RED})),
        ("headers: {A: 1, b: no}", "headers", {"A": "1", "b": "no"}),
        ("headers:", "headers", {}),
        ("by_name: {small: {area: 1}}", "by_name", {"small": Room(area=1.0)}),
    ],
)
def test_a_value_is_read_as_its_field_wants_it(text: str, name: str, expected: object) -> None:
    found = getattr(read(text), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.skipif("Europe/Berlin" not in available_timezones(), reason="this machine has no time zone files")
def test_a_time_zone_is_known_by_its_name() -> None:
    assert read("zone: Europe/Berlin").zone == ZoneInfo("Europe/Berlin")


def test_a_path_may_begin_at_home() -> None:
    assert read("file: ~/x.yaml").file == Path.home() / "x.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [a]", "'name' takes a single value"),
        ("name:", "a text is expected here"),
        ("floors: 2.5", "'2.5' is not a whole number"),
        ("floors: 010", "'010' is not a whole number"),
        ("floors: 0x10", "'0x10' is not a whole number"),
        ("floors: yes", "'yes' is not a whole number"),
        ("floors: '10'", "'10' is not a whole number; write it without quotes"),
        ("floors: 22:00", "'22:00' is not a whole number"),
        ("height: tall", "'tall' is not a number"),
        ("height: true", "'true' is not a number"),
        ("height: .inf", "'.inf' is not a number"),
        ("height: .nan", "'.nan' is not a number"),
        ("open: 1", "'1' is neither true nor false"),
        ("open: 'true'", "'true' is neither true nor false"),
        ("mode: Night", "'Night' is not possible here: did you mean 'night'? Possible: day, night, none"),
        ("mode: xyz", "'xyz' is not possible here: possible: day, night, none"),
        ("mode: [day]", "'this' is not possible here"),
        ("price: cheap", "'cheap' is not an amount"),
        ("price: NaN", "'NaN' is not an amount"),
        ("price: Infinity", "'Infinity' is not an amount"),
        ("zone: Berlin", "'Berlin' is no time zone; write UTC or Europe/Berlin"),
        ("zone: Europe", "'Europe' is no time zone"),
        ("zone: ../../etc/passwd", "is no time zone"),
        ("zone: ''", "'' is no time zone"),
        ("wait: soon", "'soon' is not a duration such as 90s, 15m or 2h"),
        ("wait: -1s", "'-1s' is not a duration"),
        ("wait: true", "'true' is not a duration"),
        ("wait:", "'' is not a duration"),
        (f"wait: {'9' * 400}d", "is not a duration"),
        ("wait: {s: 1}", "'wait' takes a single value"),
        ("keep: 1500ms", "'1500ms' has to be whole seconds"),
        ("body_max: 1TB", "'1TB' is not a size such as 64MB or 200MiB"),
        ("bytes_max: -1", "'-1' is not a size"),
        ("first: small", "names with values are expected here (color, area, age)"),
        ("first: [{area: 1}]", "names with values are expected here"),
        ("headers: [a]", "'headers' takes names with values"),
        ("colors: [red, green]", "'green' is not possible here"),
        ("flors: 2", "'flors' is unknown here: did you mean 'floors'? Possible: "),
        ("Name: x", "'Name' is unknown here: did you mean 'name'?"),
        ("wait_seconds: 2", "'wait_seconds' is unknown here: did you mean 'wait'?"),
        ("zzz: 2", "'zzz' is unknown here: possible: body_max, by_name, "),
        ("- name", "names with values are expected here (name, floors"),
    ],
)
def test_a_mistake_says_what_is_wrong_and_what_would_be_right(text: str, words: str) -> None:
    assert words in fault(text).message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\n\nfloors: many\n", 3),
        ("name: a\nfirst:\n  area: 1\n  colour: red\n", 4),
        ("rooms:\n  - area: 1\n  - area: 2\n    age: soon\n", 4),
        ("headers:\n  a: 1\n  b: [x]\n", 3),
        ("by_name:\n  x:\n    area: 1\n  y:\n    area: big\n", 5),
        ("colors:\n  - red\n  - green\n", 3),
    ],
)
def test_a_mistake_is_pointed_at_where_it_stands(text: str, line: int) -> None:
    assert fault(text).place == Place("f.yaml", line)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("first:\n  area: 1\n  age: 0\n", "f.yaml:3: age: too young; age must be 1s or more"),
        ("first:\n  color: red\n  area: 101\n", "f.yaml:2: a room of this size is a hall"),
        ("rooms:\n- area: 1\n- color: red\n  area: 51\n", "f.yaml:4: rooms.area: 51 is too large for a house"),
        ("rooms: {area: 51}\n", "f.yaml:1: rooms.area: 51 is too large for a house"),
        ("name: x\nfirst:\n  area: 1\n  age: 2000\n", "f.yaml:4: first.age: is older than the house"),
        ("name: x\nheaders:\n  a: b\n  bad: c\n", "f.yaml:4: headers.bad: is not possible"),
        ("name: x\nwords:\n- good\n- bad\n", "f.yaml:4: words: is a bad word"),
        ("name: x\nwords: bad\n", "f.yaml:2: words: is a bad word"),
        ("name: x\nfloors: 13\n", "f.yaml:1: tower: not a house"),
    ],
)
def test_a_check_of_the_room_itself_is_told_at_the_line_of_its_field_in_the_spelling_of_the_file(
    text: str, told: str
) -> None:
    assert str(fault(text)) == told


def test_a_check_of_a_field_that_is_not_in_the_file_points_at_the_nearest_that_is() -> None:
    @dataclass(frozen=True, slots=True)
    class Street:
        house: House = field(default_factory=House)

        def __post_init__(self) -> None:
            if self.house.first.age_seconds == 60.0:
                raise ValueError("house.first.age_seconds: give one")

    assert str(fault("\nhouse:\n  name: x\n  first:\n    area: 1\n", Street)) == "f.yaml:4: house.first.age: give one"
    assert str(fault("\nhouse:\n  name: x\n", Street)) == "f.yaml:2: house.first.age: give one"


def test_what_has_no_default_must_be_there() -> None:
    assert str(fault("\nname: a\n", Key)) == "f.yaml:2: 'wait' is missing here"
    assert decode(parse("name: a\nwait: 2s", "f.yaml"), Key) == Key("a", 2.0)

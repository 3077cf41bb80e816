import re
from collections.abc import Iterable

from proxy.telemetry.pages import Family, write
from proxy.telemetry.series import Series

BUILD = {"version": "9.9.9", "price_map": "litellm 1.2.3"}


def ours(series: Series) -> Iterable[Family]:
    return (family for family in series.page() if family.name.startswith("standby_"))


def text(series: Series) -> str:
    return write(series.page(), openmetrics=False)[0].decode()


def test_names_help_and_units_follow_the_rules_of_prometheus() -> None:
    families = list(ours(Series(BUILD)))
    assert len(families) > 30
    for family in families:
        assert re.fullmatch(r"standby_[a-z]+(_[a-z]+)*", family.name)
        assert family.meaning.endswith("."), f"{family.name} needs a sentence of help"
        assert family.kind in {"counter", "histogram", "info"}
        if family.kind == "histogram":
            assert family.name.endswith(("_seconds", "_lines"))
        assert not re.search(r"_(ms|milliseconds|minutes|hours|percent|cents|kb|mb)(_|$)", family.name), (
            "base units only"
        )


def test_no_family_is_written_twice_and_none_has_a_creation_time() -> None:
    written = text(Series(BUILD))
    names = re.findall(r"^# TYPE (\S+)", written, re.MULTILINE)
    assert len(names) == len(set(names))
    assert "_created" not in written


def test_the_version_and_the_price_map_are_labels_of_the_build() -> None:
    assert 'standby_build_info{price_map="litellm 1.2.3",version="9.9.9"} 1.0' in text(Series(BUILD))


def test_the_process_tells_its_own_cpu_and_memory() -> None:
    written = text(Series(BUILD))
    assert "process_resident_memory_bytes" in written
    assert "process_cpu_seconds_total" in written


def test_children_are_made_once_and_looked_up_by_value() -> None:
    family = Series(BUILD).cuts
    assert family.of("age") is family.of("age")
    assert family.of("age") is not family.of("slack")

"""What an edit of a policy changes, and how it is said."""

from zoneinfo import ZoneInfo

from proxy.domain.change import PolicyChange
from proxy.routing.changes import what_changed
from proxy.routing.policy import Match, PolicyFile, Rule, Then
from proxy.routing.policytest import Expected, PolicyTest

ONE, TWO, THREE = Rule("one"), Rule("two"), Rule("three", Match(hours="09:00-17:00"))


def test_rules_are_told_apart_by_their_names() -> None:
    old = PolicyFile(rules=(ONE, TWO, THREE))
    new = PolicyFile(rules=(Rule("new"), ONE, Rule("two", then=Then(urgent=True))))
    assert what_changed(old, new) == PolicyChange(added=("new",), removed=("three",), changed=("two",))


def test_another_order_is_a_change_and_an_insertion_is_none() -> None:
    old = PolicyFile(rules=(ONE, TWO))
    assert what_changed(old, PolicyFile(rules=(TWO, ONE))) == PolicyChange(reordered=True)
    assert what_changed(old, PolicyFile(rules=(ONE, THREE, TWO))) == PolicyChange(added=("three",))


def test_the_terms_of_the_default_that_change_are_named_as_a_file_writes_them() -> None:
    new = PolicyFile(default=Then(deadline_seconds=60.0, hint_may_defer=True))
    assert what_changed(PolicyFile(), new) == PolicyChange(default=("deadline", "hint_may_defer"))


def test_another_time_zone_of_the_file_changes_the_rules_that_depend_on_it() -> None:
    old, new = (PolicyFile(rules=(ONE, THREE), timezone=zone) for zone in (None, ZoneInfo("Asia/Tokyo")))
    assert what_changed(old, new) == PolicyChange(changed=("three",))


def test_tests_are_no_part_of_what_is_in_force() -> None:
    new = PolicyFile(tests=(PolicyTest("t", Expected(rule="default")),))
    assert what_changed(PolicyFile(), new) == PolicyChange()


def test_a_change_is_said_in_words() -> None:
    assert str(PolicyChange()) == "nothing"
    change = PolicyChange(added=("a", "b"), removed=("c",), changed=("d",), reordered=True, default=("deadline",))
    assert str(change) == "added a, b; removed c; changed d; default deadline; another order"

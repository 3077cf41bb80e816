"""The policy file is watched: a right edit replaces the policy whole, a wrong one changes nothing and is told once."""

import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.domain.change import PolicyChange
from proxy.domain.errors import ConfigFault
from proxy.domain.events import AnyEvent, PolicyReloaded, ReloadRefused
from proxy.routing.policy import Policy
from proxy.runtime.clock import SystemClock
from proxy.runtime.reload import PolicyWatch, file_state
from tests.conftest import Servers
from tests.processes import start, stop
from tests.runtime.test_workers import free_ports

ONE = "rules:\n  - name: one\n    then: {urgent: true}\n"
TWO = "rules:\n  - name: one\n    then: {urgent: true}\n  - name: two\n    then: {deadline: 2h}\n"


class _Watched:
    def __init__(self, folder: Path, text: str = ONE) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(text)
        self.events: list[AnyEvent] = []
        self.policies: list[Policy] = []
        self.watch = PolicyWatch(self.file, SystemClock(), self.events.append)
        self.watch.on_change(self.policies.append)

    @property
    def names(self) -> list[str]:
        return [rule.name for rule in self.watch.policy.rules]

    def edit(self, text: str) -> None:
        self.file.write_text(text)
        self.watch.look()


def test_a_right_edit_is_in_force_and_announced(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    watched.edit(TWO)
    assert watched.names == ["one", "two"]
    assert watched.policies == [watched.watch.policy]
    (event,) = watched.events
    assert isinstance(event, PolicyReloaded)
    assert (event.rules, event.change) == (2, PolicyChange(added=("two",)))


def test_a_wrong_edit_keeps_the_old_policy_and_says_where_once(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    watched.edit("rules:\n  - name: one\n    then: {urgnt: true}\n")
    watched.watch.look()
    assert watched.names == ["one"]
    assert watched.policies == []
    (event,) = watched.events
    assert isinstance(event, ReloadRefused)
    assert "policy.yaml:3: 'urgnt' is unknown here: did you mean 'urgent'?" in event.error
    assert watched.watch.edit_refused


def test_the_correction_of_a_wrong_edit_is_taken(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    loaded_at = watched.watch.loaded_at
    watched.edit("rules: [")
    assert watched.watch.loaded_at == loaded_at
    watched.edit(TWO)
    assert watched.names == ["one", "two"]
    assert watched.watch.loaded_at > loaded_at
    assert not watched.watch.edit_refused


def test_a_file_that_vanishes_keeps_the_policy(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    watched.file.unlink()
    watched.watch.look()
    watched.watch.look()
    assert watched.names == ["one"]
    (event,) = watched.events
    assert isinstance(event, ReloadRefused)
    watched.edit(TWO)
    assert watched.names == ["one", "two"]


def test_an_unchanged_file_is_not_read_again_unless_told(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    watched.watch.look()
    assert watched.events == []
    watched.watch.look_now()
    watched.watch.look()
    assert isinstance(watched.events[0], PolicyReloaded)
    assert str(watched.events[0].change) == "nothing"


def test_a_file_that_is_replaced_by_a_rename_is_noticed(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    before = file_state(watched.file)
    (tmp_path / "new.yaml").write_text(ONE)
    (tmp_path / "new.yaml").rename(watched.file)
    assert file_state(watched.file) != before
    assert file_state(tmp_path / "nowhere.yaml") is None


def test_an_edit_whose_tests_fail_is_refused_and_says_why(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    watched.edit(TWO + "tests:\n  - name: two waits\n    request: {deadline: 4h}\n    expect: {rule: two}\n")
    assert watched.names == ["one"]
    (event,) = watched.events
    assert isinstance(event, ReloadRefused)
    assert "policy.yaml:7: the test 'two waits' fails: rule is one and not two (one: policy_urgent)" in event.error


def test_an_edit_of_an_extended_file_is_noticed_also_where_it_is_extended_further(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("extends: bottom.yaml\n")
    (tmp_path / "bottom.yaml").write_text("default: {deadline: 1h}\n")
    watched = _Watched(tmp_path, "extends: base.yaml\n" + ONE)
    watched.watch.look()
    assert watched.events == []
    (tmp_path / "bottom.yaml").write_text("default: {deadline: 2h}\n")
    watched.watch.look()
    assert watched.watch.policy.file.default.deadline_seconds == 7200.0
    (event,) = watched.events
    assert isinstance(event, PolicyReloaded)
    assert str(event.change) == "default deadline"


def test_the_correction_of_an_extended_file_is_taken_also_one_that_was_not_there(tmp_path: Path) -> None:
    watched = _Watched(tmp_path)
    watched.edit("extends: base.yaml\n" + ONE)
    assert isinstance(watched.events[0], ReloadRefused)
    (tmp_path / "base.yaml").write_text("rules: 5\n")
    watched.watch.look()
    assert isinstance(watched.events[1], ReloadRefused)
    assert "base.yaml:1: " in watched.events[1].error
    (tmp_path / "base.yaml").write_text("rules: {name: two}\n")
    watched.watch.look()
    assert watched.names == ["one", "two"]
    assert [type(event) for event in watched.events[2:]] == [PolicyReloaded]


def test_a_file_that_is_no_longer_extended_is_no_longer_watched(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("")
    watched = _Watched(tmp_path, "extends: base.yaml\n" + ONE)
    watched.edit(ONE)
    (tmp_path / "base.yaml").unlink()
    watched.watch.look()
    assert [type(event) for event in watched.events] == [PolicyReloaded]


def test_at_the_start_a_wrong_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match=r"policy\.yaml"):
        _Watched(tmp_path, "rules: 5\n")


def test_a_running_proxy_takes_an_edit_on_sighup_and_its_log_says_what_changed_or_why_not(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("policies: policy.yaml\nlogging: {format: json}\n")
    policy, log = tmp_path / "policy.yaml", tmp_path / "serve.log"
    began_at = (tmp_path / "config.yaml").stat().st_mtime
    policy.write_text(ONE)
    proxy = start("serve", "--port", "0", folder=tmp_path)
    try:
        policy.write_text(TWO)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: '"change": "added two"' in log.read_text())
        policy.write_text(TWO + "tests:\n  - {name: it fails, expect: {rule: two}}\n")
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "policy.yaml:7: the test 'it fails' fails: rule is one and not two" in log.read_text())
        with urllib.request.urlopen(proxy.url + "/metrics") as page:
            shown = page.read().decode()
    finally:
        assert stop(proxy) == 0
    assert "standby_policy_edit_refused 1.0" in shown
    assert float(shown.split("\nstandby_policy_loaded_timestamp_seconds ")[1].split()[0]) > began_at - 1
    for result in ("applied", "refused"):
        assert f'standby_policy_reloads_total{{result="{result}"}} 0.0' not in shown


@pytest.mark.timeout(90)
def test_every_worker_takes_an_edit_by_itself(shared_redis: Servers, tmp_path: Path) -> None:
    store = f"{{url: '{shared_redis('valkey').url}', namespace: '{tmp_path.as_posix()}'}}"
    (tmp_path / "config.yaml").write_text(f"policies: policy.yaml\nlogging: {{format: json}}\nstore: {store}\n")
    (tmp_path / "policy.yaml").write_text(ONE)
    proxy = start("serve", "--workers", "2", "--port", str(free_ports(3)), folder=tmp_path)
    try:
        (tmp_path / "policy.yaml").write_text(TWO)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(lambda: (tmp_path / "serve.log").read_text().count('"change": "added two"') == 2)
    finally:
        assert stop(proxy) == 0


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)

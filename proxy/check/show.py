"""`standby check` on the terminal: tables for people, a line for each thing when piped, JSON when asked for."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proxy.check.findings import Findings, RuleFinding, TestFinding, look_at
from proxy.config.load import load_config
from proxy.config.schema import schema_of
from proxy.config.shipped import policy_path
from proxy.config.trial import Conditions, Outcome
from proxy.routing.policy import PolicyFile
from proxy.runtime.parts import read_prices

EXIT_FAILED, EXIT_UNUSABLE = 1, 2


def schema() -> str:
    """The JSON Schema of policy files."""
    return json.dumps(schema_of(PolicyFile, "A policy of Standby"), indent=2, ensure_ascii=False)


def check(files: Sequence[Path], config_file: Path | None, *, as_json: bool) -> int:
    """Look at every file (the configured policy, where none is named), show what is found, return the exit code.

    Raises `ConfigFault` for a configuration that cannot be used.
    """
    config = load_config(config_file)
    conditions = Conditions(read_prices(config), config.timezone)
    named = [policy_path(Path(), file) for file in files] or [config.policy_file]
    found = [look_at(file, conditions) for file in named]
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print_json(json.dumps([_as_json(one) for one in found]))
    else:
        for one in found:
            (_show_tables if console.is_terminal else _show_lines)(console, one)
    if any(one.fault for one in found):
        return EXIT_UNUSABLE
    return EXIT_FAILED if any(one.failed for one in found) else 0


def _show_tables(console: Console, found: Findings) -> None:
    console.print(f"[bold]{escape(_headline(found))}[/bold]", style="red" if found.fault or found.failed else "green")
    if found.fault:
        return
    rules = Table("rule", "at", "hits", "")
    for rule in found.rules:
        rules.add_row(escape(rule.name), escape(str(rule.place)), str(rule.hits), _remark(rule))
    console.print(rules)
    tests = Table("test", "rule", "tier", "reason", "")
    for test in (*found.tests, *found.base_tests):
        tests.add_row(escape(test.outcome.test.name), *_decided(test.outcome), _result(test))
    if tests.row_count:
        console.print(tests)
    for test in found.failed:
        console.print(f"{test.place}: {test.outcome}", style="red", markup=False)


def _show_lines(console: Console, found: Findings) -> None:
    """What is found, each at its place, as compilers say it."""
    console.print(_headline(found), markup=False)
    for rule in found.rules:
        never = f"; it can never match: {rule.never}" if rule.never else ""
        console.print(f"{rule.place}: rule {rule.name}: {_count(rule.hits, 'hit')}{never}", markup=False)
    for test in (*found.tests, *found.base_tests):
        decided = ", ".join(_decided(test.outcome))
        said = f"the test {test.outcome.test.name!r} passes: {decided}" if test.outcome.passed else str(test.outcome)
        console.print(f"{test.place}: {said}", markup=False)


def _headline(found: Findings) -> str:
    if found.fault:
        return found.fault
    tests = len(found.tests) + len(found.base_tests)
    if found.failed:
        return f"{found.file}: {len(found.failed)} of {tests} tests fail"
    return f"{found.file}: {_count(len(found.rules) - 1, 'rule')}, " + (
        f"{_count(tests, 'test')}, all pass" if tests else "no tests"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _remark(rule: RuleFinding) -> str:
    if rule.never:
        return f"[yellow]can never match: {escape(rule.never)}[/yellow]"
    return "" if rule.hits else "[dim]no test comes here[/dim]"


def _result(test: TestFinding) -> str:
    return "[green]passes[/green]" if test.outcome.passed else "[red]fails[/red]"


def _decided(outcome: Outcome) -> tuple[str, str, str]:
    if outcome.decision is None:
        return "", "", "refused"
    return outcome.decision.policy, outcome.decision.tier, outcome.decision.reason


def _as_json(found: Findings) -> dict[str, object]:
    return {
        "file": str(found.file),
        "usable": found.fault is None,
        "fault": found.fault,
        "passed": found.fault is None and not found.failed,
        "rules": [
            {
                "name": rule.name,
                "place": str(rule.place),
                "hits": rule.hits,
                "can_match": rule.dead is None,
                "taken_by": list(rule.dead.behind) if rule.dead else [],
            }
            for rule in found.rules
        ],
        "tests": [_test_as_json(test) for test in (*found.tests, *found.base_tests)],
    }


def _test_as_json(test: TestFinding) -> dict[str, object]:
    outcome = test.outcome
    rule, tier, reason = _decided(outcome)
    return {
        "name": outcome.test.name,
        "place": str(test.place),
        "passed": outcome.passed,
        "refusal": outcome.refusal,
        "decision": None if outcome.decision is None else {"rule": rule, "tier": tier, "reason": reason},
        "differences": [
            {"name": one.name, "expected": one.expected, "found": one.found} for one in outcome.differences
        ],
    }

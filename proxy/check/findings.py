"""What there is to say of a policy file: whether it can be used, what its tests show, and which rules are idle."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from proxy.config.policies import Source, read_policy
from proxy.config.trial import Conditions, Outcome, run_tests
from proxy.domain.errors import ConfigFault, Place
from proxy.routing.policy import DEFAULT_NAME
from proxy.routing.reach import Dead, dead_rules


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """One rule, or `default`. `hits` counts the tests that came to it; `dead` says why no request ever can."""

    name: str
    place: Place
    hits: int
    dead: Dead | None

    @property
    def never(self) -> str | None:
        """Why it can never match, in words."""
        if self.dead is None:
            return None
        if not self.dead.behind:
            return "it contradicts itself"
        return f"{', '.join(self.dead.behind)} {'takes' if len(self.dead.behind) == 1 else 'take'} all of it"


@dataclass(frozen=True, slots=True)
class TestFinding:
    """One test, and what came of it."""

    place: Place
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Findings:
    """All about one file. `fault` is why it cannot be used; then there is nothing else.

    `tests` are the file's own; `base_tests` those of the files that it extends, each run on its own file.
    """

    file: Path
    fault: str | None = None
    rules: tuple[RuleFinding, ...] = ()
    tests: tuple[TestFinding, ...] = ()
    base_tests: tuple[TestFinding, ...] = ()

    @property
    def failed(self) -> list[TestFinding]:
        """The tests that fail, those of extended files included."""
        return [test for test in (*self.tests, *self.base_tests) if not test.outcome.passed]


def look_at(file: Path, conditions: Conditions) -> Findings:
    """Read a policy file and run its tests, and those of what it extends."""
    try:
        source = read_policy(file)
    except ConfigFault as fault:
        return Findings(file, fault=str(fault))
    own, *bases = [_tests(one, conditions) for one in source.lineage()]
    return Findings(
        file, rules=_rules(source, own), tests=own, base_tests=tuple(test for base in bases for test in base)
    )


def _tests(source: Source, conditions: Conditions) -> tuple[TestFinding, ...]:
    outcomes = enumerate(run_tests(source.policy, conditions))
    return tuple(TestFinding(source.place_of_test(number), outcome) for number, outcome in outcomes)


def _rules(source: Source, tests: tuple[TestFinding, ...]) -> tuple[RuleFinding, ...]:
    hits = Counter(test.outcome.decision.policy for test in tests if test.outcome.decision is not None)
    dead = {one.rule: one for one in dead_rules(source.policy)}
    named = [(rule.name, source.place_of_rule(number)) for number, rule in enumerate(source.policy.rules)]
    named.append((DEFAULT_NAME, source.place_of_default()))
    return tuple(RuleFinding(name, place, hits[name], dead.get(name)) for name, place in named)

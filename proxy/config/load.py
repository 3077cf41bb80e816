"""Reading files: the configuration, and the policy. A mistake names file, line and correction; nothing half-applies."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from proxy.config.decode import decode
from proxy.config.policies import Note, Source, read_policy, read_text
from proxy.config.settings import Config
from proxy.config.shipped import policy_path
from proxy.config.tree import parse
from proxy.config.trial import Conditions, run_tests, shipped_conditions
from proxy.domain.errors import ConfigFault
from proxy.routing.policy import Policy

UPSTREAM_VARIABLE = "STANDBY_UPSTREAM"
STORE_VARIABLE = "STANDBY_STORE"


def load_config(file: Path | None) -> Config:
    """The configuration of a file; the defaults without one. Raises `ConfigFault`.

    The files that it names (`policies`, `cost_map`, `store.key_file`) are looked for from its own folder; the store is
    not one of them: a relative `store.url` starts at the working directory.
    """
    if file is None:
        return Config()
    config = decode(parse(read_text(file), str(file)), Config)
    return _resolved(config, file.parent)


def load_policy(file: Path, conditions: Conditions | None = None, note: Note = lambda _: None) -> Policy:
    """The policy of a file, whose tests pass; `conditions` are what those are run under.

    Raises `ConfigFault` for anything that is not a right policy; `note` has been told of every file by then.
    """
    source = read_policy(file, note)
    for tested in source.lineage():
        _require_passed(tested, conditions)
    return Policy(source.policy)


def _require_passed(source: Source, conditions: Conditions | None) -> None:
    if not source.policy.tests:
        return
    outcomes = enumerate(run_tests(source.policy, conditions or shipped_conditions()))
    failed = [(number, outcome) for number, outcome in outcomes if not outcome.passed]
    if failed:
        number, first = failed[0]
        others = f" ({len(failed) - 1} more of its tests fail)" if failed[1:] else ""
        raise ConfigFault(f"{first}{others}", source.place_of_test(number))


def said_by(environ: Mapping[str, str], variable: str) -> str | None:
    """An environment variable's value; None when it is unset or empty."""
    return environ.get(variable) or None


def _resolved(config: Config, folder: Path) -> Config:
    """The files that a configuration names, from the configuration file's own folder."""
    return replace(
        config,
        policies=None if config.policies is None else policy_path(folder, config.policies),
        cost_map=_from(folder, config.cost_map),
        store=replace(config.store, key_file=_from(folder, config.store.key_file)),
    )


def _from(folder: Path, file: Path | None) -> Path | None:
    return None if file is None else folder / file

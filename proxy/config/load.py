"""Reading files: the configuration, and the policy. A mistake names file, line and correction; nothing half-applies."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from proxy.config.decode import decode
from proxy.config.settings import Config
from proxy.config.tree import parse
from proxy.domain.errors import ConfigFault
from proxy.routing.policy import Policy, PolicyFile

UPSTREAM_VARIABLE = "STANDBY_UPSTREAM"
STORE_VARIABLE = "STANDBY_STORE"


def load_config(file: Path | None) -> Config:
    """The configuration of a file; the defaults without one. Raises `ConfigFault`.

    The files that it names (`policies`, `cost_map`, `store.key_file`) are looked for from its own folder; the store is
    not one of them: a relative `store.url` starts at the working directory.
    """
    if file is None:
        return Config()
    config = decode(parse(_read(file), str(file)), Config)
    return _resolved(config, file.parent)


def load_policy(file: Path) -> Policy:
    """The policy of a file. Raises `ConfigFault` for anything that is not a right one."""
    return Policy(decode(parse(_read(file), str(file)), PolicyFile))


def said_by(environ: Mapping[str, str], variable: str) -> str | None:
    """An environment variable's value; None when it is unset or empty."""
    return environ.get(variable) or None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigFault(f"{file} is not UTF-8 text") from error
    except OSError as error:
        raise ConfigFault(f"{file} cannot be read: {error.strerror or error}") from error


def _resolved(config: Config, folder: Path) -> Config:
    """The files that a configuration names, from the configuration file's own folder."""
    return replace(
        config,
        policies=_from(folder, config.policies),
        cost_map=_from(folder, config.cost_map),
        store=replace(config.store, key_file=_from(folder, config.store.key_file)),
    )


def _from(folder: Path, file: Path | None) -> Path | None:
    return None if file is None else folder / file

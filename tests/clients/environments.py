"""Environments of their own for clients that cannot, or need not, be installed beside Standby. Made on first use."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

ENVIRONMENTS = Path(__file__).parent.parent.parent / ".clients"
DRIVERS = Path(__file__).parent / "drivers"


@dataclass(frozen=True)
class Python:
    """A virtual environment of a name, with packages in it; without packages the one that runs the tests."""

    name: str = ""
    packages: tuple[str, ...] = ()

    def command(self, driver: str) -> list[str]:
        """What begins a driver's command line."""
        script = str(DRIVERS / f"{driver}.py")
        if not self.packages:
            return [sys.executable, script]
        python = ENVIRONMENTS / self.name / "bin" / "python"
        with once(self.name, self.packages) as is_first:
            if is_first:
                subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENTS / self.name], check=True)
                _install([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages])
        return [str(python), script]


@dataclass(frozen=True)
class Node:
    """A folder with packages from npm. A module finds its packages beside itself, so the drivers are copied there."""

    name: str
    packages: tuple[str, ...]

    def command(self, driver: str) -> list[str]:
        """What begins a driver's command line."""
        folder = ENVIRONMENTS / self.name
        npm = shutil.which("npm")
        if npm is None:
            _missing("Node.js and npm are not installed")
        with once(self.name, self.packages) as is_first:
            folder.mkdir(exist_ok=True)
            if is_first:
                _install(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", *self.packages])
            for script in DRIVERS.glob("*.mjs"):
                shutil.copy(script, folder)
        return ["node", str(folder / f"{driver}.mjs")]


@contextmanager
def once(name: str, packages: tuple[str, ...]) -> Iterator[bool]:
    """One test process at a time; whether these very packages are still to be installed."""
    ENVIRONMENTS.mkdir(exist_ok=True)
    stamp = ENVIRONMENTS / f"{name}.stamp"
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = "\n".join(packages)
        yield not stamp.exists() or stamp.read_text() != wanted
        stamp.write_text(wanted)


def _install(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        _missing(done.stderr[-500:])


def _missing(reason: str) -> NoReturn:
    """A skip on a laptop, a failure in CI: there, everything can be installed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)

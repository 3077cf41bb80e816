"""Prometheus and promtool, where this machine has them: Debian's package `prometheus` brings both."""

import shutil
import subprocess

import pytest


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine: apt-get install prometheus")
    return found


def promtool(*arguments: str, stdin: str | None = None) -> str:
    """What promtool says; a test fails with it when promtool does."""
    done = subprocess.run(
        [program("promtool"), *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said

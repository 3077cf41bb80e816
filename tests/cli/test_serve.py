"""The command line: true help, one clear line for every mistake, a proxy that starts and stops."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy import __version__
from proxy.cli import main
from tests.processes import start, stop


def _standby(*arguments: str, folder: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=folder,
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", ["serve", "emulate", "demo", "check"])
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    assert "Options:" in shown.output


def test_the_version_is_the_packages() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({"config.yaml": "sever: {}\n"}, (), "config.yaml:1: 'sever' is unknown here: did you mean 'server'?"),
        ({"config.yaml": "server:\n  port: high\n"}, (), "config.yaml:2: "),
        ({"config.yaml": "policies: p.yaml\n", "p.yaml": "rules:\n  - nam: x\n"}, (), "p.yaml:2: "),
        (
            {"config.yaml": "policies: p.yaml\n", "p.yaml": "tests:\n  - {name: it waits, expect: {deferred: true}}\n"},
            (),
            "p.yaml:2: the test 'it waits' fails: deferred is false and not true (default: no_deadline)",
        ),
        ({}, ("--config", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        ({}, ("--store", "mysql://x"), "sqlite:"),
        ({}, ("--store", "redis://x/y"), "redis://HOST:PORT/DB"),
        ({}, ("--upstream", "api.openai.com"), "base"),
        ({}, ("--host", "0.0.0.0"), "--open-to-network"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, files: dict[str, str], arguments: tuple[str, ...], said: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = _standby("serve", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("standby: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "standby.db").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _standby("serve", "--port", str(port), folder=tmp_path)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_another_process_uses_is_named(tmp_path: Path) -> None:
    first = start("serve", "--port", "0", folder=tmp_path)
    try:
        done = _standby("serve", "--port", "0", folder=tmp_path)
    finally:
        assert stop(first) == 0
    assert done.returncode == 1
    assert "standby.db is in use by another process" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_emulator_with_a_turnaround_that_cannot_be_meant_says_so(tmp_path: Path) -> None:
    done = _standby("emulate", "--turnaround", "soonish", folder=tmp_path)
    assert done.returncode == 2
    assert "lognormal" in done.stderr


def test_serve_starts_answers_and_stops_on_sigterm_without_a_word_of_complaint(tmp_path: Path) -> None:
    proxy = start("serve", "--port", "0", folder=tmp_path)
    for path in ("/healthz", "/readyz", "/metrics"):
        with urllib.request.urlopen(proxy.url + path) as page:
            assert page.status == 200
    assert stop(proxy) == 0
    log = (tmp_path / "serve.log").read_text()
    assert "Traceback" not in log
    assert (tmp_path / "standby.key").stat().st_mode & 0o777 == 0o600


def test_the_environment_names_upstream_and_store(tmp_path: Path) -> None:
    environ = {"STANDBY_UPSTREAM": "http://127.0.0.1:9/v1", "STANDBY_STORE": "sqlite:elsewhere.db"}
    proxy = start("serve", "--port", "0", folder=tmp_path, environ=environ)
    assert stop(proxy) == 0
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "standby.db").exists()


def test_the_proxy_starts_without_importing_litellm_or_openai() -> None:
    check = "import sys, proxy.runtime.command; print({'litellm', 'openai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

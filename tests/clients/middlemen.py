"""nginx and HAProxy as Debian has them, with the configurations that the README recommends."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.clients.environments import ENVIRONMENTS, once
from tests.processes import Running

README = Path(__file__).parent.parent.parent / "README.md"
PACKAGES = {
    "nginx": ("nginx",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
}
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@contextmanager
def nginx(folder: Path, behind: Running, *, silence: str | None = None) -> Iterator[str]:
    """nginx in front of Standby; yields its address. `silence` replaces the longest silence that it bears."""
    port = _free_port()
    location = _recommended("nginx", behind)
    if silence is not None:
        location = _replaced(r"(proxy_read_timeout) \w+;", rf"\1 {silence};", location)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}server {{ listen 127.0.0.1:{port};\n{location}\n}}\n}}\n"
    )
    arguments = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    with _running("nginx", arguments, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def haproxy(folder: Path, behind: Running, *, silence: str | None = None) -> Iterator[str]:
    """HAProxy in front of Standby; yields its address. `silence` replaces the longest silence that it bears."""
    port = _free_port()
    config = _replaced(r"bind \S+", f"bind 127.0.0.1:{port}", _recommended("haproxy", behind))
    if silence is not None:
        config = _replaced(r"(timeout (?:client|server)) +\w+", rf"\1 {silence}", config)
    (folder / "haproxy.cfg").write_text(config)
    with _running("haproxy", ["-db", "-f", str(folder / "haproxy.cfg")], port):
        yield f"http://127.0.0.1:{port}"


MIDDLEMEN: dict[str, Callable[..., AbstractContextManager[str]]] = {"nginx": nginx, "haproxy": haproxy}


def _recommended(language: str, behind: Running) -> str:
    """The README's own snippet, pointed at this Standby."""
    found = re.search(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, f"the README has no {language} snippet"
    return _replaced(r"127\.0\.0\.1:8080", f"127.0.0.1:{behind.port}", found[1])


def _replaced(pattern: str, by: str, text: str) -> str:
    """The text with something else in it: what is to be replaced must be there."""
    changed, count = re.subn(pattern, by, text)
    assert count, f"{pattern} is not in {text}"
    return changed


@contextmanager
def _running(name: str, arguments: list[str], port: int) -> Iterator[None]:
    binary, environ = _binary(name)
    with subprocess.Popen([binary, *arguments], env=environ) as process:
        try:
            _until_it_listens(port, process)
            yield
        finally:
            process.terminate()


def _binary(name: str) -> tuple[str, dict[str, str]]:
    """Where it is installed, or else unpacked from its Debian packages, which needs no root."""
    installed = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if installed is not None:
        return installed, dict(os.environ)
    folder = ENVIRONMENTS / name
    with once(name, PACKAGES[name]) as is_first:
        if is_first:
            _unpack(folder, PACKAGES[name])
    return str(folder / "usr" / "sbin" / name), os.environ | {"LD_LIBRARY_PATH": str(folder / LIBRARIES)}


def _unpack(folder: Path, packages: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["apt-get", "download", "-qq", *packages], cwd=folder, capture_output=True, check=False)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"{packages[0]} is not installed and cannot be fetched here")
    assert done.returncode == 0, done.stderr
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)


def _until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < give_up_at, "it does not listen"
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

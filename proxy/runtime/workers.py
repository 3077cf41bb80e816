"""`standby serve --workers N`: one listening socket, N processes that accept on it, and this one, which watches.

The socket is made before the processes are, and belongs to all of them: no connection is lost when one of them dies,
and its successor accepts on the same one. `/metrics` there is of all of them together. Each process also listens at
an address of its own, where it tells of itself alone.
"""

import os
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.config.settings import Config
from proxy.domain.errors import ConfigFault
from proxy.runtime.siblings import Nest

RESTART_SECONDS = 1.0
"""A worker that dies young is not started again sooner than this."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker needs to know of its surroundings.

    `listening` is the shared socket. `nest` is where the workers meet. `ready` takes a line with the worker's own URL
    when it serves; `alive` ends when the watching process does.
    """

    listening: socket.socket
    nest: Nest
    ready: int
    alive: int


Work = Callable[[Place], int]
"""What a worker does until it is told to stop; returns its exit code."""


def listen(config: Config) -> socket.socket:
    """The socket that all workers accept on. Raises `ConfigFault` when its address cannot be had."""
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(config.server.backlog)
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise ConfigFault(f"cannot listen on {host}:{port}: {reason}; choose another --port") from error
    listening.settimeout(0.0)
    return listening


def watch_over(work: Work, count: int, listening: socket.socket, serving: Callable[[list[str]], None]) -> int:
    """Run so many workers until SIGTERM or SIGINT, and start those again that die. `serving` is called when all serve,
    with the URLs of their own.

    Returns the exit code: that of a worker that could not even begin, else 0.
    """
    with tempfile.TemporaryDirectory(prefix="standby-", ignore_cleanup_errors=True) as folder:
        return _watch(_Watcher(work, listening, Path(folder), count), count, serving)


def _watch(watcher: "_Watcher", count: int, serving: Callable[[list[str]], None]) -> int:
    for word in (signal.SIGTERM, signal.SIGINT):
        signal.signal(word, lambda *_: watcher.stop())
    signal.signal(signal.SIGHUP, lambda *_: watcher.tell(signal.SIGHUP))
    for number in range(count):
        watcher.start(number)
    if watcher.stopping:
        watcher.stop()
    return watcher.watch(serving)


class _Watcher:
    """The processes, by their ids."""

    def __init__(self, work: Work, listening: socket.socket, folder: Path, count: int) -> None:
        self._work = work
        self._listening = listening
        self._folder = folder
        self._count = count
        self._numbers: dict[int, int] = {}
        self._ready_out, self._ready_in = os.pipe()
        self._alive_out, self._alive_in = os.pipe()
        self.stopping = False
        self._code = 0

    def start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process:
            self._numbers[process] = number
            return
        code = 1
        try:
            for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(each, signal.SIG_DFL)
            os.close(self._ready_out)
            os.close(self._alive_in)
            nest = Nest(self._folder, self._count, number)
            code = self._work(Place(self._listening, nest, self._ready_in, self._alive_out))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001  the process ends here, and must say why
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def stop(self) -> None:
        self.stopping = True
        self.tell(signal.SIGTERM)

    def tell(self, number: int) -> None:
        for process in self._numbers:
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def watch(self, serving: Callable[[list[str]], None]) -> int:
        """Wait for all to be ready, then for any to end."""
        urls = self._all_ready()
        if urls:
            serving(urls)
        while self._numbers:
            process, status = os.waitpid(-1, 0)
            number = self._numbers.pop(process, None)
            if number is None or self.stopping:
                continue
            code = os.waitstatus_to_exitcode(status)
            sys.stderr.write(f"standby: worker {number} ended with {code} and is started again\n")
            time.sleep(RESTART_SECONDS)
            if not self.stopping:
                self.start(number)
        return self._code

    def _all_ready(self) -> list[str]:
        """Where the workers are, once all of them serve. One that ended before takes the others with it."""
        wanted, said = len(self._numbers), b""
        while said.count(b"\n") < wanted and not self.stopping:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process:
                self._numbers.pop(process, None)
                self._code = os.waitstatus_to_exitcode(status)
                self.stop()
                return []
            said += _read_ready(self._ready_out)
        return [] if self.stopping else sorted(said.decode().split())


def _read_ready(descriptor: int) -> bytes:
    """What workers have written by now, waited for a moment."""
    ready, _, _ = select.select([descriptor], [], [], 0.05)
    return os.read(descriptor, 1024) if ready else b""

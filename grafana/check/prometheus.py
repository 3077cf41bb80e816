"""A real Prometheus, started on a folder of its own, and what it answers."""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

RULES = Path(__file__).parent.parent / "rules.yml"
START_SECONDS = 30.0


class Sampled(msgspec.Struct, frozen=True):
    """One series of an answer: its labels, and its samples as (unix seconds, text of the value)."""

    metric: dict[str, str]
    values: tuple[tuple[float, str], ...] = ()
    value: tuple[float, str] | None = None

    @property
    def numbers(self) -> list[float]:
        """The values alone."""
        samples = self.values if self.value is None else (self.value,)
        return [float(text) for _, text in samples]


class _Result(msgspec.Struct, frozen=True):
    result: tuple[Sampled, ...]


class _Reply(msgspec.Struct, frozen=True):
    data: _Result


@contextmanager
def running(folder: Path, scraped: str | None = None) -> Iterator[str]:
    """Prometheus with the rules of this repository and its data in `folder`; yields its URL. `scraped` is the HOST:PORT
    that it scrapes each second. Raises `RuntimeError` when it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(RULES, folder / "rules.yml")
    config = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
    if scraped is not None:
        config += f"scrape_configs: [{{job_name: standby, static_configs: [{{targets: ['{scraped}']}}]}}]\n"
    (folder / "prometheus.yml").write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_ready(f"http://{address}", folder / "prometheus.log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def query_range(url: str, expr: str, start: float, end: float, step: float) -> tuple[Sampled, ...]:
    """The expression over time. Raises `ValueError` with Prometheus's own words when it is refused."""
    return _ask(f"{url}/api/v1/query_range", query=expr, start=start, end=end, step=step)


def query(url: str, expr: str, at: float) -> tuple[Sampled, ...]:
    """The expression at one instant. Raises as `query_range` does."""
    return _ask(f"{url}/api/v1/query", query=expr, time=at)


def _ask(url: str, **asked: object) -> tuple[Sampled, ...]:
    try:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(asked)}", timeout=60) as answer:
            return msgspec.json.decode(answer.read(), type=_Reply).data.result
    except urllib.error.HTTPError as error:
        raise ValueError(f"{asked['query']}: {error.read().decode()}") from error


def _wait_until_ready(url: str, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus did not start: {log.read_text()}")

"""openai-python's own tests of its API resources, direct and through Standby: the same outcome for every test.

    git clone --depth 1 https://github.com/openai/openai-python
    python -m bench.openai_suite openai-python

The tests and the OpenAPI description come from the clone, the mock server that its repository uses (`@stdy/cli`, in the
version that the clone names) from npm, its Python packages from PyPI. The mock answers every call of the description
with data made up for it, and refuses a call that the description does not allow. Prints each test whose outcomes
differ, and both totals; the exit code is 0 when none does.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import environ
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen
from xml.etree import ElementTree

from tests.clients.environments import ENVIRONMENTS, once
from tests.processes import start, stop

MOCK = "@stdy/cli"
PACKAGES = ("pytest", "pytest-asyncio", "pytest-xdist", "rich", "inline-snapshot", "trio")
EXTRAS = "aiohttp,realtime"
BRACKETS = [
    f"--validator-{kind}-format=brackets" for kind in ("query-array", "form-array", "query-object", "form-object")
]
"""How the SDK writes arrays and objects: as in the repository's own `scripts/mock`."""
START_SECONDS = 60.0


def install(checkout: Path) -> Path:
    """An environment with the clone's package, what its tests need, and the mock server. On first use only."""
    mock = json.loads((checkout / "package.json").read_text())["devDependencies"][MOCK]
    folder = ENVIRONMENTS / "openai-suite"
    wanted = (str(checkout.resolve()), mock, *PACKAGES)
    with once("openai-suite", wanted) as is_first:
        if is_first:
            run(sys.executable, "-m", "venv", "--clear", folder)
            pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            run(*pip, "--editable", f"{checkout.resolve()}[{EXTRAS}]", *PACKAGES)
            run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, f"{MOCK}@{mock}")
    return folder


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


@contextmanager
def mock_server(environment: Path, checkout: Path) -> Iterator[str]:
    """The mock server's URL, while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    description = checkout / "api_reference" / "openapi.transformed.yml"
    script = environment / "node_modules" / ".bin" / "steady"
    command = [str(script), "--host", "127.0.0.1", "-p", str(port), *BRACKETS, str(description)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url + "/_x-steady/health", process)
            yield url
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up_at:
        try:
            urlopen(url).close()
        except URLError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the mock server did not start")


def outcomes(environment: Path, checkout: Path, url: str, workers: int, report: Path) -> dict[str, str]:
    """Run the tests against a base URL: what became of each."""
    python = environment / "bin" / "python"
    command = [str(python), "-m", "pytest", "tests/api_resources", "-q", "-p", "no:cacheprovider", "-n", str(workers)]
    said = {**environ, "TEST_API_BASE_URL": url, "DEFER_PYDANTIC_BUILD": "false"}
    subprocess.run(
        [*command, "--tb=no", f"--junitxml={report}"],
        cwd=checkout,
        env=said,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    cases = ElementTree.parse(report).iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}": outcome_of(case) for case in cases}


def outcome_of(case: ElementTree.Element) -> str:
    return next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed")


def compare(direct: Mapping[str, str], through: Mapping[str, str]) -> list[str]:
    """A sentence for each test that did not end alike."""
    names = sorted(direct.keys() | through.keys())
    return [
        f"{name}: {direct.get(name, 'not run')} direct, {through.get(name, 'not run')} through Standby"
        for name in names
        if direct.get(name) != through.get(name)
    ]


def totals(outcomes_: Mapping[str, str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(outcomes_.values()).items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="a clone of openai-python")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    checkout: Path = options.checkout.resolve()
    environment = install(checkout)
    with tempfile.TemporaryDirectory() as name, mock_server(environment, checkout) as mock:
        folder = Path(name)
        direct = outcomes(environment, checkout, mock, options.workers, folder / "direct.xml")
        print(f"direct: {totals(direct)}")
        proxy = start("serve", "--port", "0", "--upstream", mock, folder=folder)
        try:
            through = outcomes(environment, checkout, proxy.url + "/v1", options.workers, folder / "through.xml")
        finally:
            stop(proxy)
        print(f"through Standby: {totals(through)}")
    different = compare(direct, through)
    for sentence in different:
        print(sentence)
    print(f"{len(different)} of {len(direct)} tests end differently")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

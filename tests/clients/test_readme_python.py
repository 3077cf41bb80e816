"""The README's Python for answers that are fetched later, as it stands there, against real processes."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.processes import emulator, standby

README = Path(__file__).parent.parent.parent / "README.md"

pytestmark = pytest.mark.clients


def test_the_readmes_lines_fetch_an_answer_later(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    (lines,) = (block for block in blocks if "respond-async" in block)
    with emulator(tmp_path, "--turnaround", "constant:600") as provider, standby(tmp_path, provider) as proxy:
        there = lines.replace("http://127.0.0.1:8080", proxy.url).replace("4h", "60s")
        assert there.count(proxy.url) == 1
        names: dict[str, Any] = {}
        try:
            exec(compile(there, "README.md", "exec"), names)
        finally:
            names["api"].close()
    assert capsys.readouterr().out.startswith("done echo: ...")

"""The demo is a product too: it ends, its figures add up, and Ctrl-C leaves nothing behind."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy.demo.show import show

pytestmark = pytest.mark.timeout(120)


def test_a_short_demo_adds_up_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.run(show(3, requests=40, seconds=6.0)) == 0
    printed = capsys.readouterr().out
    assert re.search(r"requests answered right\s+│\s+40 of 40", printed)
    assert re.search(r"provider files left over\s+│\s+0", printed)
    assert "\x1b[" not in printed


def test_ctrl_c_sends_nothing_more_settles_and_leaves_no_folder(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parent.parent.parent,
    )
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "Settlement" in printed
    assert "does not add up" not in printed
    assert list(tmp_path.iterdir()) == []

"""`standby check` on the command line; what it finds and says is in tests/check."""

import json
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

from proxy.cli import main


def test_it_prints_the_schema_that_editors_use() -> None:
    done = CliRunner().invoke(main, ["check", "--schema"])
    assert done.exit_code == 0
    assert json.loads(done.output)["title"] == "A policy of Standby"


def test_the_configuration_beside_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("policies: nowhere.yaml\n")
    with chdir(tmp_path):
        done = CliRunner().invoke(main, ["check"])
    assert done.exit_code == 2
    assert "nowhere.yaml cannot be read" in done.output

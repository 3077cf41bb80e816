"""`standby explain` on the command line."""

import asyncio
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.domain.decision import Reason
from proxy.domain.ids import RequestId
from proxy.domain.tier import Tier
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from tests.report.conftest import row
from tests.store.samples import accepted, request


def explained(folder: Path, *arguments: str) -> Result:
    with chdir(folder):
        return CliRunner().invoke(main, ["explain", *arguments])


def test_a_request_is_described_by_options(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("policies: policy.yaml\nkeys: []\n")
    (tmp_path / "policy.yaml").write_text(
        "rules: [{name: mine, match: {header: {x-app: 'a:*'}, metadata: {job: b}, tools: true}, then: {deadline: 6h}}]"
    )
    described = ("--model", "gpt-4o-mini", "--header", "x-app: a:b", "--metadata", "job=b", "--tools")
    done = explained(tmp_path, *described)
    assert (done.exit_code, done.output.splitlines()[0]) == (
        0,
        "rule mine: batch, because there was time for a batch (deadline_allows)",
    )
    assert not (tmp_path / "standby.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "nonsense"), "standby: --at: 'nonsense' is no time"),
        (("--header", "x-app"), "standby: --header: write NAME:VALUE"),
        (("--metadata", "job"), "standby: --metadata: write NAME=VALUE"),
        (("--policy", "nowhere.yaml"), "nowhere.yaml cannot be read"),
        (("--endpoint", "chat"), "standby: --endpoint: 'chat' is no path"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = explained(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1


def test_the_id_of_a_request_tells_what_was_decided_and_bought(tmp_path: Path) -> None:
    async def fill() -> None:
        store = SqliteStore(tmp_path / "standby.db", SystemClock())
        await store.start()
        (kept,) = await accepted(store, request("req-kept"))
        urgent = replace(row(tier=Tier.STANDARD), reason=Reason.OBSERVED, observed_tier=Tier.BATCH)
        await store.book([replace(row(), request_id=kept.id), replace(urgent, request_id=RequestId("req-urgent"))])
        await store.close()

    asyncio.run(fill())
    deferred = explained(tmp_path, "req-kept").output.splitlines()
    assert deferred[0] == "rule default: batch, because there was time for a batch (deadline_allows)"
    assert " under rule default at batch for $1.000000 of $2.000000 at the standard price" in deferred[-1]
    (urgent,) = explained(tmp_path, "req-urgent").output.splitlines()
    assert (
        "because it would have waited, but the policy only observes (observed); it would have waited at batch" in urgent
    )
    nobody = explained(tmp_path, "req-nobody")
    assert (nobody.exit_code, nobody.output.count("\n")) == (1, 1)

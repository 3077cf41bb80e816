"""`standby report`: what it says of a ledger, and that this is what the metrics and the provider's account say."""

import asyncio
import csv
import io
import json
import re
import subprocess
import sys
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openai
import pytest

from proxy.domain.errors import ConfigFault
from proxy.domain.ids import TenantId
from proxy.domain.money import Purchase
from proxy.domain.tier import Tier
from proxy.report.account import Dimension
from proxy.report.money import Question, report
from proxy.report.sheet import Format
from tests.processes import Running, emulator, standby
from tests.report.conftest import NOW, Scene, row

BY_TIER = (Dimension.TENANT, Dimension.TIER)


def _said(scene: Scene, question: Question | None = None, form: Format = Format.TABLE) -> str:
    told = scene.tell(lambda view: report(view, question or Question(), form))
    assert told.code == 0
    return told.text


def test_the_table_has_groups_a_total_and_no_empty_columns(scene: Scene) -> None:
    scene.rows = [row(paid="1", listed="2", deadline_at=NOW), row(paid="1.5", listed="1.5", model="gpt-4.1")]
    said = _said(scene)
    lines = [line.split("│") for line in said.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line[1:-1]] for line in lines] == [
        ["2027-01-15", "gpt-4.1", "1", "$1.5000", "$1.5000", "$0.0000", "0.0 %", "-"],
        ["2027-01-15", "gpt-4o-mini", "1", "$2.0000", "$1.0000", "$1.0000", "50.0 %", "1 of 1"],
        ["total", "", "2", "$3.5000", "$2.5000", "$1.0000", "28.6 %", "1 of 1"],
    ]
    assert said.startswith("since 2027-01-09 00:00 (UTC)")


def test_what_is_rare_has_its_column_when_it_is_there(scene: Scene) -> None:
    scene.rows = [
        row(kind=Purchase.DUPLICATE, paid="0.5", listed="0"),
        row(kind=Purchase.FAILED, paid=None, listed="0"),
        row(kind=Purchase.NATIVE, paid="3", listed="3"),
        row(kind=Purchase.EXPIRED, paid="0", listed="0", deadline_at=NOW - 90),
        row(tier=Tier.STANDARD, paid="2", listed="2", observed="1"),
    ]
    said = _said(scene)
    for words in (
        "bought twice",
        "failed",
        "native",
        "expired",
        "unpriced",
        "would have saved",
        "1 ($0.5000)",
        "0 of 1",
    ):
        assert words in said


def test_csv_has_every_column_and_no_total(scene: Scene) -> None:
    scene.rows = [row(paid="0.000000000001", listed="2"), row(tenant="bob", tier=Tier.STANDARD, listed=None)]
    read = list(csv.DictReader(io.StringIO(_said(scene, Question(BY_TIER), Format.CSV))))
    assert [(line["tenant"], line["tier"], line["paid_usd"]) for line in read] == [
        ("alice", "batch", "0.000000000001"),
        ("bob", "standard", "1"),
    ]
    assert list(read[0]) == [
        *("tenant", "tier", "requests", "list_usd", "paid_usd", "saved_usd", "saved_percent", "duplicates"),
        *("duplicates_usd", "failed", "failed_usd", "unpriced", "native", "native_usd", "deadlines_met"),
        *("deadlines_missed", "expired", "observed", "would_have_saved_usd"),
    ]


def test_json_says_what_was_asked_and_has_the_total(scene: Scene) -> None:
    scene.zone = ZoneInfo("Europe/Berlin")
    scene.rows = [row(), row(tenant="bob", paid="5", listed="7")]
    asked = Question((Dimension.MONTH,), "2027-01-15", "2027-01-15", TenantId("bob"))
    read = json.loads(_said(scene, asked, Format.JSON))
    assert read["since"] == "2027-01-15T00:00:00.000+01:00"
    assert read["until"] == "2027-01-16T00:00:00.000+01:00"
    assert (read["timezone"], read["tenant"], read["by"]) == ("Europe/Berlin", "bob", ["month"])
    assert [(line["month"], line["paid_usd"]) for line in read["rows"]] == [("2027-01", "5")]
    assert (read["total"]["saved_usd"], read["total"]["requests"]) == ("2", 1)


def test_where_nothing_was_bought_one_line_says_so(scene: Scene) -> None:
    assert _said(scene) == "Nothing was bought since 2027-01-09 00:00.\n"
    asked = Question(since="2027-01-01", until="2027-01-02", tenant=TenantId("[bob]"))
    expected = "Nothing was bought for the tenant [bob] from 2027-01-01 00:00 to 2027-01-03 00:00.\n"
    assert _said(scene, asked) == expected
    assert _said(scene, Question(), Format.CSV).count("\n") == 1
    assert json.loads(_said(scene, Question(), Format.JSON))["rows"] == []


@pytest.mark.parametrize(("since", "until"), [("soon", None), (None, "2027-13-01"), ("1h", "2h"), ("2027-02-01", "1h")])
def test_a_span_that_cannot_be_meant_is_refused(scene: Scene, since: str | None, until: str | None) -> None:
    with pytest.raises(ConfigFault):
        _said(scene, Question(since=since, until=until))


async def _ask(url: str, number: int) -> None:
    """Half of the calls wait; one model of the two is not sold at all, and is an error."""
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=f"sk-{number % 2}", max_retries=0) as client:
        try:
            await client.chat.completions.create(
                model="gpt-4o-mini" if number % 5 else "no-such-model",
                messages=[{"role": "user", "content": f"report-{number}"}],
                extra_headers={"X-Deadline": "40s"} if number % 2 else {},
            )
        except openai.APIStatusError:
            assert number % 5 == 0


def _report(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "proxy", "report", "--format", "json", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def _metrics(url: str) -> dict[str, float]:
    """The sums of some series over their labels."""
    with urllib.request.urlopen(url + "/metrics") as page:
        text = page.read().decode()
    sums: dict[str, float] = {}
    for name, labels, value in re.findall(r"^(standby_\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        for key in (name, *(f"{name}{{{label}}}" for label in re.findall(r'result="\w+"', labels))):
            sums[key] = sums.get(key, 0.0) + float(value)
    return sums


def _settled(proxy: Running) -> dict[str, float]:
    """The metrics when everything is booked and no batch is open."""
    for _ in range(100):
        metrics = _metrics(proxy.url)
        if metrics["standby_unbooked_ledger_rows"] == 0 and not metrics.get("standby_open_batches"):
            return metrics
        time.sleep(0.2)
    raise AssertionError("batches stay open")


def test_the_report_is_what_the_metrics_and_the_providers_account_say(tmp_path: Path) -> None:
    async def whole(url: str) -> None:
        await asyncio.gather(*(_ask(url, number) for number in range(40)))

    with emulator(tmp_path, "--turnaround", "constant:600") as provider:
        with standby(tmp_path, provider) as proxy:
            asyncio.run(whole(proxy.url))
            metrics = _settled(proxy)
            running = _report(tmp_path, "--by", "day,tenant,model,tier")
        with urllib.request.urlopen(provider.url + "/emulator/account") as page:
            bill = json.load(page)
        total = running["total"]
        assert Decimal(total["paid_usd"]) == Decimal(bill["total"]["usd"])
        assert float(total["paid_usd"]) == pytest.approx(metrics["standby_spend_usd_total"], rel=1e-9)
        assert float(total["list_usd"]) == pytest.approx(metrics["standby_counterfactual_spend_usd_total"], rel=1e-9)
        assert total["unpriced"] == metrics.get("standby_unpriced_purchases_total", 0)
        assert total["deadlines_met"] == metrics['standby_deadline_results_total{result="met"}'] > 0
        assert total["deadlines_missed"] == metrics.get('standby_deadline_results_total{result="missed"}', 0)
        assert total["requests"] == 32
        assert {line["tier"] for line in running["rows"]} == {"batch", "standard"}
        for name in ("paid_usd", "list_usd", "saved_usd", "would_have_saved_usd"):
            assert sum(Decimal(line[name]) for line in running["rows"]) == Decimal(total[name])
    assert _report(tmp_path, "--by", "day,tenant,model,tier")["rows"] == running["rows"]

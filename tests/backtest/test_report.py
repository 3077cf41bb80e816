import io
import json
from dataclasses import replace
from decimal import Decimal

from rich.console import Console

from proxy.backtest.account import Account
from proxy.backtest.play import Outcome
from proxy.backtest.report import Figures, as_json, figures, table


def outcome() -> Outcome:
    account = Account(
        0.0,
        deferred=80,
        with_deadline=90,
        missed=9,
        escalated=8,
        over_limit=7,
        refused=3,
        batches=5,
        list_usd=Decimal(100),
        paid_usd=Decimal(60),
        duplicate_usd=Decimal("1.25"),
    )
    return Outcome(
        account=account,
        requests=100,
        optimum_usd=Decimal(50),
        optimum_by_class={},
        billed_usd=Decimal(60),
        all_sync_missed=18,
        files_left=0,
    )


ROW = figures(outcome(), policy="default", world="normal", seed=1, rpm=60)


def test_figures_are_shares_of_what_they_are_said_to_be_shares_of() -> None:
    assert ROW.saved_usd == 40
    assert (ROW.share_of_optimum, ROW.missed_share, ROW.all_sync_missed_share, ROW.escalated_share) == (
        0.8,
        0.1,
        0.2,
        0.1,
    )


def test_nothing_to_save_and_nothing_deferred_are_no_divisions_by_zero() -> None:
    empty = replace(outcome(), account=Account(0.0), optimum_usd=Decimal(0))
    row = figures(empty, policy="p", world="normal", seed=1, rpm=1)
    assert (row.share_of_optimum, row.missed_share, row.escalated_share) == (0, 0, 0)
    assert "0.0%" in shown([row])


def test_json_has_the_promised_keys_with_plain_numbers() -> None:
    (policy,) = json.loads(as_json([ROW]))["policies"]
    promised = {"list_usd", "paid_usd", "saved_usd", "share_of_optimum", "missed_share", "escalated_share"}
    assert promised | {"duplicate_usd", "requests", "over_limit", "policy"} <= policy.keys()
    assert policy["paid_usd"] == 60.0
    assert policy["duplicate_usd"] == 1.25


def shown(rows: list[Figures]) -> str:
    text = io.StringIO()
    Console(width=80, file=text).print(table(rows))
    return text.getvalue()


def test_the_table_has_a_column_for_each_policy_and_fits_on_a_terminal() -> None:
    text = shown([ROW, replace(ROW, policy="bold"), replace(ROW, policy="a-rather-long-name")])
    lines = {line.split()[1]: line.split() for line in text.splitlines() if line.startswith("│")}
    (head,) = (line for line in text.splitlines() if "policy" in line)
    assert [word for word in head.split() if word != "┃"] == ["policy", "default", "bold", "a-rather-long-name"]
    assert lines["saved"].count("$40.00") == 3
    assert lines["deadlines"].count("90.000%") == 3
    assert lines["missed"].count("10.000%") == 3
    assert "…" not in text


def test_an_amount_of_less_than_a_dime_is_shown_to_the_hundredth_of_a_cent() -> None:
    text = shown([replace(ROW, list_usd=Decimal("0.01234"), paid_usd=Decimal("0.0005"), duplicate_usd=Decimal(0))])
    assert "$0.0123" in text
    assert "$0.0005" in text
    assert "$0.00 " in text

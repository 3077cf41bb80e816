import csv
import io
import json
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from proxy.report.sheet import Column, Field, as_csv, as_json, as_record, as_table


@dataclass
class Thing:
    name: str
    amount: Decimal | None
    count: int = 0


FIELDS: list[Field[Thing]] = [
    Field("name", lambda thing: thing.name),
    Field("amount", lambda thing: thing.amount),
    Field("count", lambda thing: thing.count),
]
COLUMNS: list[Column[Thing]] = [
    Column("name", lambda thing: thing.name),
    Column("count", lambda thing: str(thing.count), right=True, wanted=lambda thing: thing.count),
    Column("detail", lambda thing: thing.name * 2, least_width=60),
]
ODD = Thing('[red]a "b",\nc', Decimal("1E-12"))


def _drawn(table: Table, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(table)
    return console.export_text()


def test_csv_keeps_every_digit_every_quote_and_leaves_the_unknown_empty() -> None:
    read = list(csv.reader(io.StringIO(as_csv(FIELDS, [ODD, Thing("d", None, 7)]))))
    assert read == [["name", "amount", "count"], ['[red]a "b",\nc', "0.000000000001", "0"], ["d", "", "7"]]


def test_json_has_amounts_as_text_and_the_unknown_as_null() -> None:
    read = json.loads(as_json([as_record(FIELDS, ODD), as_record(FIELDS, Thing("d", None, 7))]))
    assert read == [
        {"name": ODD.name, "amount": "0.000000000001", "count": 0},
        {"name": "d", "amount": None, "count": 7},
    ]
    assert as_record(FIELDS, Thing("d", Decimal("1200.500")))["amount"] == "1200.5"
    assert as_record(FIELDS, Thing("d", Decimal("1200")))["amount"] == "1200"


def test_a_table_shows_what_looks_like_markup_as_it_is() -> None:
    assert "[red]a" in _drawn(as_table(COLUMNS, [ODD], width=80))


def test_a_column_without_anything_to_say_is_left_out() -> None:
    assert "count" not in _drawn(as_table(COLUMNS, [ODD], width=80))
    assert "count" in _drawn(as_table(COLUMNS, [ODD], width=80, total=Thing("total", None, 1)))


def test_a_column_that_does_not_fit_is_left_out() -> None:
    assert "detail" in _drawn(as_table(COLUMNS, [ODD], width=60))
    assert "detail" not in _drawn(as_table(COLUMNS, [ODD], width=59))

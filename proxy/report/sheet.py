"""One list of things, three ways: a table for a person, CSV and JSON for programs.

`Field`s are what programs get: their names stay, amounts are exact. `Column`s are what a person sees; those that say
nothing, or do not fit on the terminal, are left out.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec
from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Thing = TypeVar("Thing")
Cell = str | int | Decimal | bool | None


class Format(StrEnum):
    """How a list is said."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Field(Generic[Thing]):
    """A value of a thing, under a name that stays."""

    name: str
    of: Callable[[Thing], Cell]


@dataclass(frozen=True, slots=True)
class Column(Generic[Thing]):
    """How a thing is shown. `wanted`: only if this holds for any of them; `least_width`: only on so wide a terminal."""

    title: str
    show: Callable[[Thing], RenderableType]
    right: bool = False
    wanted: Callable[[Thing], object] | None = None
    least_width: int = 0


def as_csv(fields: Sequence[Field[Thing]], things: Sequence[Thing]) -> str:
    """A header and a line for each thing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields])
    writer.writerows([_plain(field.of(thing)) for field in fields] for thing in things)
    return out.getvalue()


def as_record(fields: Sequence[Field[Thing]], thing: Thing) -> dict[str, Cell]:
    """A thing for JSON. Amounts are texts, because JSON's numbers would round them."""
    return {field.name: _for_json(field.of(thing)) for field in fields}


def as_json(content: object) -> str:
    """Indented JSON with a line end."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def as_table(
    columns: Sequence[Column[Thing]],
    things: Sequence[Thing],
    *,
    width: int,
    title: str | None = None,
    total: Thing | None = None,
    framed: bool = True,
) -> Table:
    """A row for each thing, and one for their total under a line. Without its frame it takes less room."""
    everything = [*things, *([] if total is None else [total])]
    shown = [column for column in columns if width >= column.least_width and _is_wanted(column, everything)]
    table = Table(title=title, title_justify="left", box=HEAVY_HEAD if framed else SIMPLE_HEAD)
    for column in shown:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for number, thing in enumerate(things, start=1):
        table.add_row(
            *(_drawn(column.show(thing)) for column in shown), end_section=total is not None and number == len(things)
        )
    if total is not None:
        table.add_row(*(_drawn(column.show(total)) for column in shown), style="bold")
    return table


def exact(amount: Decimal) -> str:
    """Every digit, and no zeros behind them."""
    return f"{amount.normalize():f}"


def _is_wanted(column: Column[Thing], things: Sequence[Thing]) -> bool:
    return column.wanted is None or any(column.wanted(thing) for thing in things)


def _drawn(shown: RenderableType) -> RenderableType:
    """A text as it is: what a client has named may look like markup."""
    return Text(shown) if isinstance(shown, str) else shown


def _plain(value: Cell) -> str:
    if value is None:
        return ""
    return exact(value) if isinstance(value, Decimal) else str(value)


def _for_json(value: Cell) -> Cell:
    return exact(value) if isinstance(value, Decimal) else value

"""`standby report`: what was bought, what it cost and what was saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from proxy.domain.errors import ConfigFault
from proxy.domain.ids import TenantId
from proxy.report.account import Account, Dimension, Entry, Figures, Span, account
from proxy.report.periods import day_of, instant, midnight
from proxy.report.sheet import Column, Field, Format, as_csv, as_json, as_record, as_table
from proxy.report.view import View
from proxy.report.wording import DASH, dollars, minute, percent, places_for, timestamp

DEFAULT_BY = (Dimension.DAY, Dimension.MODEL)
DEFAULT_DAYS = 7
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `since` and `until` as a person has said them."""

    by: tuple[Dimension, ...] = DEFAULT_BY
    since: str | None = None
    until: str | None = None
    tenant: TenantId | None = None


async def report(view: View, question: Question, form: Format) -> int:
    """Say it. Raises `ConfigFault` for a span that cannot be meant, and `StoreFault`."""
    now = view.clock.now()
    span = _span(view, question, now)
    found = await account(view.reader, span, question.by, view.zone, now, question.tenant)
    fields = _fields(found.by)
    match form:
        case Format.CSV:
            view.write(as_csv(fields, found.entries))
        case Format.JSON:
            view.write(as_json(_whole(view, question, found, fields)))
        case Format.TABLE if found.entries:
            total = Entry((TOTAL, *("" for _ in found.by[1:])), found.total)
            columns = _columns(found.by, found.total)
            title = f"{_spoken(view, span)} ({view.zone})"
            view.console.print(as_table(columns, found.entries, width=view.console.width, title=title, total=total))
        case Format.TABLE:
            of = "" if question.tenant is None else f" for the tenant {question.tenant}"
            view.say(f"Nothing was bought{of} {_spoken(view, span)}.")
    return 0


def _span(view: View, question: Question, now: float) -> Span:
    since = midnight(day_of(now, view.zone) - timedelta(days=DEFAULT_DAYS - 1), view.zone)
    until = float("inf")
    try:
        if question.since is not None:
            since = instant(question.since, now, view.zone, ends=False)
        if question.until is not None:
            until = instant(question.until, now, view.zone, ends=True)
    except ValueError as error:
        raise ConfigFault(str(error)) from error
    if since >= until:
        raise ConfigFault(f"--since {question.since} is not before --until {question.until}")
    return Span(since, until)


def _spoken(view: View, span: Span) -> str:
    begins = minute(span.since, view.zone)
    return f"since {begins}" if span.until == float("inf") else f"from {begins} to {minute(span.until, view.zone)}"


def _whole(view: View, question: Question, found: Account, fields: Sequence[Field[Entry]]) -> dict[str, object]:
    total = as_record(fields[len(found.by) :], Entry((), found.total))
    return {
        "since": timestamp(found.span.since, view.zone),
        "until": None if found.span.until == float("inf") else timestamp(found.span.until, view.zone),
        "timezone": str(view.zone),
        "tenant": question.tenant,
        "by": [dimension.value for dimension in found.by],
        "rows": [as_record(fields, entry) for entry in found.entries],
        "total": total,
    }


def _fields(by: Sequence[Dimension]) -> list[Field[Entry]]:
    """What programs get: first the dimensions, then always the same."""
    figures = (
        *("requests", "list_usd", "paid_usd", "saved_usd", "saved_percent", "duplicates", "duplicates_usd"),
        *("failed", "failed_usd", "unpriced", "native", "native_usd", "deadlines_met", "deadlines_missed", "expired"),
        *("observed", "would_have_saved_usd"),
    )
    return [_word(number, dimension) for number, dimension in enumerate(by)] + [_figure(name) for name in figures]


def _word(number: int, dimension: Dimension) -> Field[Entry]:
    return Field(dimension.value, lambda entry: entry.key[number])


def _figure(name: str) -> Field[Entry]:
    attribute = name.removeprefix("deadlines_")
    return Field(name, lambda entry: getattr(entry.figures, attribute))


def _columns(by: Sequence[Dimension], total: Figures) -> list[Column[Entry]]:
    places = places_for(max(total.list_usd, total.paid_usd))
    dimensions = [_dimension(number, dimension) for number, dimension in enumerate(by)]
    return [
        *dimensions,
        Column("requests", lambda e: f"{e.figures.requests:,}", right=True),
        Column("list price", lambda e: dollars(e.figures.list_usd, places), right=True),
        Column("paid", lambda e: dollars(e.figures.paid_usd, places), right=True),
        Column("saved", lambda e: dollars(e.figures.saved_usd, places), right=True),
        Column("saved %", lambda e: percent(e.figures.saved_percent), right=True),
        Column(
            "would have saved",
            lambda e: dollars(e.figures.would_have_saved_usd, places) if e.figures.observed else DASH,
            right=True,
            wanted=lambda e: e.figures.observed,
        ),
        Column("deadlines met", lambda e: _deadlines(e.figures), right=True, wanted=lambda e: _judged(e.figures)),
        Column("expired", lambda e: f"{e.figures.expired:,}", right=True, wanted=lambda e: e.figures.expired),
        Column(
            "bought twice",
            lambda e: _counted(e.figures.duplicates, dollars(e.figures.duplicates_usd, places)),
            right=True,
            wanted=lambda e: e.figures.duplicates,
        ),
        Column(
            "failed",
            lambda e: _counted(e.figures.failed, dollars(e.figures.failed_usd, places)),
            right=True,
            wanted=lambda e: e.figures.failed,
        ),
        Column("unpriced", lambda e: f"{e.figures.unpriced:,}", right=True, wanted=lambda e: e.figures.unpriced),
        Column(
            "native",
            lambda e: _counted(e.figures.native, dollars(e.figures.native_usd, places)),
            right=True,
            wanted=lambda e: e.figures.native,
        ),
    ]


def _dimension(number: int, dimension: Dimension) -> Column[Entry]:
    return Column(dimension.value, lambda entry: entry.key[number])


def _judged(figures: Figures) -> int:
    return figures.met + figures.missed


def _deadlines(figures: Figures) -> str:
    judged = _judged(figures)
    return f"{figures.met:,} of {judged:,}" if judged else DASH


def _counted(count: int, amount: str) -> str:
    return f"{count:,} ({amount})" if count else DASH

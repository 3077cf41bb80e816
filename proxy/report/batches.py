"""`standby batches`: the jobs at providers, how far they are, and whether they will be in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.progress_bar import ProgressBar

from proxy.domain.batch import Batch
from proxy.domain.errors import StoreFault
from proxy.domain.ids import BatchId
from proxy.domain.request import Waiting
from proxy.report.forecast import expected_at
from proxy.report.sheet import Column, Field, Format, as_csv, as_json, as_record, as_table
from proxy.report.view import View
from proxy.report.wording import DASH, at, duration, timestamp

BAR_WIDTH = 16
LINES_SHOWN = 10
"""Of one batch, those with the tightest deadlines."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A batch at the instant `now`. `expected_at` is None where nothing can be said."""

    batch: Batch
    now: float
    expected_at: float | None

    @property
    def slack_seconds(self) -> float | None:
        """What is left until the tightest deadline; None for one that has ended."""
        return None if self.batch.ended_at is not None else self.batch.deadline_at - self.now

    @property
    def age_seconds(self) -> float:
        """How long it has run; before the provider has it, how long it has been planned."""
        begun_at = self.batch.created_at if self.batch.submitted_at is None else self.batch.submitted_at
        return (self.now if self.batch.ended_at is None else self.batch.ended_at) - begun_at


async def list_batches(view: View, closed: int, form: Format) -> int:
    """Say which are open, the oldest first, and so many of those that were closed last. Raises `StoreFault`."""
    batches = await view.reader.open_batches()
    if closed:
        batches += await view.reader.closed_batches(closed)
    found = await look_at(view, batches)
    match form:
        case Format.CSV:
            view.write(as_csv(_fields(view), found))
        case Format.JSON:
            view.write(as_json([as_record(_fields(view), shown) for shown in found]))
        case Format.TABLE if found:
            view.console.print(as_table(columns(view), found, width=view.console.width))
        case Format.TABLE:
            view.say("No batch is open." if not closed else "There are no batches.")
    return 0


async def show_batch(view: View, batch_id: BatchId, form: Format) -> int:
    """Say all about one, and which of its requests are still open. Raises `StoreFault`."""
    batch = await view.reader.batch(batch_id)
    if batch is None:
        raise StoreFault(f"the store has no batch {batch_id}, or not any more")
    (shown,) = await look_at(view, [batch])
    waiting = [one for one in (await view.reader.changes(None)).waiting if one.batch_id == batch_id]
    waiting.sort(key=lambda one: one.deadline_at)
    record = as_record(_fields(view), shown) | {"open_requests": len(waiting)}
    if form is not Format.TABLE:
        view.write(as_json(record))
        return 0
    for name, value in record.items():
        if value is not None:
            view.say(f"{name:18} {value}")
    view.console.print(ProgressBar(shown.batch.lines, _done(shown.batch), width=min(60, view.console.width)))
    if waiting:
        title = f"Its open requests, {min(len(waiting), LINES_SHOWN)} of {len(waiting)}"
        table = as_table(_waiting(view, shown.now), waiting[:LINES_SHOWN], width=view.console.width, title=title)
        view.console.print(table)
    return 0


async def look_at(view: View, batches: Sequence[Batch]) -> list[Shown]:
    """Each of them as it is now, with its forecast. Raises `StoreFault`."""
    expected: Mapping[BatchId, float] = await expected_at(view, batches)
    now = view.clock.now()
    return [Shown(batch, now, expected.get(batch.id)) for batch in batches]


def columns(view: View) -> Sequence[Column[Shown]]:
    """How batches are shown in a table."""
    return [
        Column("batch", lambda s: s.batch.id, least_width=100),
        Column("model", lambda s: s.batch.queue.model),
        Column("state", lambda s: s.batch.state.value),
        Column("provider", lambda s: s.batch.provider_status or DASH),
        Column("", lambda s: ProgressBar(max(1, s.batch.lines), _done(s.batch), width=BAR_WIDTH), least_width=80),
        Column("done", lambda s: f"{_done(s.batch):,}/{s.batch.lines:,}", right=True),
        Column("failed", lambda s: f"{s.batch.failed_lines:,}", right=True, wanted=lambda s: s.batch.failed_lines > 0),
        Column("age", lambda s: duration(s.age_seconds), right=True),
        Column(
            "expected by",
            lambda s: at(s.expected_at, view.zone, now=s.now),
            right=True,
            wanted=lambda s: s.expected_at is not None,
            least_width=120,
        ),
        Column("deadline", lambda s: at(s.batch.deadline_at, view.zone, now=s.now), right=True, least_width=110),
        Column("slack", lambda s: DASH if s.slack_seconds is None else duration(s.slack_seconds), right=True),
    ]


def _done(batch: Batch) -> int:
    return batch.completed_lines + batch.failed_lines


def _fields(view: View) -> Sequence[Field[Shown]]:
    return [
        Field("id", lambda s: s.batch.id),
        Field("upstream", lambda s: s.batch.queue.upstream),
        Field("endpoint", lambda s: s.batch.queue.endpoint),
        Field("model", lambda s: s.batch.queue.model),
        Field("state", lambda s: s.batch.state.value),
        Field("provider_id", lambda s: s.batch.provider_id),
        Field("provider_status", lambda s: s.batch.provider_status),
        Field("outcome", lambda s: None if s.batch.outcome is None else s.batch.outcome.value),
        Field("lines", lambda s: s.batch.lines),
        Field("completed_lines", lambda s: s.batch.completed_lines),
        Field("failed_lines", lambda s: s.batch.failed_lines),
        Field("created_at", lambda s: timestamp(s.batch.created_at, view.zone)),
        Field("submitted_at", lambda s: timestamp(s.batch.submitted_at, view.zone)),
        Field("cancel_requested_at", lambda s: timestamp(s.batch.cancel_requested_at, view.zone)),
        Field("ended_at", lambda s: timestamp(s.batch.ended_at, view.zone)),
        Field("age_seconds", lambda s: round(s.age_seconds)),
        Field("expected_at", lambda s: timestamp(s.expected_at, view.zone)),
        Field("deadline_at", lambda s: timestamp(s.batch.deadline_at, view.zone)),
        Field("slack_seconds", lambda s: None if s.slack_seconds is None else round(s.slack_seconds)),
    ]


def _waiting(view: View, now: float) -> Sequence[Column[Waiting]]:
    return [
        Column("request", lambda one: one.id),
        Column("stage", lambda one: one.stage.value),
        Column("deadline", lambda one: at(one.deadline_at, view.zone, now=now), right=True),
        Column("slack", lambda one: duration(one.deadline_at - now), right=True),
    ]

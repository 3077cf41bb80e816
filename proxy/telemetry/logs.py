"""One structured line per event, by one table. The only module that knows structlog.

A line carries ids, words, counts and amounts: never a body, a header or a key. What other modules say through
`logging` comes out of the same stream in the same shape; tracebacks are printed without the values of variables,
because a variable may hold a key.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from proxy.domain.change import PolicyChange
from proxy.domain.events import (
    AnyEvent,
    BatchCut,
    BatchFilesDeleted,
    BatchSettled,
    BatchSubmitted,
    BatchTierLost,
    CallFinished,
    ForecastSettled,
    LanesLost,
    LanesTaken,
    NativeBatchBooked,
    PolicyReloaded,
    RateLimited,
    ReloadRefused,
    RequestAccepted,
    RequestAttached,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
    RequestRejected,
    ShadowLimited,
    StepFailed,
    StoreWarned,
    UpstreamFailed,
    VirtualBatchMoved,
    WasteBooked,
    WebhookCalled,
)
from proxy.domain.money import LedgerRow

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["console", "json"]
Fields = dict[str, object]

LOGGER = "standby"


@dataclass(frozen=True, slots=True)
class _Line:
    """How an event is logged: `fields` are names of the event's own (of its row's, for waste), in printed order."""

    level: int
    name: str
    fields: tuple[str, ...]
    instant: str = "at"


_CALL = ("request_id", "tenant", "upstream", "model", "endpoint", "policy", "tier")
_PAIR = ("upstream", "model")

LINES: Mapping[type[AnyEvent], _Line] = {
    RequestDecided: _Line(logging.DEBUG, "request.decided", (*_CALL, "reason", "deadline_at")),
    RequestRejected: _Line(logging.INFO, "request.rejected", ("status", "code")),
    CallFinished: _Line(
        logging.DEBUG, "call.finished", (*_CALL, "status", "overhead_seconds", "first_chunk_seconds"), "finished_at"
    ),
    RequestAccepted: _Line(
        logging.DEBUG,
        "request.accepted",
        ("request_id", "tenant", "upstream", "model", "endpoint", "policy", "tier", "deadline_at", "best_effort"),
    ),
    RequestAttached: _Line(logging.INFO, "request.attached", ("request_id", "by")),
    RequestFinished: _Line(logging.DEBUG, "request.finished", (*_CALL, "outcome", "status", "deadline_at", "batch_id")),
    NativeBatchBooked: _Line(logging.INFO, "native_batch.booked", (*_CALL, "status"), "booked_at"),
    WasteBooked: _Line(logging.WARNING, "waste.booked", (*_CALL, "status", "batch_id"), "booked_at"),
    RequestEscalated: _Line(
        logging.INFO, "request.escalated", ("request_id", *_PAIR, "tier", "reason", "blind", "slack_seconds")
    ),
    BatchCut: _Line(logging.INFO, "batch.cut", ("batch_id", *_PAIR, "reason", "lines", "body_bytes")),
    BatchSubmitted: _Line(logging.INFO, "batch.submitted", ("batch_id", "provider_id", *_PAIR, "lines", "found")),
    BatchSettled: _Line(
        logging.INFO,
        "batch.settled",
        ("batch_id", *_PAIR, "outcome", "turnaround_seconds", "answered", "superseded", "refused", "missing"),
    ),
    ForecastSettled: _Line(logging.DEBUG, "forecast.settled", (*_PAIR, "tier", "quantile", "covered", "count")),
    StoreWarned: _Line(logging.WARNING, "store.warned", ("warning",)),
    LanesTaken: _Line(logging.INFO, "lanes.taken", ("lanes",)),
    LanesLost: _Line(logging.WARNING, "lanes.lost", ("lanes",)),
    BatchFilesDeleted: _Line(logging.DEBUG, "batch.files_deleted", ("batch_id", "files")),
    RateLimited: _Line(logging.WARNING, "upstream.rate_limited", (*_PAIR, "limit")),
    UpstreamFailed: _Line(logging.DEBUG, "upstream.failed", (*_PAIR, "kind")),
    ShadowLimited: _Line(logging.DEBUG, "shadow.rate_limited", (*_PAIR, "limit")),
    VirtualBatchMoved: _Line(
        logging.INFO,
        "virtual_batch.moved",
        ("batch_id", "tenant", "endpoint", "status", "total", "completed", "failed"),
    ),
    WebhookCalled: _Line(logging.INFO, "webhook.called", ("request_id", "host", "status", "error", "retry_at")),
    StepFailed: _Line(logging.WARNING, "step.failed", ("step", "upstream", "batch_id", "error", "retry_at")),
    BatchTierLost: _Line(logging.WARNING, "upstream.batch_tier_lost", ("upstream", "retry_at")),
    PolicyReloaded: _Line(logging.INFO, "policy.reloaded", ("file", "rules", "change")),
    ReloadRefused: _Line(logging.ERROR, "policy.refused", ("error",)),
}


class Logs:
    """Listens to every event and writes its line, unless its level is below the one that is wanted.

    Lines go through the standard library's logger `standby`: `configure` says where to and in which shape.
    """

    def __init__(self) -> None:
        self._standard = logging.getLogger(LOGGER)
        self._lines: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            self._standard,
            processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
        )

    def listen(self, event: AnyEvent) -> None:
        """Write the event's line."""
        line = LINES[type(event)]
        if self._standard.isEnabledFor(line.level):
            self._lines.log(line.level, line.name, **_fields(line, event))


def configure(level: Level, line_format: Format, stream: TextIO) -> None:
    """Send every log line of the process to `stream`, those of other libraries included."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _record_instant],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(line_format, colors=stream.isatty()),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _fields(line: _Line, event: AnyEvent) -> Fields:
    row = getattr(event, "row", None)
    subject = row if isinstance(event, WasteBooked | NativeBatchBooked) else event
    fields: Fields = {"timestamp": _instant(getattr(subject, line.instant))}
    for name in line.fields:
        value = getattr(subject, name)
        if value is not None:
            fields[name] = _shown(name, value)
    if isinstance(row, LedgerRow):
        fields |= _amounts(row)
    return fields


def _shown(name: str, value: object) -> object:
    if name.endswith("_at") and isinstance(value, float):
        return _instant(value)
    if isinstance(value, PolicyChange):
        return str(value)
    if name == "lanes" and isinstance(value, tuple):
        return [" ".join(lane) for lane in value]
    return value


def _amounts(row: LedgerRow) -> Fields:
    """What a purchase cost; an unknown amount has no field."""
    fields: Fields = {"kind": row.kind, "row_id": row.id}
    amounts: dict[str, Decimal | None] = {
        "paid_usd": row.paid_usd,
        "list_usd": row.list_usd,
        "saved_usd": row.saved_usd,
    }
    fields |= {name: format(amount, "f") for name, amount in amounts.items() if amount is not None}
    if row.usage is not None:
        fields |= {"input_tokens": row.usage.input_tokens, "output_tokens": row.usage.output_tokens}
    return fields


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _renderers(line_format: Format, *, colors: bool) -> list[Processor]:
    if line_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback  # the default one prints the values of variables
    return [structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, exception_formatter=plain)]


def _record_instant(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    record: logging.LogRecord = event_dict["_record"]
    return {"timestamp": _instant(record.created), **event_dict}

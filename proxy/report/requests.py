"""`standby requests`: what waits and what is done; and one request with everything that was bought for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from proxy.domain.errors import StoreFault
from proxy.domain.ids import RequestId, TenantId
from proxy.domain.money import LedgerRow
from proxy.domain.request import RequestState, RequestView
from proxy.report.sheet import Column, Field, Format, as_csv, as_json, as_record, as_table
from proxy.report.view import View
from proxy.report.wording import DASH, at, dollars, duration, timestamp
from proxy.wire.explanation import REASONS, decided_before, explain

PAGE = 500
"""Requests that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which requests: `model` is a glob, such as `gpt-4*`."""

    state: RequestState | None = None
    tenant: TenantId | None = None
    model: str | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """A request at the instant `now`."""

    request: RequestView
    now: float

    @property
    def status(self) -> str:
        """Where it is, or what has become of it."""
        return self.request.stage.value if self.request.state is RequestState.OPEN else self.request.state.value

    @property
    def slack_seconds(self) -> float | None:
        """What is, or was, left until the deadline; None for one that was taken back."""
        if self.request.state is RequestState.CANCELLED:
            return None
        ends_at = self.now if self.request.finished_at is None else self.request.finished_at
        return self.request.deadline_at - ends_at


async def list_requests(view: View, wish: Wish, form: Format) -> int:
    """Say which there are, the newest first. Raises `StoreFault`."""
    now = view.clock.now()
    found = [Shown(request, now) for request in await _find(view, wish)]
    match form:
        case Format.CSV:
            view.write(as_csv(_fields(view), found))
        case Format.JSON:
            view.write(as_json([as_record(_fields(view), shown) for shown in found]))
        case Format.TABLE if found:
            view.console.print(as_table(_columns(view), found, width=view.console.width))
        case Format.TABLE:
            view.say("There is no such request." if wish != Wish(limit=wish.limit) else "There are no requests.")
    return 0


async def show_request(view: View, request_id: RequestId, form: Format) -> int:
    """Say all about one, urgent ones included, of which there are only purchases. Raises `StoreFault`."""
    request = await view.reader.get(request_id)
    purchases = await view.reader.ledger_rows(request_id)
    if request is None and not purchases:
        raise StoreFault(f"the store has no request {request_id}, or not any more")
    shown = None if request is None else Shown(request, view.clock.now())
    if form is not Format.TABLE:
        record = {} if shown is None else as_record(_fields(view), shown)
        bought = [as_record(_purchase_fields(view), row) for row in purchases]
        view.write(as_json({"id": request_id, **record, "purchases": bought}))
        return 0
    if shown is not None:
        for name, value in as_record(_fields(view), shown).items():
            if value is not None:
                view.say(f"{name:16} {value}")
    if purchases:
        title = "Bought for it" if shown is not None else f"Bought for the urgent request {request_id}"
        columns = _purchase_columns(view)
        view.console.print(as_table(columns, purchases, width=view.console.width, title=title))
    else:
        view.say("Nothing was bought for it so far.")
    return 0


async def explain_request(view: View, request_id: RequestId) -> int:
    """Say why it got its tier, and what was bought for it. Raises `StoreFault`."""
    request = await view.reader.get(request_id)
    purchases = await view.reader.ledger_rows(request_id)
    if request is None and not purchases:
        raise StoreFault(f"the store has no request {request_id}, or not any more")
    if request is not None:
        for line in explain(decided_before(request)):
            view.say(line)
    for row in purchases:
        view.say(_purchase_line(row, view))
    return 0


def _purchase_line(row: LedgerRow, view: View) -> str:
    why = "" if row.reason is None else f", because {REASONS[row.reason]} ({row.reason})"
    observed = "" if row.observed_tier is None else f"; it would have waited at {row.observed_tier}"
    listed = "" if row.list_usd is None else f" of {dollars(row.list_usd)} at the standard price"
    paid = f"{dollars(row.paid_usd)}{listed}" if row.paid_usd is not None else "an unknown amount"
    return (
        f"bought {timestamp(row.booked_at, view.zone)} under rule {row.policy} at {row.tier} for {paid}{why}{observed}"
    )


async def _find(view: View, wish: Wish) -> list[RequestView]:
    found: list[RequestView] = []
    after: RequestId | None = None
    size = wish.limit if wish.model is None else PAGE
    while len(found) < wish.limit:
        page = await view.reader.list_requests(wish.tenant, after=after, limit=size, state=wish.state)
        found += (one for one in page if wish.model is None or fnmatchcase(one.queue.model, wish.model))
        if len(page) < size:
            break
        after = page[-1].id
    return found[: wish.limit]


def _fields(view: View) -> Sequence[Field[Shown]]:
    return [
        Field("id", lambda s: s.request.id),
        Field("tenant", lambda s: s.request.tenant),
        Field("upstream", lambda s: s.request.queue.upstream),
        Field("endpoint", lambda s: s.request.queue.endpoint),
        Field("model", lambda s: s.request.queue.model),
        Field("status", lambda s: s.status),
        Field("tier", lambda s: None if s.request.tier is None else s.request.tier.value),
        Field("accepted_at", lambda s: timestamp(s.request.accepted_at, view.zone)),
        Field("deadline_at", lambda s: timestamp(s.request.deadline_at, view.zone)),
        Field("finished_at", lambda s: timestamp(s.request.finished_at, view.zone)),
        Field("slack_seconds", lambda s: None if s.slack_seconds is None else round(s.slack_seconds)),
        Field("batch_id", lambda s: s.request.batch_id),
        Field("policy", lambda s: s.request.policy),
        Field("reason", lambda s: s.request.reason.value),
        Field("tries", lambda s: s.request.tries),
        Field("status_code", lambda s: s.request.status),
        Field("paid_usd", lambda s: s.request.paid_usd),
        Field("saved_usd", lambda s: s.request.saved_usd),
    ]


def _columns(view: View) -> Sequence[Column[Shown]]:
    return [
        Column("request", lambda s: s.request.id),
        Column("tenant", lambda s: s.request.tenant, least_width=140),
        Column("model", lambda s: s.request.queue.model),
        Column("status", lambda s: s.status),
        Column("tier", lambda s: s.request.tier.value if s.request.tier else DASH, least_width=90),
        Column("age", lambda s: duration(s.now - s.request.accepted_at), right=True, least_width=100),
        Column("deadline", lambda s: at(s.request.deadline_at, view.zone, now=s.now), right=True, least_width=120),
        Column("slack", lambda s: DASH if s.slack_seconds is None else duration(s.slack_seconds), right=True),
        Column("cost", lambda s: dollars(s.request.paid_usd), right=True, least_width=100),
        Column("reason", lambda s: s.request.reason.value, least_width=120),
        Column("policy", lambda s: s.request.policy, least_width=160),
        Column("batch", lambda s: s.request.batch_id or DASH, least_width=190),
    ]


def _purchase_fields(view: View) -> Sequence[Field[LedgerRow]]:
    return [
        Field("id", lambda row: row.id),
        Field("booked_at", lambda row: timestamp(row.booked_at, view.zone)),
        Field("tenant", lambda row: row.tenant),
        Field("upstream", lambda row: row.upstream),
        Field("model", lambda row: row.model),
        Field("tier", lambda row: row.tier.value),
        Field("kind", lambda row: row.kind.value),
        Field("reason", lambda row: None if row.reason is None else row.reason.value),
        Field("status_code", lambda row: row.status),
        Field("batch_id", lambda row: row.batch_id),
        Field("input_tokens", lambda row: None if row.usage is None else row.usage.input_tokens),
        Field("cached_tokens", lambda row: None if row.usage is None else row.usage.cached_tokens),
        Field("output_tokens", lambda row: None if row.usage is None else row.usage.output_tokens),
        Field("list_usd", lambda row: row.list_usd),
        Field("paid_usd", lambda row: row.paid_usd),
        Field("deadline_met", lambda row: row.met),
        Field("observed_tier", lambda row: None if row.observed_tier is None else row.observed_tier.value),
        Field("observed_usd", lambda row: row.observed_usd),
    ]


def _purchase_columns(view: View) -> Sequence[Column[LedgerRow]]:
    now = view.clock.now()
    return [
        Column("at", lambda row: at(row.booked_at, view.zone, now=now)),
        Column("tier", lambda row: row.tier.value),
        Column("kind", lambda row: row.kind.value),
        Column("status", lambda row: str(row.status), right=True),
        Column("tokens in", lambda row: DASH if row.usage is None else f"{row.usage.input_tokens:,}", right=True),
        Column("out", lambda row: DASH if row.usage is None else f"{row.usage.output_tokens:,}", right=True),
        Column("list price", lambda row: dollars(row.list_usd, 8), right=True, least_width=80),
        Column("paid", lambda row: dollars(row.paid_usd, 8), right=True),
        Column("batch", lambda row: row.batch_id or DASH, wanted=lambda row: row.batch_id, least_width=130),
    ]

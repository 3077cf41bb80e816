"""Every question to the shared store, as one function on a connection and its names."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptState, Line
from proxy.domain.batch import Batch
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, dollars
from proxy.domain.request import Queue, RequestState, RequestView, Waiting
from proxy.domain.tier import Tier
from proxy.store import redis_codec as codec
from proxy.store import redis_ledger
from proxy.store.interface import Changes, LedgerTotal
from proxy.store.redis_pipe import Pipe, Reply

PAGE = 500
"""Rows asked for at once."""
REQUEST, ATTEMPT, BATCH = "r", "t", "b"
"""The kinds of hashes, as they are in keys."""
_SEQUENCE_BITS = 24
"""A stream's `milliseconds-sequence` as one integer has so many bits for its second part."""


@dataclass(frozen=True, slots=True)
class Link:
    """A way to Redis, and what every key begins with: a hash tag, so that all keys are in one slot of a cluster."""

    pipe: Pipe
    space: str
    rows_sha: str

    def key(self, *words: str) -> str:
        """The name of a key; `lua/common.lua` has the list."""
        return ":".join((self.space, *words))

    def request(self, request_id: RequestId) -> str:
        """The key of a request's hash."""
        return self.key(REQUEST, request_id)

    async def ask(self, *command: object) -> Reply:
        """The reply to one command."""
        return await self.pipe.do(*command)

    async def ask_all(self, commands: Iterable[tuple[object, ...]]) -> list[Reply]:
        """The replies to many commands, which travel together."""
        return list(await asyncio.gather(*(self.pipe.do(*command) for command in commands)))

    async def rows(self, kind: str, ids: Sequence[str | bytes], fields: Sequence[str]) -> list[list[Reply]]:
        """The fields' values of many hashes of a kind; a hash that is not there has None for all of them."""
        pages = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
        begin = ("EVALSHA", self.rows_sha, 1, self.space, kind, len(fields), *fields)
        return list(chain.from_iterable(await self.ask_all((*begin, *page) for page in pages)))


async def get(link: Link, request_id: RequestId, tenant: TenantId | None = None) -> RequestView | None:
    """One request, of any tenant when `tenant` is None."""
    values = await link.ask("HMGET", link.request(request_id), *codec.VIEW)
    view = codec.view_of(request_id, values)
    return view if view is not None and (tenant is None or view.tenant == tenant) else None


async def find(link: Link, tenant: TenantId, endpoint: str, fingerprint: bytes) -> list[RequestView]:
    """Requests with this body that are not delivered, oldest first."""
    word = codec.undelivered_word(tenant, endpoint, fingerprint)
    return await _views(link, await link.ask("ZRANGE", link.key("undelivered", word), 0, -1))


async def list_requests(
    link: Link, tenant: TenantId | None, *, after: RequestId | None, limit: int, state: RequestState | None = None
) -> list[RequestView]:
    """A page, newest first."""
    index = link.key("of", tenant) if tenant is not None else link.key("in", state.value) if state else ""
    index = index or link.key("all")
    before = "+inf"
    if after is not None:
        place = await link.ask("HGET", link.request(after), "n")
        if place is None:
            return []
        before = f"({int(place)}"
    size = PAGE if tenant is not None and state is not None else min(limit, PAGE)
    found: list[RequestView] = []
    while len(found) < limit:
        page = await link.ask("ZRANGE", index, before, "-inf", "BYSCORE", "REV", "LIMIT", 0, size, "WITHSCORES")
        views = await _views(link, page[::2])
        found += (view for view in views if state is None or view.state is state)
        if len(page) < 2 * size:
            break
        before = f"({int(float(page[-1]))}"
    return found[:limit]


async def body(link: Link, request_id: RequestId) -> bytes | None:
    """What is bought for a request."""
    value: bytes | None = await link.ask("HGET", link.request(request_id), "body")
    return value


async def webhooks_due(link: Link, now: float, limit: int) -> list[RequestId]:
    """See `Store.webhooks_due`."""
    found = await link.ask("ZRANGE", link.key("webhooks"), "-inf", repr(now), "BYSCORE", "LIMIT", 0, limit)
    return [RequestId(request_id.decode()) for request_id in found]


async def result(link: Link, request_id: RequestId) -> Answer | None:
    """A request's final answer."""
    return codec.answer_of(await link.ask("HMGET", link.request(request_id), *codec.ANSWER))


async def changes(link: Link, after: int | None) -> Changes:
    """Open requests that have changed, and those that are open no more."""
    upto = _number_of(await last_change(link))
    if after is None or not await _is_kept(link, after, upto):
        open_ids = await link.ask("ZRANGE", link.key("in", "open"), 0, -1)
        waiting, _ = await _waiting(link, open_ids)
        return Changes(upto, whole=True, waiting=waiting, gone=[])
    if upto == after:
        return Changes(upto, whole=False, waiting=[], gone=[])
    entries = await link.ask("XRANGE", link.key("changes"), f"({_id_of(after)}", _id_of(upto))
    named = dict.fromkeys(fields[1] for _, fields in entries)
    waiting, gone = await _waiting(link, named)
    return Changes(upto, whole=False, waiting=waiting, gone=gone)


async def last_change(link: Link) -> str:
    """The newest entry of the stream of changes."""
    last = await link.ask("XREVRANGE", link.key("changes"), "+", "-", "COUNT", 1)
    return last[0][0].decode() if last else "0-0"


async def queues_of_batches(link: Link) -> list[Queue]:
    """The queues of all batches, closed ones included."""
    ids = [
        *await link.ask("ZRANGE", link.key("batches", "open"), 0, -1),
        *await link.ask("ZRANGE", link.key("batches", "closed"), 0, -1),
    ]
    texts = dict.fromkeys(text for (text,) in await link.rows(BATCH, ids, ["queue"]))
    return [codec.queue_of(text) for text in texts if text is not None]


async def batches_of(link: Link, ids: Sequence[bytes]) -> list[Batch]:
    """Batches by their ids; unknown ones are left out."""
    rows = await link.ask_all(("HGETALL", link.key(BATCH, name.decode())) for name in ids)
    return [codec.batch_of(BatchId(name.decode()), pairs(row)) for name, row in zip(ids, rows, strict=True) if row]


async def lines(
    link: Link, batch_id: BatchId, *, after: AttemptId | None, limit: int, bodies: bool = True
) -> list[Line]:
    """A page of a batch's live lines."""
    begin = "-" if after is None else f"({after}"
    ids = await link.ask("ZRANGE", link.key("lines", batch_id), begin, "+", "BYLEX", "LIMIT", 0, limit)
    attempts = await link.rows(ATTEMPT, ids, ["request", "state"])
    fields = ["f", "body"] if bodies else ["f"]
    rows = await link.rows(REQUEST, [request for request, _ in attempts], fields)
    return [
        codec.line_of(
            AttemptId(name.decode()),
            RequestId(request.decode()),
            AttemptState(state.decode()),
            row[0],
            row[1] if bodies else b"",
        )
        for name, (request, state), row in zip(ids, attempts, rows, strict=True)
    ]


async def live_calls(link: Link) -> list[tuple[Attempt, Waiting]]:
    """Live calls with their requests."""
    ids = await link.ask("ZRANGE", link.key("calls"), 0, -1)
    rows = await link.rows(ATTEMPT, ids, codec.ATTEMPT)
    attempts = [codec.attempt_of(AttemptId(name.decode()), row) for name, row in zip(ids, rows, strict=True) if row[0]]
    views = await link.rows(REQUEST, [attempt.request_id for attempt in attempts], codec.WAITING)
    return [
        (attempt, waiting)
        for attempt, view in zip(attempts, views, strict=True)
        if (waiting := codec.waiting_of(attempt.request_id, view, even_final=True)) is not None
    ]


async def ledger(link: Link, *, since: float, until: float, tenant: TenantId | None = None) -> list[LedgerTotal]:
    """Totals of a span of time: whole hours from their sums, parts of hours from their rows while those are kept."""
    sums: dict[redis_ledger.Group, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    first, last = redis_ledger.hour_of(since), "+inf" if math.isinf(until) else redis_ledger.hour_of(until)
    hours = [int(hour) for hour in await link.ask("ZRANGEBYSCORE", link.key("ledger", "hours"), first, last)]
    parts = [hour for hour in hours if hour * 3600 < since or (hour + 1) * 3600 > until]
    kept = await link.ask_all(("EXISTS", link.key("ledger", "hour", str(hour))) for hour in parts)
    split = [hour for hour, is_kept in zip(parts, kept, strict=True) if is_kept]
    whole = [hour for hour in hours if hour not in split and since <= hour * 3600 < until]
    for totals in await link.ask_all(("HGETALL", link.key("ledger", "totals", str(hour))) for hour in whole):
        for field, amount in pairs(totals).items():
            group, name = redis_ledger.total_field(field)
            sums[group][name] += int(amount)
    for hour in split:
        for row in await _rows_within(link, hour, since, until):
            for name, count in redis_ledger.sums_of(row).items():
                sums[redis_ledger.group_of(row)][name] += count
    return [_total_of(group, sums[group]) for group in sorted(sums) if tenant is None or group[0] == tenant]


async def ledger_begins_at(link: Link) -> float | None:
    """When the first hour began that has rows."""
    hours = await link.ask("ZRANGE", link.key("ledger", "hours"), 0, 0)
    return float(hours[0]) * 3600 if hours else None


async def ledger_rows(link: Link, request_id: RequestId) -> list[LedgerRow]:
    """Every purchase for one request."""
    values = await link.ask("HVALS", link.key("ledger", "rows", request_id))
    return [row for _, row in sorted((redis_ledger.ledger_of(value) for value in values), key=lambda pair: pair[0])]


async def notes(link: Link, prefix: str) -> dict[str, bytes]:
    """What was learned, by name."""
    found = {name.decode(): content for name, content in pairs(await link.ask("HGETALL", link.key("notes"))).items()}
    return {name: content for name, content in found.items() if name.startswith(prefix)}


async def _views(link: Link, ids: Iterable[bytes]) -> list[RequestView]:
    names = [RequestId(name.decode()) for name in ids]
    rows = await link.rows(REQUEST, names, codec.VIEW)
    views = (codec.view_of(name, row) for name, row in zip(names, rows, strict=True))
    return [view for view in views if view is not None]


async def _waiting(link: Link, ids: Iterable[bytes]) -> tuple[list[Waiting], list[RequestId]]:
    """Those that are open, and those that are not."""
    names = [RequestId(name.decode()) for name in ids]
    waiting: list[Waiting] = []
    gone: list[RequestId] = []
    for start in range(0, len(names), PAGE):  # page by page: the loop must not stand still for 50,000 of them
        page = names[start : start + PAGE]
        for name, row in zip(page, await link.rows(REQUEST, page, codec.WAITING), strict=True):
            found = codec.waiting_of(name, row)
            if found is None:
                gone.append(name)
            else:
                waiting.append(found)
    return waiting, gone


async def _rows_within(link: Link, hour: int, since: float, until: float) -> list[LedgerRow]:
    members = await link.ask("ZRANGEBYSCORE", link.key("ledger", "hour", str(hour)), repr(since), f"({until!r}")
    named = [member.decode().split(" ", 1) for member in members]
    values = await link.ask_all(("HGET", link.key("ledger", "rows", request), row) for request, row in named)
    return [redis_ledger.ledger_of(value)[1] for value in values if value is not None]


async def _is_kept(link: Link, after: int, upto: int) -> bool:
    """Whether every change behind `after` is still in the stream (and the stream is the same as before)."""
    if after >= upto:
        return after == upto
    first = await link.ask("XRANGE", link.key("changes"), "-", "+", "COUNT", 1)
    return bool(first) and _number_of(first[0][0].decode()) <= after


def pairs(flat: Reply) -> dict[bytes, bytes]:
    """Names and values that come in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _number_of(entry_id: str) -> int:
    milliseconds, _, sequence = entry_id.partition("-")
    return (int(milliseconds) << _SEQUENCE_BITS) | int(sequence)


def _id_of(number: int) -> str:
    return f"{number >> _SEQUENCE_BITS}-{number & ((1 << _SEQUENCE_BITS) - 1)}"


def _total_of(group: redis_ledger.Group, sums: dict[str, int]) -> LedgerTotal:
    tenant, upstream, model, tier, kind = group
    return LedgerTotal(
        tenant=TenantId(tenant),
        upstream=UpstreamName(upstream),
        model=model,
        tier=Tier(tier),
        kind=Purchase(kind),
        rows=sums["rows"],
        input_tokens=sums["input_tokens"],
        cached_tokens=sums["cached_tokens"],
        output_tokens=sums["output_tokens"],
        paid_usd=dollars(sums["paid"]),
        list_usd=dollars(sums["list"]),
        unknown_paid=sums["unknown_paid"],
        unknown_list=sums["unknown_list"],
        unpriced=sums["unpriced"],
        observed_rows=sums["observed_rows"],
        observed_usd=dollars(sums["observed"]),
        observed_list_usd=dollars(sums["observed_list"]),
        met=sums["met"],
        missed=sums["missed"],
    )

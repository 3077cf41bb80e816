"""The shared store: one Redis for any number of replicas.

Every change is one Lua script (`lua/`), so that it is atomic and its compare-and-set is Redis's. Every key begins with
the same hash tag, so that a cluster keeps all of them in one slot. How durable a change is when its call returns is
Redis's own setting: `appendfsync always` makes it survive a power cut; `start` looks, and `warnings` says what it saw.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, AttemptState, Line
from proxy.domain.batch import Batch
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, from_picodollars
from proxy.domain.moves import Applied, Conflict, Move, MoveResult
from proxy.domain.request import Lane, Queue, Request, RequestState, RequestView, Waiting
from proxy.domain.tier import Tier
from proxy.store import redis_codec as codec
from proxy.store import redis_moves
from proxy.store.interface import Accepted, Changes, Credential, Existing, LedgerTotal
from proxy.store.redis_pipe import Pipe, Reply, Script

SCHEMA_VERSION = 1
PAGE = 500
"""Rows asked for at once."""
WATCH_SECONDS = 2.0
"""How long one question for changes waits for an answer."""
_SCRIPTS = {
    name: Script.read(name) for name in ("accept", "apply", "attend", "book", "delivered", "lease", "release", "sweep")
}
_SEQUENCE_BITS = 24
"""A stream's `milliseconds-sequence` as one integer has so many bits for its second part."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how.

    - `url`: `redis://` or `rediss://`, with a password and a database where there are any.
    - `namespace`: what every key begins with; another one is another store.
    - `patience_seconds`: how long a lost Redis is tried again before a caller is told.
    - `reply_seconds`: the longest wait for one reply.
    - `ledger_days`: how long single ledger rows are kept; their totals by the hour stay.
    """

    url: str
    namespace: str = "standby"
    patience_seconds: float = 3.0
    reply_seconds: float = 5.0
    ledger_days: float = 90.0


class RedisStore:
    """`proxy.store.interface.Store` in Redis. `start` before use. One per process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.member = secrets.token_hex(8)
        self.warnings: list[str] = []
        self._settings = settings
        self._clock = clock
        self._space = "{" + settings.namespace + "}"
        self._client = Redis.from_url(
            settings.url,
            socket_timeout=settings.reply_seconds,
            socket_connect_timeout=settings.reply_seconds,
            socket_keepalive=True,
            protocol=2,
        )
        self._client.response_callbacks.clear()
        self._writes, self._reads = (
            Pipe(self._client, clock, list(_SCRIPTS.values()), settings.patience_seconds) for _ in range(2)
        )
        self._tokens: dict[Lane, str] = {}
        self._batches: tuple[bytes | None, list[Batch]] | None = None
        self._deployment = ""

    def __repr__(self) -> str:
        return f"<RedisStore {self._space} member={self.member}>"

    async def start(self) -> None:
        self._writes.start()
        self._reads.start()
        try:
            await self._check_server()
            await self._check_schema()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._reads.close()
        await self._writes.close()
        with self._clock.hold():
            await self._client.aclose()

    async def deployment(self) -> str:
        return self._deployment

    async def accept(self, request: Request) -> Accepted | Existing:
        queue = request.queue
        used = await self._script(
            "accept",
            request.id,
            request.tenant,
            queue.endpoint,
            request.fingerprint.hex(),
            request.idempotency_key or "",
            codec.lane_word(queue.lane),
            repr(request.accepted_at),
            codec.facts_of(request),
            request.body,
        )
        if not used:
            return Accepted()
        view = await self.get(RequestId(used.decode()))
        if view is None:
            raise StoreFault(f"the store has an idempotency key of {used.decode()}, and not the request")
        return Existing(view)

    async def get(self, request_id: RequestId, tenant: TenantId | None = None) -> RequestView | None:
        values = await self._reads.do("HMGET", self._request(request_id), *codec.VIEW)
        view = codec.view_of(request_id, values)
        return view if view is not None and (tenant is None or view.tenant == tenant) else None

    async def find(self, tenant: TenantId, endpoint: str, fingerprint: bytes) -> list[RequestView]:
        word = codec.undelivered_word(tenant, endpoint, fingerprint)
        return await self._views(await self._reads.do("ZRANGE", self._key("undelivered", word), 0, -1))

    async def list_requests(
        self, tenant: TenantId | None, *, after: RequestId | None, limit: int, state: RequestState | None = None
    ) -> list[RequestView]:
        index = self._key("of", tenant) if tenant is not None else self._key("in", state.value) if state else ""
        index = index or self._key("all")
        before = "+inf"
        if after is not None:
            place = await self._reads.do("HGET", self._request(after), "n")
            if place is None:
                return []
            before = f"({int(place)}"
        found: list[RequestView] = []
        while len(found) < limit:
            page = await self._reads.do(
                "ZRANGE", index, before, "-inf", "BYSCORE", "REV", "LIMIT", 0, PAGE, "WITHSCORES"
            )
            views = await self._views(page[::2])
            found += (view for view in views if state is None or view.state is state)
            if len(page) < 2 * PAGE:
                break
            before = f"({int(float(page[-1]))}"
        return found[:limit]

    async def body(self, request_id: RequestId) -> bytes | None:
        value: bytes | None = await self._reads.do("HGET", self._request(request_id), "body")
        return value

    async def result(self, request_id: RequestId) -> Answer | None:
        return codec.answer_of(await self._reads.do("HMGET", self._request(request_id), *codec.ANSWER))

    async def delivered(self, request_ids: Sequence[RequestId], at: float) -> None:
        for start in range(0, len(request_ids), PAGE):
            await self._script("delivered", repr(at), *request_ids[start : start + PAGE])

    async def apply(self, moves: Sequence[Move]) -> list[MoveResult]:
        fences = {codec.lane_word(lane): token for lane, token in self._tokens.items()}
        encoded, bodies = redis_moves.encode(moves, self._keep_seconds)
        words = await self._script("apply", encoded, redis_moves.encode_fences(fences), secrets.token_hex(8), *bodies)
        return [_result(word.decode()) for word in words]

    async def changes(self, after: int | None) -> Changes:
        upto = _number_of(await self._last_change())
        if after is None or not await self._is_kept(after, upto):
            open_ids = await self._reads.do("ZRANGE", self._key("in", "open"), 0, -1)
            waiting, _ = await self._waiting(open_ids)
            return Changes(upto, whole=True, waiting=waiting, gone=[])
        if upto == after:
            return Changes(upto, whole=False, waiting=[], gone=[])
        entries = await self._reads.do("XRANGE", self._key("changes"), f"({_id_of(after)}", _id_of(upto))
        named = dict.fromkeys(fields[1] for _, fields in entries)
        waiting, gone = await self._waiting(named)
        return Changes(upto, whole=False, waiting=waiting, gone=gone)

    async def open_batches(self) -> list[Batch]:
        version = await self._reads.do("GET", self._key("batches", "version"))
        if self._batches is None or self._batches[0] != version:
            ids = await self._reads.do("ZRANGE", self._key("batches", "open"), 0, -1)
            self._batches = version, await self._batches_of(ids)
        return list(self._batches[1])

    async def queues_of_batches(self) -> list[Queue]:
        ids = [
            *await self._reads.do("ZRANGE", self._key("batches", "open"), 0, -1),
            *await self._reads.do("ZRANGE", self._key("batches", "closed"), 0, -1),
        ]
        texts = await self._many(("HGET", self._batch(batch_id), "queue") for batch_id in ids)
        return [codec.queue_of(text) for text in dict.fromkeys(texts) if text is not None]

    async def batch(self, batch_id: BatchId) -> Batch | None:
        found = await self._batches_of([batch_id.encode()])
        return found[0] if found else None

    async def lines(self, batch_id: BatchId, *, after: AttemptId | None, limit: int, bodies: bool = True) -> list[Line]:
        begin = "-" if after is None else f"({after}"
        ids = await self._reads.do("ZRANGE", self._key("lines", batch_id), begin, "+", "BYLEX", "LIMIT", 0, limit)
        attempts = await self._many(("HMGET", self._attempt(name), "request", "state") for name in ids)
        fields = ("f", "body") if bodies else ("f",)
        rows = await self._many(("HMGET", self._request(request), *fields) for request, _ in attempts)
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

    async def live_calls(self) -> list[tuple[Attempt, Waiting]]:
        ids = await self._reads.do("ZRANGE", self._key("calls"), 0, -1)
        rows = await self._many(("HMGET", self._attempt(name), *codec.ATTEMPT) for name in ids)
        attempts = [
            codec.attempt_of(AttemptId(name.decode()), row) for name, row in zip(ids, rows, strict=True) if row[0]
        ]
        views = await self._many(("HMGET", self._request(a.request_id), *codec.WAITING) for a in attempts)
        return [
            (attempt, waiting)
            for attempt, view in zip(attempts, views, strict=True)
            if (waiting := codec.waiting_of(attempt.request_id, view, even_final=True)) is not None
        ]

    async def book(self, rows: Sequence[LedgerRow]) -> None:
        for start in range(0, len(rows), PAGE):
            await self._script("book", redis_moves.encode_rows(rows[start : start + PAGE], self._keep_seconds))

    async def ledger(self, *, since: float, until: float, tenant: TenantId | None = None) -> list[LedgerTotal]:
        sums: dict[codec.Group, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        first, last = codec.hour_of(since), codec.hour_of(until)
        hours = [int(hour) for hour in await self._reads.do("ZRANGEBYSCORE", self._key("ledger", "hours"), first, last)]
        whole = [hour for hour in hours if since <= hour * 3600 and (hour + 1) * 3600 <= until]
        for totals in await self._many(("HGETALL", self._key("ledger", "totals", str(hour))) for hour in whole):
            for field, amount in _pairs(totals).items():
                group, name = codec.total_field(field)
                sums[group][name] += int(amount)
        for hour in sorted(set(hours) - set(whole)):
            for row in await self._rows_within(hour, since, until):
                for name, count in codec.sums_of(row).items():
                    sums[codec.group_of(row)][name] += count
        return [_total_of(group, sums[group]) for group in sorted(sums) if tenant is None or group[0] == tenant]

    async def ledger_rows(self, request_id: RequestId) -> list[LedgerRow]:
        values = await self._reads.do("HVALS", self._key("ledger", "rows", request_id))
        return [row for _, row in sorted((codec.ledger_of(value) for value in values), key=lambda pair: pair[0])]

    async def save_credential(self, credential: Credential) -> None:
        await self._writes.do("SET", self._key("credential", credential.id), credential.sealed)

    async def credential(self, credential_id: CredentialId) -> Credential | None:
        sealed = await self._reads.do("GET", self._key("credential", credential_id))
        return None if sealed is None else Credential(credential_id, sealed)

    async def save_note(self, name: str, content: bytes) -> None:
        await self._writes.do("SET", self._key("note", name), content)

    async def note(self, name: str) -> bytes | None:
        content: bytes | None = await self._reads.do("GET", self._key("note", name))
        return content

    async def sweep(self, *, finished_before: float, limit: int) -> int:
        return int(await self._script("sweep", repr(finished_before), limit))

    async def lease(self, lanes: Sequence[Lane], seconds: float) -> set[Lane]:
        words = [codec.lane_word(lane) for lane in lanes]
        tokens = await self._script("lease", self.member, int(1000 * seconds), *words)
        for lane, token in zip(lanes, tokens, strict=True):
            if token:
                self._tokens[lane] = token.decode()
            else:
                self._tokens.pop(lane, None)
        return {lane for lane in lanes if lane in self._tokens}

    async def release(self, lanes: Sequence[Lane]) -> None:
        held = [(codec.lane_word(lane), token) for lane in lanes if (token := self._tokens.pop(lane, None))]
        if held:
            await self._script("release", *(word for pair in held for word in pair))

    async def attend(self, post: bytes, seconds: float) -> dict[str, bytes]:
        found = await self._script("attend", self.member, post, int(1000 * seconds))
        return {member.decode(): posted for member, posted in _pairs(found).items()}

    async def watch(self, finished: Callable[[RequestId | None], None], changed: Callable[[], None]) -> None:
        last = await self._last_change()
        while True:
            try:
                last = await self._watch_from(last, finished, changed)
            except (RedisError, OSError):
                await self._clock.sleep_until(self._clock.now() + WATCH_SECONDS / 2)
                finished(None)

    async def _watch_from(
        self, last: str, finished: Callable[[RequestId | None], None], changed: Callable[[], None]
    ) -> str:
        """One look at the stream. Not held: virtual time goes on while nobody changes anything."""
        command = ("XREAD", "COUNT", PAGE, "BLOCK", int(1000 * WATCH_SECONDS), "STREAMS", self._key("changes"), last)
        found = await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types here
        for _, entries in found or ():
            for entry_id, fields in entries:
                last = entry_id.decode()
                if fields[3] != b"open":
                    finished(RequestId(fields[1].decode()))
            changed()
        return last

    async def _last_change(self) -> str:
        last = await self._reads.do("XREVRANGE", self._key("changes"), "+", "-", "COUNT", 1)
        return last[0][0].decode() if last else "0-0"

    # Reading many rows

    async def _many(self, commands: Iterable[tuple[object, ...]]) -> list[Reply]:
        return list(await asyncio.gather(*(self._reads.do(*command) for command in commands)))

    async def _views(self, ids: Iterable[bytes]) -> list[RequestView]:
        names = [RequestId(name.decode()) for name in ids]
        rows = await self._many(("HMGET", self._request(name), *codec.VIEW) for name in names)
        views = (codec.view_of(name, row) for name, row in zip(names, rows, strict=True))
        return [view for view in views if view is not None]

    async def _waiting(self, ids: Iterable[bytes]) -> tuple[list[Waiting], list[RequestId]]:
        """Those that are open, and those that are not."""
        names = [RequestId(name.decode()) for name in ids]
        waiting: list[Waiting] = []
        gone: list[RequestId] = []
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            rows = await self._many(("HMGET", self._request(name), *codec.WAITING) for name in page)
            for name, row in zip(page, rows, strict=True):
                found = codec.waiting_of(name, row)
                if found is None:
                    gone.append(name)
                else:
                    waiting.append(found)
        return waiting, gone

    async def _batches_of(self, ids: Sequence[bytes]) -> list[Batch]:
        rows = await self._many(("HGETALL", self._batch(name)) for name in ids)
        return [codec.batch_of(BatchId(name.decode()), _pairs(row)) for name, row in zip(ids, rows, strict=True) if row]

    async def _rows_within(self, hour: int, since: float, until: float) -> list[LedgerRow]:
        members = await self._reads.do(
            "ZRANGEBYSCORE", self._key("ledger", "hour", str(hour)), repr(since), f"({until!r}"
        )
        named = [member.decode().split(" ", 1) for member in members]
        values = await self._many(("HGET", self._key("ledger", "rows", request), row) for request, row in named)
        return [codec.ledger_of(value)[1] for value in values if value is not None]

    async def _is_kept(self, after: int, upto: int) -> bool:
        """Whether every change behind `after` is still in the stream (and the stream is the same as before)."""
        if after >= upto:
            return after == upto
        first = await self._reads.do("XRANGE", self._key("changes"), "-", "+", "COUNT", 1)
        return bool(first) and _number_of(first[0][0].decode()) <= after

    # Starting

    async def _check_server(self) -> None:
        settings = await self._configured("maxmemory", "maxmemory-policy", "appendonly", "appendfsync")
        if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy") != "noeviction":
            raise StoreFault(
                "this Redis throws keys away when its memory is full (maxmemory-policy "
                f"{settings.get('maxmemory-policy')}): accepted requests would be lost; set it to noeviction"
            )
        if settings.get("appendonly") != "yes":
            self.warnings.append("Redis does not write an append-only file: a restart of it may lose accepted requests")
        elif settings.get("appendfsync") != "always":
            self.warnings.append("Redis appendfsync is not 'always': a power cut may lose the last second's requests")

    async def _configured(self, *names: str) -> dict[str, str]:
        """The server's own settings; empty where it does not tell them."""
        try:
            values = await self._reads.do("CONFIG", "GET", *names)
        except StoreFault as fault:
            if not isinstance(fault.__cause__, RedisError) or "unknown" not in str(fault).lower():
                raise
            self.warnings.append("this Redis does not tell how durable it is: see to appendfsync always yourself")
            return {"appendonly": "yes", "appendfsync": "always"}
        return {name.decode(): value.decode() for name, value in _pairs(values).items()}

    async def _check_schema(self) -> None:
        meta = self._key("meta")
        await self._writes.do("HSETNX", meta, "schema", SCHEMA_VERSION)
        await self._writes.do("HSETNX", meta, "deployment", secrets.token_hex(4))
        schema, deployment = await self._writes.do("HMGET", meta, "schema", "deployment")
        if int(schema) > SCHEMA_VERSION:
            raise StoreFault(f"this store was made by a newer Standby (schema {int(schema)}); upgrade this one")
        self._deployment = deployment.decode()

    # Names

    def _script(self, name: str, *args: object) -> Awaitable[Reply]:
        return self._writes.do("EVALSHA", _SCRIPTS[name].sha, 1, self._space, *args)

    def _key(self, *words: str) -> str:
        return ":".join((self._space, *words))

    def _request(self, request_id: str | bytes) -> str:
        return self._key("r", _text(request_id))

    def _attempt(self, attempt_id: str | bytes) -> str:
        return self._key("t", _text(attempt_id))

    def _batch(self, batch_id: str | bytes) -> str:
        return self._key("b", _text(batch_id))

    @property
    def _keep_seconds(self) -> int:
        return int(86_400 * self._settings.ledger_days)


def _text(word: str | bytes) -> str:
    return word.decode() if isinstance(word, bytes) else word


def _result(word: str) -> MoveResult:
    if not word:
        return Applied()
    return Conflict(None if word == "?" else word)


def _pairs(flat: Reply) -> dict[bytes, bytes]:
    """Names and values that come in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _number_of(entry_id: str) -> int:
    milliseconds, _, sequence = entry_id.partition("-")
    return (int(milliseconds) << _SEQUENCE_BITS) | int(sequence)


def _id_of(number: int) -> str:
    return f"{number >> _SEQUENCE_BITS}-{number & ((1 << _SEQUENCE_BITS) - 1)}"


def _total_of(group: codec.Group, sums: dict[str, int]) -> LedgerTotal:
    tenant, upstream, model, tier, kind = group
    paid, listed = from_picodollars(sums["paid"]), from_picodollars(sums["list"])
    if paid is None or listed is None:
        raise AssertionError("a sum is never null")
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
        paid_usd=paid,
        list_usd=listed,
        unknown_paid=sums["unknown_paid"],
        unknown_list=sums["unknown_list"],
    )

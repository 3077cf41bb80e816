"""The shared store: one Redis for any number of replicas.

Every change is one Lua script (`lua/`), so that it is atomic and its compare-and-set is Redis's. Every key begins with
the same hash tag, so that a cluster keeps all of them in one slot. How durable a change is when its call returns is
Redis's own setting: `appendfsync always` makes it survive a power cut; `start` looks, and `warnings` says what it saw.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError, ResponseError

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, Line
from proxy.domain.clock import Clock
from proxy.domain.errors import StoreFault
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId
from proxy.domain.money import LedgerRow
from proxy.domain.moves import Applied, Conflict, Move, MoveResult
from proxy.domain.request import Lane, Queue, Request, RequestState, RequestView, Waiting
from proxy.store import redis_codec as codec
from proxy.store import redis_moves, redis_reads
from proxy.store.codec import grounds_json
from proxy.store.interface import Accepted, Credential, Existing, Heard, Word
from proxy.store.redis_pipe import Pipe, Reply, Script
from proxy.store.redis_reader import SCHEMA_VERSION, RedisReader, check_schema
from proxy.store.redis_reads import PAGE, pairs
from proxy.store.redis_shelf import RedisShelf

RETURNED = "returned"
"""What the stream of changes says in place of a state when a client has come back."""
REPLY_SECONDS = 5.0
WATCH_SECONDS = 2.0
"""How long one question for changes waits for an answer."""
SCRIPTS = (
    *("accept", "apply", "attend", "book", "delivered", "lease", "put_document", "release", "remove_document"),
    "sweep",
)
_SCRIPTS = {name: Script.read(name) for name in SCRIPTS}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how.

    - `url`: `redis://` or `rediss://`, with a password and a database where there are any.
    - `namespace`: what every key begins with; another one is another store.
    - `patience_seconds`: how long a lost Redis is tried again before a caller is told.
    - `reply_seconds`: the longest wait for one reply.
    - `ledger_days`: how long single ledger rows are kept; their totals by the hour stay.
    - `shared`: other processes may use it too. Without them nothing is leased and nothing is watched: for simulations.
    """

    url: str
    namespace: str = "standby"
    patience_seconds: float = 3.0
    reply_seconds: float = REPLY_SECONDS
    ledger_days: float = 90.0
    shared: bool = True


class RedisStore(RedisReader):
    """`proxy.store.interface.Store` in Redis. `start` before use. One per process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(
            settings.url,
            clock,
            namespace=settings.namespace,
            patience_seconds=settings.patience_seconds,
            reply_seconds=settings.reply_seconds,
        )
        self.shared = settings.shared
        self.member = secrets.token_hex(8)
        self.warnings: Sequence[str] = ()
        self._settings = settings
        self._writes = Pipe(self._client, clock, list(_SCRIPTS.values()), settings.patience_seconds)
        self.shelf = RedisShelf(self._link, self._script, self._writes.do)
        self._tokens: dict[Lane, str] = {}
        self._deployment = ""

    def __repr__(self) -> str:
        return f"<RedisStore {self._link.space} member={self.member}>"

    async def start(self) -> None:
        self._writes.start()
        self._link.pipe.start()
        try:
            await self._check_server()
            await self._check_schema()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._writes.close()
        await super().close()

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
            request.webhook or "",
            "" if request.retention_seconds is None else repr(request.retention_seconds),
            grounds_json(request.grounds) or "",
            request.body,
        )
        if not used:
            return Accepted()
        view = await self.get(RequestId(used.decode()))
        if view is None:
            raise StoreFault(f"the store has an idempotency key of {used.decode()}, and not the request")
        return Existing(view)

    async def find(self, tenant: TenantId, endpoint: str, fingerprint: bytes) -> list[RequestView]:
        return await redis_reads.find(self._link, tenant, endpoint, fingerprint)

    async def body(self, request_id: RequestId) -> bytes | None:
        return await redis_reads.body(self._link, request_id)

    async def result(self, request_id: RequestId) -> Answer | None:
        return await redis_reads.result(self._link, request_id)

    async def delivered(self, request_ids: Sequence[RequestId], at: float) -> None:
        for start in range(0, len(request_ids), PAGE):
            await self._script("delivered", repr(at), *request_ids[start : start + PAGE])

    async def webhooks_due(self, now: float, limit: int) -> list[RequestId]:
        return await redis_reads.webhooks_due(self._link, now, limit)

    async def webhook_again(self, request_id: RequestId, at: float | None) -> None:
        due = self._link.key("webhooks")
        if at is None:
            await self._writes.do("ZREM", due, request_id)
        else:
            await self._writes.do("ZADD", due, "XX", repr(at), request_id)

    async def apply(self, moves: Sequence[Move]) -> list[MoveResult]:
        fences = {codec.lane_word(lane): token for lane, token in self._tokens.items()}
        encoded, bodies = redis_moves.encode(moves, self._keep_seconds)
        words = await self._script("apply", encoded, redis_moves.encode_fences(fences), secrets.token_hex(8), *bodies)
        return [_result(word.decode()) for word in words]

    async def queues_of_batches(self) -> list[Queue]:
        return await redis_reads.queues_of_batches(self._link)

    async def lines(self, batch_id: BatchId, *, after: AttemptId | None, limit: int, bodies: bool = True) -> list[Line]:
        return await redis_reads.lines(self._link, batch_id, after=after, limit=limit, bodies=bodies)

    async def live_calls(self) -> list[tuple[Attempt, Waiting]]:
        return await redis_reads.live_calls(self._link)

    async def book(self, rows: Sequence[LedgerRow]) -> None:
        for start in range(0, len(rows), PAGE):
            await self._script("book", redis_moves.encode_rows(rows[start : start + PAGE], self._keep_seconds))

    async def save_credential(self, credential: Credential) -> None:
        await self._writes.do("SET", self._link.key("credential", credential.id), credential.sealed)

    async def credential(self, credential_id: CredentialId) -> Credential | None:
        sealed = await self._link.ask("GET", self._link.key("credential", credential_id))
        return None if sealed is None else Credential(credential_id, sealed)

    async def save_note(self, name: str, content: bytes) -> None:
        await self._writes.do("HSET", self._link.key("notes"), name, content)

    async def sweep(self, *, now: float, retention_seconds: float, limit: int) -> int:
        return int(await self._script("sweep", repr(now - retention_seconds), repr(now), limit))

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
        return {member.decode(): posted for member, posted in pairs(found).items()}

    async def returned(self, request_id: RequestId) -> None:
        if self.shared:
            await self._writes.do("XADD", self._link.key("changes"), "*", "r", request_id, "s", RETURNED)

    async def watch(self, heard: Callable[[Heard], None]) -> None:
        last: str | None = None
        while self.shared:
            try:
                last = await self._watch_from(last or await redis_reads.last_change(self._link), heard)
            except (StoreFault, RedisError, OSError):
                await self._clock.sleep_until(self._clock.now() + WATCH_SECONDS / 2)
                for word in Word:
                    heard(Heard(word, None))

    async def _watch_from(self, last: str, heard: Callable[[Heard], None]) -> str:
        """One look at the stream. Not held: virtual time goes on while nobody changes anything."""
        milliseconds = int(1000 * WATCH_SECONDS)
        command = ("XREAD", "COUNT", PAGE, "BLOCK", milliseconds, "STREAMS", self._link.key("changes"), last)
        found = await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types here
        for _, entries in found or ():
            for entry_id, fields in entries:
                last = entry_id.decode()
                heard(Heard(_word_of(fields[3].decode()), RequestId(fields[1].decode())))
        return last

    async def _check_server(self) -> None:
        """Refuse a server that would throw requests away, and find out how durable it is."""
        settings = await self._configured("maxmemory", "maxmemory-policy", "appendonly", "appendfsync")
        if settings is None:
            self.warnings = ("This Redis does not tell how durable it is: see to `appendfsync always` yourself.",)
            return
        if settings["maxmemory"] != "0" and settings["maxmemory-policy"] != "noeviction":
            raise StoreFault(
                "this Redis throws keys away when its memory is full, and accepted requests with them: set its "
                f"maxmemory-policy, which is {settings['maxmemory-policy']}, to noeviction"
            )
        if settings["appendonly"] != "yes":
            self.warnings = ("Redis writes no append-only file: when it restarts, accepted requests may be lost.",)
        elif settings["appendfsync"] != "always":
            self.warnings = ("Redis has no `appendfsync always`: a power cut may lose requests of the last second.",)

    async def _configured(self, *names: str) -> dict[str, str] | None:
        """The server's own settings; None where it does not tell them, as managed ones often do."""
        try:
            values = await self._link.ask("CONFIG", "GET", *names)
        except StoreFault as fault:
            if isinstance(fault.__cause__, ResponseError):
                return None
            raise
        return {name.decode(): value.decode() for name, value in pairs(values).items()}

    async def _check_schema(self) -> None:
        meta = self._link.key("meta")
        await self._writes.do("HSETNX", meta, "schema", SCHEMA_VERSION)
        await self._writes.do("HSETNX", meta, "deployment", secrets.token_hex(4))
        schema, deployment = await self._writes.do("HMGET", meta, "schema", "deployment")
        check_schema(schema, self._namespace)
        self._deployment = deployment.decode()

    def _script(self, name: str, *args: object) -> Awaitable[Reply]:
        return self._writes.do("EVALSHA", _SCRIPTS[name].sha, 1, self._link.space, *args)

    @property
    def _keep_seconds(self) -> int:
        return int(86_400 * self._settings.ledger_days)


def _result(word: str) -> MoveResult:
    if not word:
        return Applied()
    return Conflict(None if word == "?" else word)


def _word_of(state: str) -> Word:
    if state == RETURNED:
        return Word.RETURNED
    return Word.CHANGED if state == RequestState.OPEN else Word.FINISHED

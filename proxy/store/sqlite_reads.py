"""Every question to the embedded store, as one function on a connection."""

import sqlite3

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, Line
from proxy.domain.batch import Batch
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase, dollars
from proxy.domain.request import Queue, RequestState, RequestView, Waiting
from proxy.domain.tier import Tier
from proxy.store import codec
from proxy.store.interface import Changes, Credential, LedgerTotal

_MET = f"(deadline_at IS NOT NULL AND booked_at <= deadline_at AND kind <> '{Purchase.EXPIRED}')"
_OPEN_REQUEST = f"SELECT {codec.WAITING} FROM requests WHERE n = ? AND state = 'open'"


def deployment(db: sqlite3.Connection) -> str:
    """This store's own word."""
    word: str = db.execute("SELECT value FROM meta WHERE name = 'deployment'").fetchone()["value"]
    return word


def get(db: sqlite3.Connection, request_id: RequestId, tenant: TenantId | None) -> RequestView | None:
    """One request, of any tenant when `tenant` is None."""
    row = db.execute(
        f"SELECT {codec.VIEW} FROM requests WHERE id = ? AND (? IS NULL OR tenant = ?)", (request_id, tenant, tenant)
    ).fetchone()
    return None if row is None else codec.view_of(row)


def by_key(db: sqlite3.Connection, tenant: TenantId, key: str) -> RequestView | None:
    """The request that used an idempotency key."""
    row = db.execute(
        f"SELECT {codec.VIEW} FROM requests WHERE tenant = ? AND idempotency_key = ?", (tenant, key)
    ).fetchone()
    return None if row is None else codec.view_of(row)


def find(db: sqlite3.Connection, tenant: TenantId, endpoint: str, fingerprint: bytes) -> list[RequestView]:
    """Requests with this body that are not delivered, oldest first."""
    rows = db.execute(
        f"SELECT {codec.VIEW} FROM requests WHERE tenant = ? AND fingerprint = ? AND delivered_at IS NULL "
        "AND endpoint = ? ORDER BY n",
        (tenant, fingerprint, endpoint),
    )
    return [codec.view_of(row) for row in rows]


def list_requests(
    db: sqlite3.Connection,
    tenant: TenantId | None,
    after: RequestId | None,
    limit: int,
    state: RequestState | None,
) -> list[RequestView]:
    """A page, newest first."""
    rows = db.execute(
        f"SELECT {codec.VIEW} FROM requests WHERE (:tenant IS NULL OR tenant = :tenant) "
        "AND (:after IS NULL OR n < (SELECT n FROM requests WHERE id = :after)) "
        "AND (:state IS NULL OR state = :state) ORDER BY n DESC LIMIT :limit",
        {"tenant": tenant, "after": after, "state": None if state is None else state.value, "limit": limit},
    )
    return [codec.view_of(row) for row in rows]


def body(db: sqlite3.Connection, request_id: RequestId) -> bytes | None:
    """What is bought for a request."""
    row = db.execute("SELECT body FROM requests WHERE id = ?", (request_id,)).fetchone()
    return None if row is None else bytes(row["body"])


def webhooks_due(db: sqlite3.Connection, now: float, limit: int) -> list[RequestId]:
    """See `Store.webhooks_due`."""
    rows = db.execute(
        "SELECT id FROM requests WHERE webhook_at <= ? AND finished_at IS NOT NULL ORDER BY webhook_at LIMIT ?",
        (now, limit),
    )
    return [RequestId(row["id"]) for row in rows]


def result(db: sqlite3.Connection, request_id: RequestId) -> Answer | None:
    """A request's final answer."""
    row = db.execute(
        "SELECT status, tier, answer_headers, answer_body FROM requests WHERE id = ?", (request_id,)
    ).fetchone()
    return None if row is None else codec.answer_of(row)


def changes(db: sqlite3.Connection, after: int | None) -> Changes:
    """Open requests that have changed, and those that are open no more."""
    (first,) = db.execute("SELECT min(n) FROM changes").fetchone()
    (last,) = db.execute("SELECT max(n) FROM changes").fetchone()  # two statements: for one, SQLite reads them all
    upto = last or 0
    if after is None or (first is not None and after < first - 1):
        rows = db.execute(f"SELECT {codec.WAITING} FROM requests WHERE state = 'open'")
        return Changes(upto, whole=True, waiting=[codec.waiting_of(row) for row in rows], gone=[])
    named = db.execute(
        "SELECT DISTINCT request_n, request_id FROM changes WHERE n > ? AND n <= ?", (after, upto)
    ).fetchall()
    waiting: list[Waiting] = []
    gone: list[RequestId] = []
    for request_n, request_id in named:
        row = db.execute(_OPEN_REQUEST, (request_n,)).fetchone()
        if row is None:
            gone.append(RequestId(request_id))
        else:
            waiting.append(codec.waiting_of(row))
    return Changes(upto, whole=False, waiting=waiting, gone=gone)


def open_batches(db: sqlite3.Connection) -> list[Batch]:
    """Batches that are not closed."""
    rows = db.execute(f"SELECT {codec.BATCH} FROM batches WHERE closed_at IS NULL ORDER BY n")
    return [codec.batch_of(row) for row in rows]


def closed_batches(db: sqlite3.Connection, limit: int) -> list[Batch]:
    """Batches that are closed, the last one first."""
    rows = db.execute(
        f"SELECT {codec.BATCH} FROM batches WHERE closed_at IS NOT NULL ORDER BY closed_at DESC, id DESC LIMIT ?",
        (limit,),
    )
    return [codec.batch_of(row) for row in rows]


def queues_of_batches(db: sqlite3.Connection) -> list[Queue]:
    """The queues of all batches, closed ones included."""
    rows = db.execute("SELECT DISTINCT upstream, credential, endpoint, model FROM batches")
    return [codec.queue_of(row) for row in rows]


def batch(db: sqlite3.Connection, batch_id: BatchId) -> Batch | None:
    """One batch."""
    row = db.execute(f"SELECT {codec.BATCH} FROM batches WHERE id = ?", (batch_id,)).fetchone()
    return None if row is None else codec.batch_of(row)


def lines(db: sqlite3.Connection, batch_id: BatchId, after: AttemptId | None, limit: int, bodies: bool) -> list[Line]:  # noqa: FBT001  called by position through the reader thread
    """A page of a batch's live lines."""
    rows = db.execute(
        "SELECT a.id AS attempt_id, a.state AS attempt_state, r.id AS request_id, r.tenant AS tenant, "
        "r.policy AS policy, r.accepted_at AS accepted_at, r.deadline_at AS deadline_at, r.reason AS reason, "
        f"{'r.body' if bodies else 'zeroblob(0)'} AS body "
        "FROM attempts AS a JOIN requests AS r ON r.n = a.request_n "
        "WHERE a.batch_id = ? AND a.state IN ('written', 'sent') AND a.id > ? ORDER BY a.id LIMIT ?",
        (batch_id, after or "", limit),
    )
    return [codec.line_of(row) for row in rows]


def live_calls(db: sqlite3.Connection) -> list[tuple[Attempt, Waiting]]:
    """Live calls with their requests."""
    rows = db.execute(
        f"SELECT r.*, a.id AS attempt_id, a.kind AS attempt_kind, a.tier AS attempt_tier, "
        "a.batch_id AS attempt_batch_id, a.created_at AS attempt_created_at "
        f"FROM attempts AS a JOIN (SELECT n, {codec.WAITING} FROM requests) AS r ON r.n = a.request_n "
        "WHERE a.kind = 'call' AND a.state IN ('written', 'sent') ORDER BY a.n"
    )
    return [(codec.attempt_of(row), codec.waiting_of(row)) for row in rows]


def ledger(db: sqlite3.Connection, since: float, until: float, tenant: TenantId | None) -> list[LedgerTotal]:
    """Totals of a span of time."""
    rows = db.execute(
        "SELECT tenant, upstream, model, tier, kind, count(*) AS count, "
        "coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(cached_tokens), 0) AS cached_tokens, "
        "coalesce(sum(output_tokens), 0) AS output_tokens, coalesce(sum(paid), 0) AS paid, "
        "coalesce(sum(iif(paid IS NULL, 0, list)), 0) AS list, sum(paid IS NULL) AS unknown_paid, "
        "sum(list IS NULL) AS unknown_list, sum(paid IS NULL OR list IS NULL) AS unpriced, "
        "count(observed_tier) AS observed_rows, coalesce(sum(iif(list IS NULL, 0, observed)), 0) AS observed, "
        "coalesce(sum(iif(observed IS NULL, 0, list)), 0) AS observed_list, "
        f"sum({_MET}) AS met, count(deadline_at) - sum({_MET}) AS missed "
        "FROM ledger WHERE booked_at >= :since AND booked_at < :until AND (:tenant IS NULL OR tenant = :tenant) "
        "GROUP BY tenant, upstream, model, tier, kind ORDER BY tenant, upstream, model, tier, kind",
        {"since": since, "until": until, "tenant": tenant},
    )
    return [_total_of(row) for row in rows]


def ledger_begins_at(db: sqlite3.Connection) -> float | None:
    """When the first row was booked."""
    at: float | None = db.execute("SELECT min(booked_at) FROM ledger").fetchone()[0]
    return at


def _total_of(row: sqlite3.Row) -> LedgerTotal:
    return LedgerTotal(
        tenant=TenantId(row["tenant"]),
        upstream=UpstreamName(row["upstream"]),
        model=row["model"],
        tier=Tier(row["tier"]),
        kind=Purchase(row["kind"]),
        rows=row["count"],
        input_tokens=row["input_tokens"],
        cached_tokens=row["cached_tokens"],
        output_tokens=row["output_tokens"],
        paid_usd=dollars(row["paid"]),
        list_usd=dollars(row["list"]),
        unknown_paid=row["unknown_paid"],
        unknown_list=row["unknown_list"],
        unpriced=row["unpriced"],
        observed_rows=row["observed_rows"],
        observed_usd=dollars(row["observed"]),
        observed_list_usd=dollars(row["observed_list"]),
        met=row["met"],
        missed=row["missed"],
    )


def ledger_rows(db: sqlite3.Connection, request_id: RequestId) -> list[LedgerRow]:
    """Every purchase for one request."""
    rows = db.execute(f"SELECT {codec.LEDGER} FROM ledger WHERE request_id = ? ORDER BY n", (request_id,))
    return [codec.ledger_of(row) for row in rows]


def credential(db: sqlite3.Connection, credential_id: CredentialId) -> Credential | None:
    """A sealed credential."""
    row = db.execute("SELECT id, sealed FROM credentials WHERE id = ?", (credential_id,)).fetchone()
    return None if row is None else Credential(CredentialId(row["id"]), bytes(row["sealed"]))


def notes(db: sqlite3.Connection, prefix: str) -> dict[str, bytes]:
    """What was learned, by name."""
    rows = db.execute("SELECT name, content FROM notes WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
    return {row["name"]: bytes(row["content"]) for row in rows}

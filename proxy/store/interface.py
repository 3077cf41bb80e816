"""The store contract: what is durable, and what each method promises.

- A method that changes something returns only when the change would survive a power cut, or raises `StoreFault` and
  has changed nothing.
- Every instant is passed in; a store never reads a clock. Every id is made above it.
- Behind a network it may stay unknown whether a change was made: then, too, a `StoreFault` is raised, and repeating the
  same change is safe: an accepted request is not accepted twice, and a move that was made is a `Conflict`.
- A change is atomic. Each move of one `apply` call is a transaction of its own kind: applied whole or a `Conflict`,
  independently of the others, in the order given.
- Reads see every change that was returned before they were asked.
- A tenant argument is a wall: rows of another tenant do not exist for that call.

`tests/store/test_contract.py` is the same text as a test suite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from proxy.domain.answer import Answer
from proxy.domain.attempt import Attempt, Line
from proxy.domain.batch import Batch
from proxy.domain.ids import AttemptId, BatchId, CredentialId, RequestId, TenantId, UpstreamName
from proxy.domain.money import LedgerRow, Purchase
from proxy.domain.moves import Move, MoveResult
from proxy.domain.request import Lane, Queue, Request, RequestState, RequestView, Waiting
from proxy.domain.tier import Tier
from proxy.store.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request is on disk and open."""


@dataclass(frozen=True, slots=True)
class Existing:
    """The tenant has used this idempotency key before; `view` is that request, which may have another fingerprint."""

    view: RequestView


@dataclass(frozen=True, slots=True)
class Credential:
    """What buys for a queue. `sealed` is encrypted by the caller; the store never sees a key in the clear."""

    id: CredentialId
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """Requests that have changed, as they are now: `waiting` are open, `gone` are final or deleted.

    `whole`: these are all that are open; a copy made before is to be forgotten. `upto` is what to ask with next.
    """

    upto: int
    whole: bool
    waiting: list[Waiting]
    gone: list[RequestId]


@dataclass(frozen=True, slots=True)
class LedgerTotal:
    """Ledger rows summed by what distinguishes them.

    `paid_usd` is over the rows for which it is known what was paid; `list_usd` over those for which the list price is
    known as well, so that no saving is claimed for what may have cost anything. `unknown_paid` and `unknown_list` count
    the rows without the one and the other, `unpriced` those without either of them. `observed_rows` are
    those for which waiting was only observed; `observed_list_usd` is the list price of those of them for which both
    prices are known, `observed_usd` what they would have cost: the difference is what would have been saved. `met` and
    `missed` count the deadlines of the requests that these rows settle.
    """

    tenant: TenantId
    upstream: UpstreamName
    model: str
    tier: Tier
    kind: Purchase
    rows: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    paid_usd: Decimal
    list_usd: Decimal
    unknown_paid: int
    unknown_list: int
    observed_rows: int = 0
    observed_usd: Decimal = Decimal(0)
    observed_list_usd: Decimal = Decimal(0)
    unpriced: int = 0
    met: int = 0
    missed: int = 0


class Word(StrEnum):
    """What is heard of a request."""

    FINISHED = "finished"
    """It has its final state."""
    RETURNED = "returned"
    """A client has come back for it, to whatever process."""
    CHANGED = "changed"
    """It waits, and something about that is different."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something has happened in some process. `request_id` None: words may have been missed, about any request."""

    word: Word
    request_id: RequestId | None


class Reader(Protocol):
    """What can be asked without changing anything: of a store that is running, or beside whoever runs one.

    `start` of a mere reader neither makes nor changes nor locks what it opens, and raises `StoreFault` where there is
    no store, or one of another version.
    """

    async def start(self) -> None:
        """Open for use. Raises `StoreFault` when the store cannot be used, or is in use by another process."""

    async def close(self) -> None:
        """Finish what was asked, then close. Idempotent."""

    async def get(self, request_id: RequestId, tenant: TenantId | None = None) -> RequestView | None:
        """One request. None when it is unknown, swept, or of another tenant."""

    async def list_requests(
        self, tenant: TenantId | None, *, after: RequestId | None, limit: int, state: RequestState | None = None
    ) -> list[RequestView]:
        """Newest first, starting behind `after`. `tenant` None lists every tenant's (for an operator)."""

    async def changes(self, after: int | None) -> Changes:
        """What has become of open requests since an earlier answer's `upto`; None: all that are open.

        Whoever applies every answer in turn has a true copy of what is waiting, at the cost of what changes.
        """

    async def open_batches(self) -> list[Batch]:
        """Every batch that is neither CLEANED nor ABANDONED, oldest first."""

    async def closed_batches(self, limit: int) -> list[Batch]:
        """CLEANED and ABANDONED batches that were not swept, the last to be closed first."""

    async def batch(self, batch_id: BatchId) -> Batch | None:
        """One batch in any state."""

    async def ledger(self, *, since: float, until: float, tenant: TenantId | None = None) -> list[LedgerTotal]:
        """Totals of rows with `since <= booked_at < until`.

        Where single rows are not kept for ever, only their sums by the hour, an hour whose rows have ended is counted
        whole where it begins.
        """

    async def ledger_begins_at(self) -> float | None:
        """An instant in the hour up to the first row's; None while there are no rows."""

    async def ledger_rows(self, request_id: RequestId) -> list[LedgerRow]:
        """Every purchase made for one request, oldest first."""

    async def notes(self, prefix: str) -> dict[str, bytes]:
        """What was kept under the names that begin so, by name."""


class Store(Reader, Protocol):
    """Durable requests, attempts, batches and the ledger.

    `shelf` is what clients keep here. `shared`: other processes may have it open too. `member` is this process's word
    among them. `warnings`: what `start` has found that puts promises at risk.
    """

    @property
    def shelf(self) -> Shelf: ...

    shared: bool
    warnings: Sequence[str]
    member: str

    async def deployment(self) -> str:
        """A short random word made when the store was created: marks our files at a provider as ours."""

    async def accept(self, request: Request) -> Accepted | Existing:
        """Make a request durable. With an idempotency key that the tenant has used, nothing is written."""

    async def find(self, tenant: TenantId, endpoint: str, fingerprint: bytes) -> list[RequestView]:
        """The tenant's requests with this body to this endpoint that are open, or finished and not delivered.

        Oldest first: what a retried call may be attached to.
        """

    async def body(self, request_id: RequestId) -> bytes | None:
        """The body that is bought for, None when the request is unknown."""

    async def result(self, request_id: RequestId) -> Answer | None:
        """The final answer, None while there is none."""

    async def delivered(self, request_ids: Sequence[RequestId], at: float) -> None:
        """Note that clients have taken these answers. Unknown ids are ignored; the first instant stays."""

    async def webhooks_due(self, now: float, limit: int) -> list[RequestId]:
        """Final requests whose webhook is to be called at this instant or was before, the longest overdue first."""

    async def webhook_again(self, request_id: RequestId, at: float | None) -> None:
        """Note when a final request's webhook is to be called again; None: never."""

    async def apply(self, moves: Sequence[Move]) -> list[MoveResult]:
        """Make moves, each with its ledger row and its coupled moves in one transaction; one result per move."""

    async def queues_of_batches(self) -> list[Queue]:
        """The queues of all batches that were not swept: where files of ours may be."""

    async def lines(self, batch_id: BatchId, *, after: AttemptId | None, limit: int, bodies: bool = True) -> list[Line]:
        """A page of the batch's live lines in attempt order, starting behind `after`.

        Without `bodies` every `Line.body` is empty: what collecting 50,000 results needs, and no more.
        """

    async def live_calls(self) -> list[tuple[Attempt, Waiting]]:
        """Every live call with its request: after a restart, the calls that a dead process left behind."""

    async def book(self, rows: Sequence[LedgerRow]) -> None:
        """Add ledger rows of urgent calls. A row whose id is there already is skipped."""

    async def save_credential(self, credential: Credential) -> None:
        """Keep a sealed credential; saving the same id again replaces it."""

    async def credential(self, credential_id: CredentialId) -> Credential | None:
        """A sealed credential, None when unknown."""

    async def save_note(self, name: str, content: bytes) -> None:
        """Keep something small that was learned; saving the same name again replaces it."""

    async def lease(self, lanes: Sequence[Lane], seconds: float) -> set[Lane]:
        """Take the lanes that nobody looks after and renew those that are held; returns which are held now.

        From then on moves on these lanes (`proxy.domain.moves.FACTS` excepted) are conflicts for every other process,
        until `seconds` are over or the lane is released. The store's own clock counts them, because the clocks of
        replicas differ. A store of one process gives every lane for ever.
        """

    async def release(self, lanes: Sequence[Lane]) -> None:
        """Give lanes back at once. One that is not held is passed over."""

    async def attend(self, post: bytes, seconds: float) -> dict[str, bytes]:
        """Be counted as present for so many seconds, and leave something for the others; returns what all that are
        present have left, by member. This process is `member`.
        """

    async def returned(self, request_id: RequestId) -> None:
        """Tell all processes that a client has come back for this request and waits here."""

    async def watch(self, heard: Callable[[Heard], None]) -> None:
        """Until cancelled, tell what all processes do. Returns at once where there is no other process."""

    async def sweep(self, *, now: float, retention_seconds: float, limit: int) -> int:
        """Delete final requests (with bodies, answers and dead attempts) that are past their retention, which is
        `retention_seconds` for those without one of their own, and CLEANED or ABANDONED batches without live lines.
        Ledger rows stay. Returns how many requests went; at most `limit`."""

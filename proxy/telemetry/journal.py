"""The last decisions with what became of them, and what else has happened: for the built-in page.

Bounded, in memory, gone with the process. Ids, words and amounts: never a body, a header or a key. Deferred requests
are kept apart from urgent ones, which come so often that nothing else would be seen.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from proxy.domain.decision import Reason
from proxy.domain.events import (
    AnyEvent,
    CallFinished,
    RequestAccepted,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
)
from proxy.domain.ids import BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.labels import EscalationReason, OutcomeLabel
from proxy.domain.request import RequestState, RequestView
from proxy.domain.tier import Tier
from proxy.telemetry.happenings import Happening, describe, short
from proxy.telemetry.metrics import outcome_of

DECISIONS_MAX = 40
"""How many urgent ones are kept, and how many deferred ones."""
HAPPENINGS_MAX = 60
MERGE_SECONDS = 60.0
"""What happens again within this time is the same happening, counted."""


@dataclass(slots=True)
class Decided:
    """A decision, and how its request went on. Instants are unix seconds, amounts dollars.

    `tier` is where it began, `served_tier` where it was bought in the end. What is not known yet is None.
    """

    request_id: RequestId
    tenant: TenantId
    upstream: UpstreamName
    model: str
    endpoint: str
    tier: Tier
    reason: Reason
    policy: str
    deadline_at: float | None
    at: float
    deferred: bool = False
    best_effort: bool = False
    escalated: EscalationReason | None = None
    outcome: OutcomeLabel | None = None
    status: int | None = None
    served_tier: Tier | None = None
    batch_id: BatchId | None = None
    finished_at: float | None = None
    paid_usd: Decimal | None = None
    saved_usd: Decimal | None = None


class Journal:
    """Listens to every event and keeps the last ones."""

    def __init__(self, decisions_max: int = DECISIONS_MAX, happenings_max: int = HAPPENINGS_MAX) -> None:
        self._decisions_max = decisions_max
        self._urgent: dict[RequestId, Decided] = {}
        self._deferred: dict[RequestId, Decided] = {}
        self._happenings: deque[Happening] = deque(maxlen=happenings_max)

    def listen(self, event: AnyEvent) -> None:
        """Note the event, where it is one to note."""
        match event:
            case RequestDecided():
                self._on_decided(event)
            case RequestAccepted():
                self._on_accepted(event)
            case RequestEscalated():
                self._on_escalated(event)
            case CallFinished() | RequestFinished():
                self._on_finished(event)
            case _:
                self._note(event)

    def decisions(self) -> list[Decided]:
        """Newest first."""
        both = [*self._urgent.values(), *self._deferred.values()]
        return sorted(both, key=lambda decided: decided.at, reverse=True)

    def happenings(self) -> list[Happening]:
        """Newest first."""
        return list(reversed(self._happenings))

    def unfinished(self) -> list[RequestId]:
        """Deferred requests whose end this process has not seen; another one may have."""
        return [request_id for request_id, decided in self._deferred.items() if decided.outcome is None]

    def finished_elsewhere(self, view: RequestView) -> None:
        """What has become of a request that another process has finished."""
        decided = self._deferred.get(view.id)
        if decided is None or view.finished_at is None:
            return
        decided.outcome = _OUTCOMES.get(view.state)
        decided.status, decided.served_tier, decided.batch_id = view.status, view.tier, view.batch_id
        decided.finished_at, decided.paid_usd, decided.saved_usd = view.finished_at, view.paid_usd, view.saved_usd

    def _on_decided(self, event: RequestDecided) -> None:
        if event.reason is Reason.PASSTHROUGH:
            return
        decided = Decided(
            request_id=event.request_id,
            tenant=event.tenant,
            upstream=event.upstream,
            model=short(event.model),
            endpoint=short(event.endpoint),
            tier=event.tier,
            reason=event.reason,
            policy=event.policy,
            deadline_at=event.deadline_at,
            at=event.at,
        )
        self._keep(self._urgent, decided)

    def _on_accepted(self, event: RequestAccepted) -> None:
        decided = self._urgent.pop(event.request_id, None)
        if decided is not None:
            decided.deferred, decided.best_effort = True, event.best_effort
            self._keep(self._deferred, decided)

    def _keep(self, kept: dict[RequestId, Decided], decided: Decided) -> None:
        kept[decided.request_id] = decided
        if len(kept) > self._decisions_max:
            del kept[next(iter(kept))]

    def _on_escalated(self, event: RequestEscalated) -> None:
        decided = self._deferred.get(event.request_id)
        if decided is not None:
            decided.escalated = event.reason
        self._note(event)

    def _on_finished(self, event: CallFinished | RequestFinished) -> None:
        decided = self._urgent.get(event.request_id) or self._deferred.get(event.request_id)
        if decided is None:
            return
        decided.status, decided.served_tier = event.status, event.tier
        if isinstance(event, CallFinished):
            decided.outcome, decided.finished_at = outcome_of(event.status), event.finished_at
        else:
            decided.outcome, decided.finished_at, decided.batch_id = event.outcome, event.at, event.batch_id
        if event.row is not None:
            decided.served_tier = event.row.tier
            decided.paid_usd, decided.saved_usd = event.row.paid_usd, event.row.saved_usd

    def _note(self, event: AnyEvent) -> None:
        told = describe(event)
        if told is None:
            return
        last = self._happenings[-1] if self._happenings else None
        if last is not None and last.is_like(told) and told.at - last.at <= MERGE_SECONDS:
            last.count, last.at = last.count + 1, told.at
            return
        self._happenings.append(told)


_OUTCOMES = {
    RequestState.DONE: OutcomeLabel.OK,
    RequestState.FAILED: OutcomeLabel.ERROR,
    RequestState.CANCELLED: OutcomeLabel.CANCELLED,
    RequestState.EXPIRED: OutcomeLabel.EXPIRED,
}
"""What the client was owed, as the end of its call."""

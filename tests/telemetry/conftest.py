from dataclasses import dataclass
from decimal import Decimal

import pytest

from proxy.domain.batch import BatchOutcome
from proxy.domain.change import PolicyChange
from proxy.domain.decision import Reason
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
from proxy.domain.failure import FailureKind
from proxy.domain.ids import AttemptId, BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.labels import CutReason, EscalationReason, LimitKind, OutcomeLabel
from proxy.domain.money import LedgerRow, Purchase, Usage
from proxy.domain.request import Lane
from proxy.domain.tier import Tier

AT = 1_790_000_000.0
CHANGE = PolicyChange(added=("nightly",), removed=("chat",), default=("deadline", "tiers"))
REQUEST = RequestId("req-00000000000000000000000000000001")
BATCH = BatchId("bat-00000000000000000000000000000002")
OPENAI = UpstreamName("openai")
ACME = TenantId("acme")
MODEL = "gpt-5-mini"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Samples:
    """One event of each type. The answered request cost half of its list price."""

    row: LedgerRow
    waste: LedgerRow
    decided: RequestDecided
    rejected: RequestRejected
    call: CallFinished
    accepted: RequestAccepted
    attached: RequestAttached
    finished: RequestFinished
    waste_booked: WasteBooked
    escalated: RequestEscalated
    cut: BatchCut
    submitted: BatchSubmitted
    settled: BatchSettled
    forecast: ForecastSettled
    store_warned: StoreWarned
    lanes_taken: LanesTaken
    lanes_lost: LanesLost
    files_deleted: BatchFilesDeleted
    rate_limited: RateLimited
    upstream_failed: UpstreamFailed
    shadow_limited: ShadowLimited
    step_failed: StepFailed
    virtual_moved: VirtualBatchMoved
    webhook_called: WebhookCalled
    native_booked: NativeBatchBooked
    tier_lost: BatchTierLost
    reloaded: PolicyReloaded
    reload_refused: ReloadRefused

    @property
    def events(self) -> list[AnyEvent]:
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        return [value for value in values if not isinstance(value, LedgerRow)]


def ledger_row(tier: Tier, kind: Purchase, paid: str, list_price: str) -> LedgerRow:
    return LedgerRow(
        id="att-1",
        request_id=REQUEST,
        attempt_id=AttemptId("att-1"),
        batch_id=BATCH,
        tenant=ACME,
        upstream=OPENAI,
        endpoint=CHAT,
        model=MODEL,
        policy="default",
        tier=tier,
        kind=kind,
        status=200,
        booked_at=AT,
        usage=Usage(input_tokens=100, output_tokens=20, cached_tokens=30),
        paid_usd=Decimal(paid),
        list_usd=Decimal(list_price),
    )


@pytest.fixture
def samples() -> Samples:
    row = ledger_row(Tier.BATCH, Purchase.PRIMARY, "0.25", "0.5")
    waste = ledger_row(Tier.STANDARD, Purchase.DUPLICATE, "0.125", "0")
    return Samples(
        row=row,
        waste=waste,
        decided=RequestDecided(
            REQUEST, ACME, OPENAI, MODEL, CHAT, Tier.BATCH, Reason.DEADLINE_ALLOWS, "default", AT + 7200, AT
        ),
        rejected=RequestRejected(status=400, code="bad_deadline", at=AT),
        call=CallFinished(
            request_id=REQUEST,
            tenant=ACME,
            upstream=OPENAI,
            model=MODEL,
            endpoint=CHAT,
            policy="default",
            tier=Tier.STANDARD,
            status=200,
            deadline_at=None,
            started_at=AT,
            finished_at=AT + 1.5,
            overhead_seconds=0.002,
            first_chunk_seconds=0.4,
            row=ledger_row(Tier.STANDARD, Purchase.PRIMARY, "0.5", "0.5"),
        ),
        accepted=RequestAccepted(
            REQUEST, ACME, OPENAI, MODEL, CHAT, "default", Tier.BATCH, AT + 7200, best_effort=False, at=AT
        ),
        attached=RequestAttached(REQUEST, "retry", AT),
        finished=RequestFinished(
            request_id=REQUEST,
            tenant=ACME,
            upstream=OPENAI,
            model=MODEL,
            endpoint=CHAT,
            policy="default",
            tier=Tier.BATCH,
            outcome=OutcomeLabel.OK,
            status=200,
            accepted_at=AT,
            deadline_at=AT + 7200,
            at=AT + 3600,
            batch_id=BATCH,
            row=row,
        ),
        waste_booked=WasteBooked(waste),
        escalated=RequestEscalated(
            REQUEST, OPENAI, MODEL, Tier.STANDARD, EscalationReason.DEADLINE, blind=True, slack_seconds=42.0, at=AT
        ),
        cut=BatchCut(BATCH, OPENAI, MODEL, CutReason.AGE, lines=10, body_bytes=1000, at=AT),
        submitted=BatchSubmitted(BATCH, "batch_abc", OPENAI, MODEL, lines=10, found=False, at=AT),
        settled=BatchSettled(
            BATCH,
            OPENAI,
            MODEL,
            BatchOutcome.COMPLETED,
            turnaround_seconds=1000.0,
            answered=7,
            superseded=1,
            refused=0,
            missing=2,
            at=AT,
        ),
        forecast=ForecastSettled(OPENAI, MODEL, 0.9, covered=False, at=AT),
        store_warned=StoreWarned("it forgets", AT),
        lanes_taken=LanesTaken((Lane(OPENAI, MODEL),), at=AT),
        lanes_lost=LanesLost((Lane(OPENAI, MODEL),), at=AT),
        files_deleted=BatchFilesDeleted(BATCH, files=3, at=AT),
        rate_limited=RateLimited(OPENAI, MODEL, LimitKind.REQUESTS, AT),
        upstream_failed=UpstreamFailed(OPENAI, MODEL, FailureKind.SERVER_ERROR, AT),
        shadow_limited=ShadowLimited(OPENAI, MODEL, LimitKind.TOKENS, AT),
        step_failed=StepFailed("poll", OPENAI, BATCH, "no answer", AT + 5, AT),
        native_booked=NativeBatchBooked(ledger_row(Tier.BATCH, Purchase.NATIVE, "0.5", "0.5"), AT),
        virtual_moved=VirtualBatchMoved("batch_1", ACME, "/v1/chat/completions", "completed", 10, 9, 1, AT),
        webhook_called=WebhookCalled(REQUEST, ACME, "hooks.example.com", 200, "", None, AT),
        tier_lost=BatchTierLost(OPENAI, AT + 3600, AT),
        reloaded=PolicyReloaded("policies/default.yaml", 4, CHANGE, AT),
        reload_refused=ReloadRefused("policies/default.yaml:3: no such tier", AT),
    )

from proxy.demo.figures import Figures
from proxy.domain.batch import BatchOutcome
from proxy.domain.events import BatchCut, BatchFilesDeleted, BatchSettled, BatchSubmitted, RequestFinished
from proxy.domain.ids import BatchId, RequestId, TenantId, UpstreamName
from proxy.domain.labels import CutReason, OutcomeLabel
from proxy.domain.tier import Tier

UPSTREAM, BATCH = UpstreamName("openai"), BatchId("bat-1")


def _finished(at: float) -> RequestFinished:
    return RequestFinished(
        RequestId("req-000001"),
        TenantId("t"),
        UPSTREAM,
        "m",
        "/v1/chat/completions",
        "default",
        Tier.BATCH,
        OutcomeLabel.OK,
        200,
        accepted_at=0.0,
        deadline_at=10.0,
        at=at,
        batch_id=BATCH,
        row=None,
    )


def test_deadlines_are_met_or_missed_at_delivery() -> None:
    figures = Figures()
    figures.listen(_finished(10.0))
    figures.listen(_finished(10.1))
    assert (figures.met, figures.missed, figures.answered["batch"]) == (1, 1, 2)


def test_a_batch_is_followed_through_its_states() -> None:
    figures = Figures()
    states = []
    for event in (
        BatchCut(BATCH, UPSTREAM, "m", CutReason.AGE, 3, 100, 0.0),
        BatchSubmitted(BATCH, "batch_1", UPSTREAM, "m", 3, found=False, at=1.0),
        BatchSettled(BATCH, UPSTREAM, "m", BatchOutcome.COMPLETED, 5.0, 3, 0, 0, 0, 6.0),
        BatchFilesDeleted(BATCH, 2, 7.0),
    ):
        figures.listen(event)
        states.append(figures.batches[BATCH])
    assert states == ["planned", "in flight", "completed", "cleaned"]
    assert "3 requests cut into a batch (age)" in figures.said[0]

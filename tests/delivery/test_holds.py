import asyncio

from proxy.delivery.holds import Holds
from proxy.domain.events import RequestFinished
from proxy.domain.ids import RequestId, TenantId, UpstreamName
from proxy.domain.labels import OutcomeLabel

ONE, TWO = RequestId("one"), RequestId("two")


def _finished(request_id: RequestId) -> RequestFinished:
    return RequestFinished(
        request_id=request_id,
        tenant=TenantId("t"),
        upstream=UpstreamName("u"),
        model="m",
        endpoint="/v1/chat/completions",
        policy="default",
        tier=None,
        outcome=OutcomeLabel.OK,
        status=200,
        accepted_at=0.0,
        deadline_at=1.0,
        at=0.5,
        batch_id=None,
        row=None,
    )


def test_every_holder_of_a_finished_request_is_woken_and_nobody_else() -> None:
    async def story() -> None:
        holds = Holds()
        with holds.subscribe(ONE) as first, holds.subscribe(ONE) as second, holds.subscribe(TWO) as other:
            holds.listen(_finished(ONE))
            assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)

    asyncio.run(story())


def test_a_request_that_nobody_holds_wakes_nobody() -> None:
    Holds().listen(_finished(ONE))
    Holds().wake(ONE)


def test_what_another_process_has_finished_wakes_its_holders_and_what_is_not_known_wakes_all() -> None:
    async def story() -> None:
        holds = Holds()
        with holds.subscribe(ONE) as first, holds.subscribe(TWO) as other:
            holds.wake(ONE)
            assert (first.is_set(), other.is_set()) == (True, False)
            holds.wake(None)
            assert other.is_set()

    asyncio.run(story())


def test_holders_are_counted_until_the_last_one_leaves() -> None:
    async def story() -> None:
        holds = Holds()
        with holds.subscribe(ONE):
            with holds.subscribe(ONE):
                assert (len(holds), holds.is_held(ONE)) == (2, True)
            assert (len(holds), holds.is_held(ONE)) == (1, True)
        assert (len(holds), holds.is_held(ONE)) == (0, False)

    asyncio.run(story())


def test_all_are_woken_when_the_process_is_about_to_stop() -> None:
    async def story() -> None:
        holds = Holds()
        with holds.subscribe(ONE) as first, holds.subscribe(TWO) as second:
            holds.wake_all()
            assert first.is_set()
            assert second.is_set()

    asyncio.run(story())

from dataclasses import replace
from typing import Protocol

import pytest

from proxy.domain.events import AnyEvent, CallFinished, ForecastSettled, RateLimited, RequestFinished, ShadowLimited
from proxy.domain.labels import OutcomeLabel
from proxy.domain.tier import Tier
from proxy.telemetry.tally import MINUTES, PAIRS_MAX, Checks, Rates, Tally


class Samples(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    call: CallFinished
    finished: RequestFinished
    rate_limited: RateLimited
    shadow_limited: ShadowLimited
    forecast: ForecastSettled

    @property
    def events(self) -> list[AnyEvent]: ...


def counted(*events: AnyEvent) -> Tally:
    tally = Tally()
    for event in events:
        tally.listen(event)
    return tally


def test_finished_requests_are_counted_by_tier_and_outcome(samples: Samples) -> None:
    tally = counted(samples.call, replace(samples.call, status=503), samples.finished, samples.finished)
    assert tally.requests == {
        (Tier.STANDARD, OutcomeLabel.OK): 1,
        (Tier.STANDARD, OutcomeLabel.ERROR): 1,
        (Tier.BATCH, OutcomeLabel.OK): 2,
    }


def test_what_buys_nothing_is_not_counted(samples: Samples) -> None:
    withdrawn = replace(samples.finished, tier=None, outcome=OutcomeLabel.CANCELLED)
    assert counted(replace(samples.call, row=None), withdrawn).requests == {}


@pytest.mark.parametrize(
    ("late", "outcome", "judged"),
    [
        (0.0, OutcomeLabel.OK, (1, 0)),
        (0.0, OutcomeLabel.ERROR, (1, 0)),
        (0.1, OutcomeLabel.OK, (0, 1)),
        (-5.0, OutcomeLabel.EXPIRED, (0, 1)),
        (5.0, OutcomeLabel.CANCELLED, (0, 0)),
    ],
)
def test_a_deadline_is_met_by_an_answer_in_time_be_it_an_error(
    samples: Samples, late: float, outcome: OutcomeLabel, judged: tuple[int, int]
) -> None:
    tally = counted(replace(samples.finished, outcome=outcome, at=samples.finished.deadline_at + late))
    assert (tally.deadlines_met, tally.deadlines_missed) == judged


def test_an_urgent_call_has_a_deadline_only_when_its_client_named_one(samples: Samples) -> None:
    assert samples.call.row is not None
    in_time = replace(samples.call, deadline_at=samples.call.row.booked_at)
    late = replace(samples.call, deadline_at=samples.call.row.booked_at - 1)
    left = replace(late, status=499)
    tally = counted(samples.call, in_time, late, left)
    assert (tally.deadlines_met, tally.deadlines_missed) == (1, 1)


def test_the_last_hour_is_there_by_the_minute_whether_anything_happened_or_not(samples: Samples) -> None:
    at = 1_790_000_040.0 - 1_790_000_040.0 % 60
    moments = (at, at + 59.9, at + 120)
    tally = counted(*(replace(samples.call, finished_at=moment) for moment in moments))
    minutes = tally.minutes(at + 125)
    assert len(minutes) == MINUTES
    assert [minute.at for minute in minutes[-3:]] == [at, at + 60, at + 120]
    assert [minute.requests[Tier.STANDARD] for minute in minutes[-3:]] == [2, 0, 1]
    assert all(not minute.requests for minute in tally.minutes(at + 3 * 3600))


def test_a_clock_that_jumps_back_loses_no_count(samples: Samples) -> None:
    at = samples.call.finished_at
    tally = counted(samples.call, replace(samples.call, finished_at=at - 600))
    assert tally.requests[Tier.STANDARD, OutcomeLabel.OK] == 2
    assert sum(minute.requests[Tier.STANDARD] for minute in tally.minutes(at)) == 2


def test_limits_that_were_met_and_quotes_that_held_are_counted_by_model(samples: Samples) -> None:
    pair = samples.rate_limited.upstream, samples.rate_limited.model
    covered = replace(samples.forecast, covered=True)
    tally = counted(samples.rate_limited, samples.shadow_limited, samples.shadow_limited, samples.forecast, covered)
    assert tally.rates == {pair: Rates(refused=1, avoided=2)}
    assert tally.forecasts == {pair: Checks(covered=1, checked=2)}


def test_made_up_models_do_not_fill_the_memory(samples: Samples) -> None:
    crowd = [replace(samples.shadow_limited, model=f"m{number}") for number in range(PAIRS_MAX + 50)]
    tally = counted(*crowd, crowd[0], replace(samples.rate_limited, model="one-more"))
    assert len(tally.rates) == PAIRS_MAX
    assert tally.rates[crowd[0].upstream, "m0"] == Rates(avoided=2)


def test_every_event_that_exists_can_be_heard(samples: Samples) -> None:
    counted(*samples.events)

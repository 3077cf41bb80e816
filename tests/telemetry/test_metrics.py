from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Protocol, get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.domain.events import (
    AnyEvent,
    BatchSettled,
    CallFinished,
    ForecastSettled,
    PolicyReloaded,
    RequestAccepted,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
    RequestRejected,
    WasteBooked,
)
from proxy.domain.ids import UpstreamName
from proxy.domain.labels import OutcomeLabel
from proxy.domain.money import LedgerRow
from proxy.domain.tier import Tier
from proxy.telemetry.beginnings import Known
from proxy.telemetry.gauges import Gauges
from proxy.telemetry.metrics import Metrics

OPENAI = UpstreamName("openai")
NOTHING = Gauges(at=0.0)


class Samples(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    accepted: RequestAccepted
    decided: RequestDecided
    rejected: RequestRejected
    call: CallFinished
    finished: RequestFinished
    settled: BatchSettled
    forecast: ForecastSettled
    escalated: RequestEscalated
    row: LedgerRow
    waste: LedgerRow
    reloaded: PolicyReloaded

    @property
    def events(self) -> list[AnyEvent]: ...


def exposition(metrics: Metrics, gauges: Gauges = NOTHING) -> dict[str, float]:
    """Sample with sorted labels -> value, without zeros and without the process's own."""
    text, _ = metrics.render(gauges, openmetrics=False)
    values: dict[str, float] = {}
    for family in parse_text(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            if sample.value and sample.name.startswith("standby_") and sample.name != "standby_build_info":
                values[f"{sample.name}{{{labels}}}"] = sample.value
    return values


def only(values: dict[str, float], *names: str) -> dict[str, float]:
    return {key: value for key, value in values.items() if key.split("{")[0] in names}


def heard(*events: AnyEvent) -> dict[str, float]:
    metrics = Metrics()
    for event in events:
        metrics.listen(event)
    return exposition(metrics)


def test_every_event_that_exists_changes_a_series(samples: Samples) -> None:
    assert {type(event) for event in samples.events} == set(get_args(AnyEvent))
    for event in samples.events:
        assert heard(event), type(event)


def test_each_simple_event_counts_one_in_its_own_series(samples: Samples) -> None:
    values = heard(*samples.events)
    pair = "model=gpt-5-mini,upstream=openai"
    expected = {
        "standby_decisions_total{policy=default,reason=deadline_allows,tier=batch}": 1,
        "standby_rejections_total{code=bad_deadline,status=400}": 1,
        "standby_accepted_requests_total{model=gpt-5-mini,policy=default,upstream=openai}": 1,
        "standby_attached_requests_total{by=retry}": 1,
        "standby_escalations_total{model=gpt-5-mini,reason=deadline,tier=standard,upstream=openai}": 1,
        "standby_batch_cuts_total{reason=age}": 1,
        f"standby_batches_submitted_total{{{pair}}}": 1,
        "standby_batches_total{model=gpt-5-mini,outcome=completed,upstream=openai}": 1,
        "standby_provider_files_deleted_total{}": 3,
        "standby_provider_rate_limited_total{limit=requests,model=gpt-5-mini,upstream=openai}": 1,
        "standby_shadow_rate_limited_total{limit=tokens,model=gpt-5-mini,upstream=openai}": 1,
        "standby_upstream_errors_total{kind=rate_limited,model=gpt-5-mini,upstream=openai}": 1,
        "standby_upstream_errors_total{kind=server_error,model=gpt-5-mini,upstream=openai}": 1,
        f"standby_batch_size_lines_sum{{{pair}}}": 10,
        "standby_store_warnings_total{}": 1,
        "standby_lane_changes_total{change=taken}": 1,
        "standby_lane_changes_total{change=lost}": 1,
        "standby_step_failures_total{step=poll}": 1,
        "standby_batch_tier_losses_total{upstream=openai}": 1,
        "standby_policy_reloads_total{result=applied}": 1,
        "standby_policy_reloads_total{result=refused}": 1,
    }
    assert {key: values.get(key) for key in expected} == expected


def test_an_urgent_call_is_counted_timed_and_booked(samples: Samples) -> None:
    values = heard(samples.call)
    sums = {key: value for key, value in values.items() if "_bucket" not in key}
    pair = "model=gpt-5-mini,policy=default,upstream=openai"
    purchase = "kind=primary,model=gpt-5-mini,tier=standard,upstream=openai"
    assert sums == {
        "standby_requests_total{model=gpt-5-mini,outcome=ok,policy=default,tier=standard,upstream=openai}": 1,
        "standby_request_duration_seconds_count{model=gpt-5-mini,tier=standard}": 1,
        "standby_request_duration_seconds_sum{model=gpt-5-mini,tier=standard}": 1.5,
        "standby_proxy_overhead_seconds_count{route=/v1/chat/completions}": 1,
        "standby_proxy_overhead_seconds_sum{route=/v1/chat/completions}": 0.002,
        "standby_time_to_first_chunk_seconds_count{model=gpt-5-mini}": 1,
        "standby_time_to_first_chunk_seconds_sum{model=gpt-5-mini}": 0.4,
        f"standby_spend_usd_total{{{purchase}}}": 0.5,
        f"standby_counterfactual_spend_usd_total{{{pair}}}": 0.5,
        "standby_tokens_total{direction=input,model=gpt-5-mini,tier=standard}": 70,
        "standby_tokens_total{direction=cached_input,model=gpt-5-mini,tier=standard}": 30,
        "standby_tokens_total{direction=output,model=gpt-5-mini,tier=standard}": 20,
    }


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "ok"), (399, "ok"), (400, "error"), (503, "error"), (499, "cancelled")]
)
def test_the_status_of_an_urgent_call_is_its_outcome(samples: Samples, status: int, outcome: str) -> None:
    values = only(heard(replace(samples.call, status=status)), "standby_requests_total")
    assert [key.split("outcome=")[1].split(",")[0] for key in values] == [outcome]


def test_a_call_that_its_client_left_has_no_duration(samples: Samples) -> None:
    assert not only(heard(replace(samples.call, status=499)), "standby_request_duration_seconds_count")


def test_a_call_that_buys_nothing_is_counted_without_model_or_money(samples: Samples) -> None:
    values = heard(replace(samples.call, model="", endpoint="/v1/files", row=None, first_chunk_seconds=None))
    families = {key.split("{")[0] for key in values if "_bucket" not in key}
    assert "standby_requests_total{model=none,outcome=ok,policy=default,tier=standard,upstream=openai}" in values
    assert not families & {"standby_spend_usd_total", "standby_unpriced_purchases_total", "standby_tokens_total"}
    assert "standby_time_to_first_chunk_seconds_count" not in families


def test_an_urgent_call_with_a_deadline_meets_or_misses_it_too_by_the_instant_in_the_ledger(samples: Samples) -> None:
    assert samples.call.row is not None
    booked_at = samples.call.row.booked_at
    in_time = replace(samples.call, deadline_at=booked_at + 5)
    late = replace(samples.call, deadline_at=booked_at - 5)
    values = heard(in_time, late, samples.call, replace(late, status=499))
    assert only(values, "standby_deadline_results_total", "standby_deadline_slack_seconds_sum") == {
        "standby_deadline_results_total{policy=default,result=met,tier=standard}": 1,
        "standby_deadline_results_total{policy=default,result=missed,tier=standard}": 1,
        "standby_deadline_slack_seconds_sum{policy=default}": 5,
    }


def test_a_deferred_request_in_time_met_its_deadline_with_its_slack(samples: Samples) -> None:
    values = heard(samples.finished)
    assert values["standby_deadline_results_total{policy=default,result=met,tier=batch}"] == 1
    assert values["standby_deadline_slack_seconds_sum{policy=default}"] == 3600
    assert "standby_deadline_slack_seconds_bucket{le=0.0,policy=default}" not in values
    assert values["standby_request_duration_seconds_sum{model=gpt-5-mini,tier=batch}"] == 3600
    assert values["standby_counterfactual_spend_usd_total{model=gpt-5-mini,policy=default,upstream=openai}"] == 0.5
    assert values["standby_spend_usd_total{kind=primary,model=gpt-5-mini,tier=batch,upstream=openai}"] == 0.25


def test_an_answer_at_the_very_deadline_met_it(samples: Samples) -> None:
    values = heard(replace(samples.finished, at=samples.finished.deadline_at))
    assert only(values, "standby_deadline_results_total") == {
        "standby_deadline_results_total{policy=default,result=met,tier=batch}": 1
    }


def test_a_late_answer_missed_its_deadline_and_has_no_slack(samples: Samples) -> None:
    values = heard(replace(samples.finished, at=samples.finished.deadline_at + 0.001))
    assert values["standby_deadline_results_total{policy=default,result=missed,tier=batch}"] == 1
    assert values["standby_deadline_slack_seconds_bucket{le=0.0,policy=default}"] == 1


def test_an_expired_request_missed_its_deadline_at_no_tier(samples: Samples) -> None:
    expired = replace(
        samples.finished, outcome=OutcomeLabel.EXPIRED, tier=None, row=None, at=samples.finished.deadline_at
    )
    values = heard(expired)
    assert values["standby_deadline_results_total{policy=default,result=missed,tier=none}"] == 1
    assert not only(values, "standby_request_duration_seconds_count")


def test_a_cancelled_request_neither_met_nor_missed_its_deadline(samples: Samples) -> None:
    values = heard(replace(samples.finished, outcome=OutcomeLabel.CANCELLED, tier=None, row=None))
    assert set(values) == {
        "standby_requests_total{model=gpt-5-mini,outcome=cancelled,policy=default,tier=none,upstream=openai}"
    }


def test_waste_is_spend_of_its_own_kind(samples: Samples) -> None:
    values = heard(WasteBooked(samples.waste))
    assert values["standby_spend_usd_total{kind=duplicate,model=gpt-5-mini,tier=standard,upstream=openai}"] == 0.125
    assert not only(values, "standby_counterfactual_spend_usd_total")


def test_an_unknown_cost_is_counted_and_claims_no_saving(samples: Samples) -> None:
    values = heard(replace(samples.finished, row=replace(samples.row, paid_usd=None)))
    assert values["standby_unpriced_purchases_total{kind=primary,model=gpt-5-mini,tier=batch,upstream=openai}"] == 1
    assert not only(values, "standby_spend_usd_total", "standby_counterfactual_spend_usd_total")


def test_an_unknown_list_price_is_counted_and_what_was_paid_still_is_spend(samples: Samples) -> None:
    values = heard(replace(samples.finished, row=replace(samples.row, list_usd=None)))
    assert values["standby_unpriced_purchases_total{kind=primary,model=gpt-5-mini,tier=batch,upstream=openai}"] == 1
    assert values["standby_spend_usd_total{kind=primary,model=gpt-5-mini,tier=batch,upstream=openai}"] == 0.25
    assert not only(values, "standby_counterfactual_spend_usd_total")


def test_a_free_purchase_is_priced(samples: Samples) -> None:
    row = replace(samples.row, paid_usd=Decimal(0), list_usd=Decimal(0))
    assert not only(heard(WasteBooked(row)), "standby_unpriced_purchases_total")


def test_what_an_observed_request_would_have_cost_is_counted_beside_what_it_cost(samples: Samples) -> None:
    row = replace(samples.row, observed_tier=Tier.BATCH, observed_usd=Decimal("0.25"), paid_usd=Decimal("0.5"))
    values = heard(replace(samples.call, row=row), samples.call)
    pair = "model=gpt-5-mini,policy=default"
    assert values[f"standby_observed_spend_usd_total{{{pair},tier=batch,upstream=openai}}"] == 0.25
    assert values[f"standby_observed_counterfactual_spend_usd_total{{{pair},upstream=openai}}"] == 0.5
    assert values["standby_spend_usd_total{kind=primary,model=gpt-5-mini,tier=batch,upstream=openai}"] == 0.5


def test_an_observed_request_without_a_known_price_claims_no_saving(samples: Samples) -> None:
    unknown = replace(samples.row, observed_tier=Tier.BATCH, observed_usd=None)
    unlisted = replace(samples.row, observed_tier=Tier.BATCH, observed_usd=Decimal(1), list_usd=None)
    values = heard(WasteBooked(unknown), WasteBooked(unlisted))
    assert not [name for name in values if "observed" in name]


def test_unknown_usage_counts_no_tokens(samples: Samples) -> None:
    assert not only(heard(WasteBooked(replace(samples.row, usage=None))), "standby_tokens_total")


def test_the_lines_of_a_batch_are_counted_by_result(samples: Samples) -> None:
    values = heard(samples.settled)
    label = "model=gpt-5-mini,result={},upstream=openai"
    assert only(values, "standby_batch_lines_total") == {
        f"standby_batch_lines_total{{{label.format('answered')}}}": 7,
        f"standby_batch_lines_total{{{label.format('superseded')}}}": 1,
        f"standby_batch_lines_total{{{label.format('missing')}}}": 2,
    }
    assert values["standby_batch_turnaround_seconds_sum{model=gpt-5-mini,upstream=openai}"] == 1000


def test_forecasts_are_counted_by_whether_they_held(samples: Samples) -> None:
    values = heard(samples.forecast)
    label = "model=gpt-5-mini,quoted=0.9,result=missed,upstream=openai"
    assert only(values, "standby_forecast_results_total") == {f"standby_forecast_results_total{{{label}}}": 1}


def test_forecasts_of_calls_are_counted_by_tier(samples: Samples) -> None:
    held = replace(samples.forecast, tier=Tier.FLEX, covered=True, count=8)
    values = heard(held, replace(held, covered=False, count=2))
    label = "model=gpt-5-mini,quoted=0.9,result={},tier=flex,upstream=openai"
    assert only(values, "standby_call_forecast_results_total") == {
        f"standby_call_forecast_results_total{{{label.format('covered')}}}": 8,
        f"standby_call_forecast_results_total{{{label.format('missed')}}}": 2,
    }


def test_an_escalation_past_its_deadline_started_with_no_slack(samples: Samples) -> None:
    values = heard(replace(samples.escalated, slack_seconds=-5.0))
    bucket = "standby_escalation_start_slack_seconds_bucket{le=0.0,model=gpt-5-mini,upstream=openai}"
    assert values[bucket] == 1
    assert not only(values, "standby_escalation_start_slack_seconds_sum"), "counted as 0, not below"


def test_models_beyond_the_bound_share_one_label(samples: Samples) -> None:
    metrics = Metrics(Known({OPENAI: ["known"]}), distinct_max=3)
    for model in ("made-up-1", "made-up-2", "made-up-3", "made-up-4", "made-up-1", "known"):
        metrics.listen(replace(samples.call, model=model, row=None))
    counts = only(exposition(metrics), "standby_requests_total")
    assert {key.split("model=")[1].split(",")[0]: value for key, value in counts.items()} == {
        "made-up-1": 2,
        "made-up-2": 1,
        "other": 2,
        "known": 1,
    }


def test_routes_codes_and_very_long_models_are_bounded_too(samples: Samples) -> None:
    metrics = Metrics(distinct_max=2)
    for index in range(10):
        metrics.listen(replace(samples.call, endpoint=f"/v1/{index}", model="x" * 121))
        metrics.listen(replace(samples.rejected, code=f"code_{index}"))
    values = exposition(metrics)
    assert len(only(values, "standby_proxy_overhead_seconds_count")) == 3
    assert len(only(values, "standby_rejections_total")) == 3
    assert "standby_requests_total{model=other,outcome=ok,policy=default,tier=standard,upstream=openai}" in values


def test_no_id_and_no_tenant_is_ever_a_label(samples: Samples) -> None:
    metrics = Metrics()
    for event in samples.events:
        metrics.listen(event)
    text = metrics.render(NOTHING, openmetrics=False)[0].decode()
    assert not [word for word in ("req-", "bat-", "att-", "batch_abc", "acme") if word in text]


def test_known_series_are_there_at_zero_before_anything_happens() -> None:
    metrics = Metrics(Known({OPENAI: ["gpt-5-mini"]}, ["default"]))
    text = metrics.render(NOTHING, openmetrics=False)[0].decode()
    for line in (
        'standby_spend_usd_total{kind="duplicate",model="gpt-5-mini",tier="batch",upstream="openai"} 0.0',
        'standby_counterfactual_spend_usd_total{model="gpt-5-mini",policy="default",upstream="openai"} 0.0',
        'standby_deadline_results_total{policy="default",result="missed",tier="batch"} 0.0',
        'standby_decisions_total{policy="default",reason="deadline_short",tier="standard"} 0.0',
        'standby_escalations_total{model="gpt-5-mini",reason="worn",tier="standard",upstream="openai"} 0.0',
        'standby_batches_total{model="gpt-5-mini",outcome="expired",upstream="openai"} 0.0',
        'standby_batch_lines_total{model="gpt-5-mini",result="missing",upstream="openai"} 0.0',
        'standby_provider_rate_limited_total{limit="tokens",model="gpt-5-mini",upstream="openai"} 0.0',
        'standby_batch_cuts_total{reason="slack"} 0.0',
        'standby_policy_reloads_total{result="refused"} 0.0',
    ):
        assert sorted_labels(line) in {sorted_labels(each) for each in text.splitlines()}, line


def test_the_series_of_a_rule_that_a_reload_adds_begin_at_zero(samples: Samples) -> None:
    metrics = Metrics()
    metrics.listen(samples.reloaded)
    text = metrics.render(NOTHING, openmetrics=False)[0].decode()
    line = 'standby_deadline_results_total{policy="nightly",result="missed",tier="batch"} 0.0'
    assert sorted_labels(line) in {sorted_labels(each) for each in text.splitlines()}


def test_what_a_model_may_cost_begins_at_zero_when_its_first_deferred_request_comes_in(samples: Samples) -> None:
    metrics = Metrics(Known({OPENAI: ()}, ["default"]))
    metrics.listen(samples.accepted)
    lines = {sorted_labels(line) for line in metrics.render(NOTHING, openmetrics=False)[0].decode().splitlines()}
    line = 'standby_spend_usd_total{kind="primary",model="gpt-5-mini",tier="batch",upstream="openai"} 0.0'
    assert line in lines


def test_the_store_is_timed_and_its_failures_are_counted() -> None:
    metrics = Metrics()
    metrics.store_took("apply", 0.25)
    metrics.store_failed("get")
    values = exposition(metrics)
    assert values["standby_store_seconds_sum{op=apply}"] == 0.25
    assert values["standby_store_failures_total{op=get}"] == 1


def sorted_labels(line: str) -> str:
    name, _, rest = line.partition("{")
    labels, _, value = rest.partition("}")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"


def exemplars(text: str) -> Iterable[tuple[str, dict[str, str]]]:
    for family in parse_openmetrics(text):  # type: ignore[no-untyped-call]  # prometheus_client's
        for sample in family.samples:
            if sample.exemplar:
                yield sample.name, sample.exemplar.labels


def test_openmetrics_carries_the_request_id_as_an_exemplar_of_the_duration_alone(samples: Samples) -> None:
    metrics = Metrics()
    metrics.listen(samples.call)
    text, content_type = metrics.render(NOTHING, openmetrics=True)
    assert content_type.startswith("application/openmetrics-text")
    assert list(exemplars(text.decode())) == [
        ("standby_request_duration_seconds_bucket", {"request_id": samples.call.request_id})
    ]


def test_the_text_format_is_the_default_of_prometheus() -> None:
    _, content_type = Metrics().render(NOTHING, openmetrics=False)
    assert content_type.startswith("text/plain; version=")


def test_two_sets_of_metrics_in_one_process_do_not_share_counts(samples: Samples) -> None:
    first, second = Metrics(), Metrics()
    first.listen(samples.rejected)
    assert not exposition(second)

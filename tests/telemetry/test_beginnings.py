from proxy.domain.ids import UpstreamName
from proxy.telemetry.beginnings import Known, begin, begin_model, begin_observed
from proxy.telemetry.series import Series

OPENAI = UpstreamName("openai")


def begun(series: Series) -> set[str]:
    """Every series that is there, and that it is at 0."""
    points = [point for family in series.page() if family.name.startswith("standby_") for point in family.points]
    counted = [point for point in points if point.name != "standby_build_info"]
    assert not [point for point in counted if point.value]
    return {
        f"{point.name}{{{','.join(f'{name}={value}' for name, value in sorted(point.labels))}}}" for point in counted
    }


def test_what_is_configured_begins_at_zero() -> None:
    series = Series({})
    begin(series, Known({OPENAI: ()}, ["default"], ["apply", "get"]))
    assert begun(series) >= {
        "standby_batch_cuts_total{reason=slack}",
        "standby_batch_tier_losses_total{upstream=openai}",
        "standby_deadline_results_total{policy=default,result=missed,tier=batch}",
        "standby_decisions_total{policy=default,reason=deadline_short,tier=standard}",
        "standby_decisions_total{policy=default,reason=deadline_allows,tier=batch}",
        "standby_policy_reloads_total{result=refused}",
        "standby_store_failures_total{op=apply}",
        "standby_store_seconds_count{op=get}",
        "standby_webhooks_total{outcome=failed}",
    }
    assert not [name for name in begun(series) if "model=" in name], "no model is known yet"


def test_a_model_begins_with_all_that_can_be_counted_for_it() -> None:
    series = Series({})
    begin_model(series, OPENAI, "mini", ["default"])
    pair = "model=mini,upstream=openai"
    assert begun(series) >= {
        "standby_spend_usd_total{kind=duplicate,model=mini,tier=batch,upstream=openai}",
        "standby_counterfactual_spend_usd_total{model=mini,policy=default,upstream=openai}",
        "standby_provider_rate_limited_total{limit=tokens,model=mini,upstream=openai}",
        "standby_upstream_errors_total{kind=unreachable,model=mini,upstream=openai}",
        f"standby_batch_turnaround_seconds_count{{{pair}}}",
        f"standby_batch_size_lines_count{{{pair}}}",
        "standby_batches_total{model=mini,outcome=expired,upstream=openai}",
    }


def test_what_observing_may_count_begins_under_its_rule() -> None:
    series = Series({})
    begin_observed(series, OPENAI, "mini", "careful")
    labels = "model=mini,policy=careful"
    assert begun(series) >= {
        f"standby_observed_counterfactual_spend_usd_total{{{labels},upstream=openai}}",
        f"standby_observed_spend_usd_total{{{labels},tier=batch,upstream=openai}}",
    }

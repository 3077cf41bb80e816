import math
import re
from collections.abc import Callable

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from proxy.domain.batch import BatchState
from proxy.domain.events import LimitKind
from proxy.domain.ids import CredentialId, UpstreamName
from proxy.domain.request import Queue, QueueDepth, Stage
from proxy.domain.tier import Tier
from proxy.telemetry.gauges import Gauges, LimitView
from proxy.telemetry.series import Series

OPENAI = UpstreamName("openai")
AT = 1_790_000_000.0
LABELS = ("upstream", "model", "stage", "state", "limit", "view")


def series(bound: Callable[[str], str] = str) -> Series:
    return Series("9.9.9", bound)


def families(rendered: Series, gauges: Gauges | None = None) -> dict[str, Metric]:
    text, _ = rendered.render(gauges or Gauges(at=AT), openmetrics=True)
    return {family.name: family for family in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call]  # prometheus_client's


def gauge(rendered: Series, gauges: Gauges, name: str) -> dict[tuple[str, ...], float]:
    samples = families(rendered, gauges)[name].samples
    return {tuple(each.labels[label] for label in LABELS if label in each.labels): each.value for each in samples}


def depth(model: str, requests: int, oldest_at: float, tokens: int = 0, credential: str = "a") -> QueueDepth:
    queue = Queue(OPENAI, CredentialId(credential), "/v1/chat/completions", model)
    return QueueDepth(queue, requests, 1000, tokens, oldest_at, AT + 60)


def test_names_help_and_units_follow_the_rules_of_prometheus() -> None:
    ours = {name: family for name, family in families(series()).items() if name.startswith("standby_")}
    assert len(ours) > 30
    for name, family in ours.items():
        assert re.fullmatch(r"standby_[a-z]+(_[a-z]+)*", name)
        assert family.documentation.endswith("."), f"{name} needs a sentence of help"
        assert family.type in {"counter", "histogram", "gauge", "info"}
        if family.type == "histogram":
            assert name.endswith("_seconds")
        if family.type == "gauge":
            assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert not re.search(r"_(ms|milliseconds|minutes|hours|percent|cents|kb|mb)(_|$)", name), "base units only"


def test_no_family_is_written_twice_and_none_has_a_creation_time() -> None:
    text, _ = series().render(Gauges(at=AT), openmetrics=True)
    names = re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert b"_created" not in text


def test_the_version_is_a_label_of_the_build() -> None:
    text, _ = series().render(Gauges(at=AT), openmetrics=False)
    assert 'standby_build_info{version="9.9.9"} 1.0' in text.decode()


def test_the_process_tells_its_own_cpu_and_memory() -> None:
    text, _ = series().render(Gauges(at=AT), openmetrics=False)
    assert b"process_resident_memory_bytes" in text
    assert b"process_cpu_seconds_total" in text


def test_queues_of_one_model_are_summed_and_the_oldest_counts() -> None:
    gauges = Gauges(
        at=AT,
        queues=[
            depth("m", 3, AT - 10, tokens=30),
            depth("m", 4, AT - 50, tokens=40, credential="b"),
            depth("n", 1, AT),
        ],
    )
    rendered = series()
    assert gauge(rendered, gauges, "standby_queue_requests") == {("openai", "m"): 7, ("openai", "n"): 1}
    assert gauge(rendered, gauges, "standby_queue_tokens") == {("openai", "m"): 70, ("openai", "n"): 0}
    assert gauge(rendered, gauges, "standby_queue_oldest_seconds") == {("openai", "m"): 50, ("openai", "n"): 0}


def test_states_and_stages_are_labels() -> None:
    gauges = Gauges(
        at=AT,
        open_requests={(OPENAI, "m", Stage.QUEUED): 2, (OPENAI, "m", Stage.SUBMITTED): 5},
        open_batches={(OPENAI, "m", BatchState.IN_FLIGHT): 1},
    )
    rendered = series()
    assert gauge(rendered, gauges, "standby_open_requests") == {
        ("openai", "m", "queued"): 2,
        ("openai", "m", "submitted"): 5,
    }
    assert gauge(rendered, gauges, "standby_open_batches") == {("openai", "m", "in_flight"): 1}


def test_a_gauge_that_has_emptied_reads_zero_instead_of_vanishing() -> None:
    rendered = series()
    gauge(rendered, Gauges(at=AT, queues=[depth("m", 3, AT - 10)]), "standby_queue_requests")
    assert gauge(rendered, Gauges(at=AT + 1), "standby_queue_requests") == {("openai", "m"): 0}
    assert gauge(rendered, Gauges(at=AT + 1), "standby_queue_oldest_seconds") == {("openai", "m"): 0}


def test_the_gauges_of_models_beyond_the_bound_are_added_up() -> None:
    rendered = series(bound=lambda _: "other")
    gauges = Gauges(
        at=AT,
        queues=[depth("m", 3, AT), depth("n", 4, AT)],
        open_requests={(OPENAI, "m", Stage.QUEUED): 3, (OPENAI, "n", Stage.QUEUED): 4},
        shadow_wait_seconds={(OPENAI, "m"): 9.0, (OPENAI, "n"): 5.0},
    )
    assert gauge(rendered, gauges, "standby_queue_requests") == {("openai", "other"): 7}
    assert gauge(rendered, gauges, "standby_open_requests") == {("openai", "other", "queued"): 7}
    assert gauge(rendered, gauges, "standby_shadow_queue_seconds") == {("openai", "other"): 9}


def test_rate_limits_are_read_for_each_limit_and_view() -> None:
    gauges = Gauges(
        at=AT,
        rate_used_ratio={
            (OPENAI, "m", LimitKind.REQUESTS, LimitView.ACTUAL): 0.5,
            (OPENAI, "m", LimitKind.REQUESTS, LimitView.SHADOW): 1.75,
        },
        escalation_backlog={OPENAI: 12},
    )
    rendered = series()
    assert gauge(rendered, gauges, "standby_rate_limit_used_ratio") == {
        ("openai", "m", "requests", "actual"): 0.5,
        ("openai", "m", "requests", "shadow"): 1.75,
    }
    assert gauge(rendered, gauges, "standby_escalation_backlog_requests") == {("openai",): 12}


def test_the_process_wide_gauges_are_those_of_the_last_look() -> None:
    gauges = Gauges(
        at=AT,
        held_connections=5,
        urgent_inflight=6,
        unbooked_rows=7,
        listener_failures=8,
        event_loop_lag_seconds=0.25,
    )
    rendered = series()
    for name, value in (
        ("standby_held_connections", 5),
        ("standby_inflight_requests", 6),
        ("standby_unbooked_ledger_rows", 7),
        ("standby_listener_failures", 8),
        ("standby_event_loop_lag_seconds", 0.25),
    ):
        assert gauge(rendered, gauges, name) == {(): value}


def test_children_are_made_once_and_looked_up_by_value() -> None:
    family = series().cuts
    assert family.of("age") is family.of("age")
    assert family.of("age") is not family.of("slack")


def test_the_slack_of_a_model_for_which_nothing_waits_is_no_alarm() -> None:
    rendered = series()
    waiting = Gauges(at=AT, escalation_slack_seconds={(OPENAI, "m"): -3.0})
    assert gauge(rendered, waiting, "standby_escalation_slack_seconds") == {("openai", "m"): -3.0}
    assert gauge(rendered, Gauges(at=AT + 1), "standby_escalation_slack_seconds") == {("openai", "m"): math.inf}


def test_of_models_beyond_the_bound_the_least_slack_counts() -> None:
    gauges = Gauges(
        at=AT,
        escalation_slack_seconds={(OPENAI, "m"): 90.0, (OPENAI, "n"): 50.0},
        forecast_seconds={(OPENAI, "m"): 600.0, (OPENAI, "n"): 900.0},
        call_forecast_seconds={(OPENAI, "m", Tier.FLEX): 90.0, (OPENAI, "n", Tier.FLEX): 30.0},
        congested={(OPENAI, "m"): False, (OPENAI, "n"): True},
    )
    rendered = series(bound=lambda _: "other")
    assert gauge(rendered, gauges, "standby_escalation_slack_seconds") == {("openai", "other"): 50.0}
    assert gauge(rendered, gauges, "standby_batch_forecast_seconds") == {("openai", "other"): 900.0}
    assert gauge(rendered, gauges, "standby_call_forecast_seconds") == {("openai", "other"): 90.0}
    assert gauge(rendered, gauges, "standby_batch_tier_congested") == {("openai", "other"): 1.0}

import math
import re
from dataclasses import fields

from proxy.domain.batch import BatchState
from proxy.domain.ids import CredentialId, UpstreamName
from proxy.domain.labels import LimitKind
from proxy.domain.request import Queue, QueueDepth, Stage
from proxy.telemetry.gauges import Gauges, LimitView
from proxy.telemetry.gaugeseries import SERIES, GaugeWriter

OPENAI = UpstreamName("openai")
AT = 1_790_000_000.0


def gauge(writer: GaugeWriter, look: Gauges, name: str) -> dict[tuple[str, ...], float]:
    (family,) = (family for family in writer.page(look) if family.name == name)
    return {tuple(value for _, value in point.labels): point.value for point in family.points}


def depth(model: str, requests: int, oldest_at: float, tokens: int = 0, credential: str = "a") -> QueueDepth:
    queue = Queue(OPENAI, CredentialId(credential), "/v1/chat/completions", model)
    return QueueDepth(queue, requests, 1000, tokens, oldest_at, AT + 60)


def test_names_and_help_follow_the_rules_of_prometheus() -> None:
    names = [series.name for series in SERIES]
    assert len(names) == len(set(names)) > 20
    for series in SERIES:
        assert re.fullmatch(r"standby_[a-z]+(_[a-z]+)*", series.name)
        assert not series.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert series.meaning.endswith(".")


def test_everything_in_a_look_is_written_out() -> None:
    class Looked:
        """Notes which fields are read."""

        def __init__(self) -> None:
            self.read: set[str] = set()

        def __getattr__(self, name: str) -> object:
            self.read.add(name)
            return getattr(Gauges(at=AT), name)

    look = Looked()
    GaugeWriter(str).page(look)  # type: ignore[arg-type]  # it reads like one
    assert look.read | {"at"} == {each.name for each in fields(Gauges)}


def test_queues_of_one_model_are_summed_and_the_oldest_counts() -> None:
    gauges = Gauges(
        at=AT,
        queues=[
            depth("m", 3, AT - 10, tokens=30),
            depth("m", 4, AT - 50, tokens=40, credential="b"),
            depth("n", 1, AT),
        ],
    )
    writer = GaugeWriter(str)
    assert gauge(writer, gauges, "standby_queue_requests") == {("openai", "m"): 7, ("openai", "n"): 1}
    assert gauge(writer, gauges, "standby_queue_tokens") == {("openai", "m"): 70, ("openai", "n"): 0}
    assert gauge(writer, gauges, "standby_queue_oldest_seconds") == {("openai", "m"): 50, ("openai", "n"): 0}


def test_states_and_stages_are_labels() -> None:
    gauges = Gauges(
        at=AT,
        open_requests={(OPENAI, "m", Stage.QUEUED): 2, (OPENAI, "m", Stage.SUBMITTED): 5},
        open_batches={(OPENAI, "m", BatchState.IN_FLIGHT): 1},
    )
    writer = GaugeWriter(str)
    assert gauge(writer, gauges, "standby_open_requests") == {
        ("openai", "m", "queued"): 2,
        ("openai", "m", "submitted"): 5,
    }
    assert gauge(writer, gauges, "standby_open_batches") == {("openai", "m", "in_flight"): 1}


def test_a_gauge_that_has_emptied_reads_zero_instead_of_vanishing() -> None:
    writer = GaugeWriter(str)
    gauge(writer, Gauges(at=AT, queues=[depth("m", 3, AT - 10)]), "standby_queue_requests")
    assert gauge(writer, Gauges(at=AT + 1), "standby_queue_requests") == {("openai", "m"): 0}
    assert gauge(writer, Gauges(at=AT + 1), "standby_queue_oldest_seconds") == {("openai", "m"): 0}


def test_the_gauges_of_models_beyond_the_bound_are_added_up() -> None:
    writer = GaugeWriter(lambda _: "other")
    gauges = Gauges(
        at=AT,
        queues=[depth("m", 3, AT), depth("n", 4, AT)],
        open_requests={(OPENAI, "m", Stage.QUEUED): 3, (OPENAI, "n", Stage.QUEUED): 4},
        shadow_wait_seconds={(OPENAI, "m"): 9.0, (OPENAI, "n"): 5.0},
    )
    assert gauge(writer, gauges, "standby_queue_requests") == {("openai", "other"): 7}
    assert gauge(writer, gauges, "standby_open_requests") == {("openai", "other", "queued"): 7}
    assert gauge(writer, gauges, "standby_shadow_queue_seconds") == {("openai", "other"): 9}


def test_rate_limits_are_read_for_each_limit_and_view() -> None:
    gauges = Gauges(
        at=AT,
        rate_used_ratio={
            (OPENAI, "m", LimitKind.REQUESTS, LimitView.ACTUAL): 0.5,
            (OPENAI, "m", LimitKind.REQUESTS, LimitView.SHADOW): 1.75,
        },
        escalation_backlog={OPENAI: 12},
    )
    writer = GaugeWriter(str)
    assert gauge(writer, gauges, "standby_rate_limit_used_ratio") == {
        ("openai", "m", "requests", "actual"): 0.5,
        ("openai", "m", "requests", "shadow"): 1.75,
    }
    assert gauge(writer, gauges, "standby_escalation_backlog_requests") == {("openai",): 12}


def test_the_process_wide_gauges_are_those_of_the_last_look() -> None:
    gauges = Gauges(
        at=AT,
        held_connections=5,
        urgent_inflight=6,
        unbooked_rows=7,
        listener_failures=8,
        event_loop_lag_seconds=0.25,
        replicas=3,
        lanes_held=2,
        is_leader=True,
    )
    writer = GaugeWriter(str)
    for name, value in (
        ("standby_held_connections", 5),
        ("standby_inflight_requests", 6),
        ("standby_unbooked_ledger_rows", 7),
        ("standby_listener_failures", 8),
        ("standby_event_loop_lag_seconds", 0.25),
        ("standby_replicas", 3),
        ("standby_lanes_held", 2),
        ("standby_leader", 1),
    ):
        assert gauge(writer, gauges, name) == {(): value}


def test_the_slack_of_a_model_for_which_nothing_waits_is_no_alarm() -> None:
    writer = GaugeWriter(str)
    waiting = Gauges(at=AT, escalation_slack_seconds={(OPENAI, "m"): -3.0})
    assert gauge(writer, waiting, "standby_escalation_slack_seconds") == {("openai", "m"): -3.0}
    assert gauge(writer, Gauges(at=AT + 1), "standby_escalation_slack_seconds") == {("openai", "m"): math.inf}


def test_of_models_beyond_the_bound_the_least_slack_counts() -> None:
    gauges = Gauges(
        at=AT,
        escalation_slack_seconds={(OPENAI, "m"): 90.0, (OPENAI, "n"): 50.0},
        forecast_seconds={(OPENAI, "m"): 600.0, (OPENAI, "n"): 900.0},
        congested={(OPENAI, "m"): False, (OPENAI, "n"): True},
    )
    writer = GaugeWriter(lambda _: "other")
    assert gauge(writer, gauges, "standby_escalation_slack_seconds") == {("openai", "other"): 50.0}
    assert gauge(writer, gauges, "standby_batch_forecast_seconds") == {("openai", "other"): 900.0}
    assert gauge(writer, gauges, "standby_batch_tier_congested") == {("openai", "other"): 1.0}


def test_batches_at_the_provider_tell_their_age_and_the_last_word_about_them() -> None:
    gauges = Gauges(at=AT, oldest_batch_seconds={(OPENAI, "m"): 7200.0}, poll_age_seconds={(OPENAI, "m"): 42.0})
    writer = GaugeWriter(str)
    assert gauge(writer, gauges, "standby_batch_oldest_seconds") == {("openai", "m"): 7200.0}
    assert gauge(writer, gauges, "standby_batch_poll_age_seconds") == {("openai", "m"): 42.0}
    assert gauge(writer, Gauges(at=AT + 1), "standby_batch_oldest_seconds") == {("openai", "m"): 0.0}

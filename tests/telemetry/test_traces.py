"""Spans as the SDK's own exporter in memory gets them, and as a real receiver of OTLP over HTTP reads them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Protocol

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from proxy.domain.decision import Reason
from proxy.domain.events import (
    AnyEvent,
    BatchCut,
    BatchSettled,
    BatchSubmitted,
    CallFinished,
    RequestDecided,
    RequestEscalated,
    RequestFinished,
)
from proxy.domain.ids import RequestId
from proxy.domain.labels import OutcomeLabel
from proxy.telemetry import traces
from proxy.telemetry.traces import Traces
from proxy.telemetry.tracing import Settings
from tests.world import World, play

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Samples(Protocol):
    """The fixture of conftest.py, as far as it is used here."""

    decided: RequestDecided
    call: CallFinished
    finished: RequestFinished
    escalated: RequestEscalated
    cut: BatchCut
    submitted: BatchSubmitted
    settled: BatchSettled

    @property
    def events(self) -> list[AnyEvent]: ...


def spans_of(*events: AnyEvent) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    made = Traces(SimpleSpanProcessor(exporter))
    for event in events:
        made.listen(event)
    made.close()
    return list(exporter.get_finished_spans())


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> tuple[float, float]:
    return (span.start_time or 0) / 1e9, (span.end_time or 0) / 1e9


def test_an_urgent_call_is_a_span_from_its_arrival_to_its_answer(samples: Samples) -> None:
    (span,) = spans_of(replace(samples.decided, reason=Reason.NO_DEADLINE), samples.call)
    assert (span.name, span.kind) == ("chat gpt-5-mini", SpanKind.SERVER)
    assert seconds(span) == pytest.approx((samples.call.started_at, samples.call.finished_at))
    found = attributes(span)
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.request.model"] == "gpt-5-mini"
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (100, 20)
    assert found["http.response.status_code"] == 200
    assert (found["standby.reason"], found["standby.policy"], found["standby.upstream"]) == (
        "no_deadline",
        "default",
        "openai",
    )
    assert found["standby.request_id"] == samples.call.request_id
    assert found["standby.paid_usd"] == 0.5
    assert span.status.status_code is StatusCode.UNSET


def test_a_deferred_request_is_one_span_with_its_escalation_and_a_link_to_its_batch(samples: Samples) -> None:
    life = (samples.cut, samples.submitted, samples.decided, samples.escalated, samples.finished, samples.settled)
    request, *children, batch = spans_of(*life)
    assert seconds(request) == pytest.approx((samples.finished.accepted_at, samples.finished.at))
    assert attributes(request)["standby.slack_seconds"] == 3600.0
    assert attributes(request)["standby.saved_usd"] == 0.25
    (escalated,) = request.events
    assert escalated.name == "escalated"
    assert dict(escalated.attributes or {})["standby.reason"] == "deadline"
    (link,) = request.links
    assert batch.context is not None
    assert (link.context.trace_id, link.context.span_id) == (batch.context.trace_id, batch.context.span_id)
    assert [child.name for child in children] == ["submit", "at the provider"]
    assert {child.parent.span_id if child.parent else 0 for child in children} == {batch.context.span_id}
    assert attributes(batch)["standby.provider_batch_id"] == "batch_abc"
    assert attributes(batch)["standby.lines"] == 10


def test_without_a_parent_the_trace_is_found_by_the_requests_own_id(samples: Samples) -> None:
    (span,) = spans_of(samples.decided, samples.finished)
    assert span.context is not None
    assert f"req-{span.context.trace_id:032x}" == samples.finished.request_id
    (elsewhere,) = spans_of(samples.finished)
    assert elsewhere.context is not None
    assert elsewhere.context.trace_id == span.context.trace_id, "another process would have made it the same"


def test_the_clients_span_is_the_parent(samples: Samples) -> None:
    decided = replace(samples.decided, traceparent=f"00-{TRACE}-{PARENT}-01")
    (span,) = spans_of(decided, samples.finished)
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


def test_a_client_that_does_not_sample_is_not_sampled(samples: Samples) -> None:
    assert spans_of(replace(samples.decided, traceparent=f"00-{TRACE}-{PARENT}-00"), samples.finished) == []


@pytest.mark.parametrize("said", ["", "00", "x" * 10**5, f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_parent_that_cannot_be_read_is_none(samples: Samples, said: str) -> None:
    (span,) = spans_of(replace(samples.decided, traceparent=said), samples.finished)
    assert span.parent is None


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [(400, OutcomeLabel.ERROR, "400"), (None, OutcomeLabel.EXPIRED, "expired")],
)
def test_a_failure_is_an_error_with_its_kind(
    samples: Samples, status: int | None, outcome: OutcomeLabel, error: str
) -> None:
    (span,) = spans_of(replace(samples.finished, status=status, outcome=outcome, row=None, tier=None))
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == error
    assert "standby.paid_usd" not in attributes(span)


def test_a_batch_whose_beginning_was_elsewhere_has_a_span_all_the_same(samples: Samples) -> None:
    child, batch = spans_of(samples.settled)
    assert child.name == "at the provider"
    assert seconds(batch) == pytest.approx((samples.settled.at - 1000.0, samples.settled.at))


def test_calls_that_buy_nothing_have_no_span_and_every_event_can_be_heard(samples: Samples) -> None:
    assert spans_of(replace(samples.call, row=None)) == []
    spans_of(*samples.events)


def test_what_is_remembered_is_bounded(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "REMEMBERED_MAX", 3)
    made = Traces(SimpleSpanProcessor(InMemorySpanExporter()))
    for number in range(100):
        made.listen(replace(samples.decided, request_id=RequestId(f"req-{number:032x}")))
        made.listen(samples.escalated)
    assert len(made._begun) == 3
    for _ in range(100):
        made.listen(replace(samples.escalated, request_id=RequestId(f"req-{99:032x}")))
    assert len(made._begun[RequestId(f"req-{99:032x}")].escalations) == traces.ESCALATIONS_MAX


@contextmanager
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A real collector's front door: takes OTLP's protobuf by POST at /v1/traces."""
    bodies: list[bytes] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's own name
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Door)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_a_running_proxy_sends_its_spans_and_no_prompt_answer_or_key_among_them(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        told = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        now = await world.ask("a secret prompt", key="sk-secret", headers=told)
        later = await world.ask("another secret prompt", key="sk-secret", deadline="4h")
        assert (now.tier, later.tier) == ("standard", "batch")
        assert "secret prompt" in later.text
        await world.settled()

    with receiver() as (endpoint, bodies):
        play(tmp_path, story, tracing=Settings(enabled=True, endpoint=endpoint))
    sent = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    groups = [group for request in sent for group in request.resource_spans]
    spans = [span for group in groups for scope in group.scope_spans for span in scope.spans]
    assert sorted(span.name for span in spans) == [
        "at the provider",
        "batch gpt-4o-mini",
        "chat gpt-4o-mini",
        "chat gpt-4o-mini",
        "submit",
    ]
    assert [span.parent_span_id.hex() for span in spans if span.trace_id.hex() == TRACE] == [PARENT]
    service = {pair.key: pair.value.string_value for pair in groups[0].resource.attributes}
    assert service["service.name"] == "standby"
    everything = b"".join(bodies)
    assert b"standby.request_id" in everything
    assert b"secret" not in everything

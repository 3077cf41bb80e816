"""OpenTelemetry spans, made from events: one for each request, one for each batch. The only module that knows the SDK,
and it is imported only where tracing is wanted.

A request's span goes from its arrival to its answer, and is made when that is there: nothing is kept open for hours.
A client's `traceparent` is its parent, as long as the process that took the request in also sees its end. Otherwise the
trace id is the request's own id; a batch's trace and span ids follow from its id in the same way, and the spans of its
requests link to it, whichever process makes them. Names follow the GenAI conventions where these have one. Never a body
or a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy import __version__
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
from proxy.domain.ids import BatchId, RequestId
from proxy.domain.labels import OutcomeLabel
from proxy.domain.money import LedgerRow
from proxy.telemetry.happenings import short
from proxy.telemetry.metrics import outcome_of

REMEMBERED_MAX = 50_000
"""How many requests that are under way, and batches, are remembered; of one beyond, less can be told."""
ESCALATIONS_MAX = 8
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderation",
    "/v1/images/generations": "image_generation",
}
"""`gen_ai.operation.name`, by route; the last two are names of our own, for want of one."""

Attributes = dict[str, str | int | float | bool]
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class _Begun:
    """What is known of a request that is under way."""

    decided: RequestDecided
    escalations: list[RequestEscalated] = field(default_factory=list)


@dataclass(slots=True)
class _Flown:
    """What is known of a batch that is under way."""

    cut: BatchCut
    submitted: BatchSubmitted | None = None


class _Ids(RandomIdGenerator):
    """Random ids, unless the next ones are given. Spans are made one after the other, by one thread."""

    trace_id: int | None = None
    span_id: int | None = None

    def generate_trace_id(self) -> int:
        given, self.trace_id = self.trace_id, None
        return given or super().generate_trace_id()

    def generate_span_id(self) -> int:
        given, self.span_id = self.span_id, None
        return given or super().generate_span_id()


class Traces:
    """Listens to every event and hands finished spans to `processor`."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._ids = _Ids()
        resource = Resource.create({SERVICE_VERSION: __version__, **_service_name()})
        self._provider = TracerProvider(id_generator=self._ids, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("standby", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._begun: dict[RequestId, _Begun] = {}
        self._flown: dict[BatchId, _Flown] = {}

    @classmethod
    def over_http(cls, endpoint: str | None) -> "Traces":
        """To a collector that takes OTLP over HTTP, in groups, by a thread. None: where the standard variables say
        (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin), else http://localhost:4318.
        """
        where = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=where)))

    def close(self) -> None:
        """Send what is left. Blocks for as long as the exporter tries."""
        self._provider.shutdown()

    def listen(self, event: AnyEvent) -> None:
        """Remember the event, or make the spans that it completes."""
        match event:
            case RequestDecided() if event.reason is not Reason.PASSTHROUGH:
                _remember(self._begun, event.request_id, _Begun(event))
            case RequestEscalated():
                begun = self._begun.get(event.request_id)
                if begun is not None and len(begun.escalations) < ESCALATIONS_MAX:
                    begun.escalations.append(event)
            case CallFinished():
                self._on_call(event)
            case RequestFinished():
                self._on_finished(event)
            case BatchCut():
                _remember(self._flown, event.batch_id, _Flown(event))
            case BatchSubmitted():
                if (flown := self._flown.get(event.batch_id)) is not None:
                    flown.submitted = event
            case BatchSettled():
                self._on_settled(event)
            case _:
                return

    def _on_call(self, event: CallFinished) -> None:
        if event.row is None:
            return
        attributes = _call_attributes(event, outcome_of(event.status))
        attributes["standby.overhead_seconds"] = event.overhead_seconds
        if event.first_chunk_seconds is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = event.first_chunk_seconds
        self._request_span(event, attributes, event.started_at, event.finished_at, None)

    def _on_finished(self, event: RequestFinished) -> None:
        attributes = _call_attributes(event, event.outcome)
        self._request_span(event, attributes, event.accepted_at, event.at, event.batch_id)

    def _request_span(
        self,
        event: CallFinished | RequestFinished,
        attributes: Attributes,
        began_at: float,
        ended_at: float,
        batch_id: BatchId | None,
    ) -> None:
        begun = self._begun.pop(event.request_id, None)
        context = Context()
        if begun is not None:
            attributes["standby.reason"] = begun.decided.reason
            attributes["standby.tier"] = begun.decided.tier
            context = self._parent(begun.decided.traceparent)
        self._ids.trace_id = (
            None if trace.get_current_span(context).get_span_context().is_valid else _id(event.request_id)
        )
        span = self._tracer.start_span(
            f"{attributes['gen_ai.operation.name']} {short(event.model)}".rstrip(),
            context,
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
            links=[] if batch_id is None else [trace.Link(_batch_context(batch_id))],
            start_time=_nanoseconds(began_at),
        )
        self._ids.trace_id = None
        for escalation in begun.escalations if begun is not None else ():
            span.add_event("escalated", _escalation_attributes(escalation), _nanoseconds(escalation.at))
        if attributes["standby.outcome"] != OutcomeLabel.OK:
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(ended_at))

    def _on_settled(self, event: BatchSettled) -> None:
        flown = self._flown.pop(event.batch_id, None)
        submitted = None if flown is None else flown.submitted
        submitted_at = event.at - event.turnaround_seconds if submitted is None else submitted.at
        context = _batch_context(event.batch_id)
        self._ids.trace_id, self._ids.span_id = context.trace_id, context.span_id
        batch = self._tracer.start_span(
            f"batch {short(event.model)}",
            Context(),
            attributes=_batch_attributes(event, flown),
            start_time=_nanoseconds(submitted_at if flown is None else flown.cut.at),
        )
        self._ids.trace_id = self._ids.span_id = None
        inside = trace.set_span_in_context(batch, Context())
        spans = [("at the provider", submitted_at, submitted_at + event.turnaround_seconds)]
        if flown is not None:
            spans.insert(0, ("submit", flown.cut.at, submitted_at))
        for name, began_at, ended_at in spans:
            child = self._tracer.start_span(name, inside, kind=trace.SpanKind.CLIENT, start_time=_nanoseconds(began_at))
            child.end(_nanoseconds(ended_at))
        batch.end(_nanoseconds(event.at))

    def _parent(self, traceparent: str | None) -> Context:
        """The client's span, where it has told of one that can be read."""
        return Context() if traceparent is None else self._propagator.extract({"traceparent": traceparent}, Context())


def _call_attributes(event: CallFinished | RequestFinished, outcome: OutcomeLabel) -> Attributes:
    attributes: Attributes = {
        "gen_ai.operation.name": OPERATIONS.get(event.endpoint, "other"),
        "gen_ai.provider.name": event.upstream,
        "gen_ai.request.model": short(event.model),
        "standby.request_id": event.request_id,
        "standby.tenant": event.tenant,
        "standby.upstream": event.upstream,
        "standby.policy": event.policy,
        "standby.outcome": outcome,
    }
    if event.tier is not None:
        attributes["standby.served_tier"] = event.tier if event.row is None else event.row.tier
    if event.status is not None:
        attributes["http.response.status_code"] = event.status
    if outcome is not OutcomeLabel.OK:
        attributes["error.type"] = str(event.status or outcome)
    if event.deadline_at is not None:
        ended_at = event.finished_at if isinstance(event, CallFinished) else event.at
        attributes["standby.slack_seconds"] = event.deadline_at - ended_at
    return attributes if event.row is None else attributes | _amounts(event.row)


def _amounts(row: LedgerRow) -> Attributes:
    """Tokens and dollars; what is unknown is left out."""
    amounts = {"standby.paid_usd": row.paid_usd, "standby.saved_usd": row.saved_usd}
    found: Attributes = {name: float(amount) for name, amount in amounts.items() if amount is not None}
    if row.usage is not None:
        found["gen_ai.usage.input_tokens"] = row.usage.input_tokens
        found["gen_ai.usage.output_tokens"] = row.usage.output_tokens
        found["gen_ai.usage.cache_read.input_tokens"] = row.usage.cached_tokens
    if row.batch_id is not None:
        found["standby.batch_id"] = row.batch_id
    return found


def _escalation_attributes(event: RequestEscalated) -> Attributes:
    return {
        "standby.tier": event.tier,
        "standby.reason": event.reason,
        "standby.slack_seconds": event.slack_seconds,
        "standby.blind": event.blind,
    }


def _batch_attributes(event: BatchSettled, flown: _Flown | None) -> Attributes:
    attributes: Attributes = {
        "gen_ai.provider.name": event.upstream,
        "gen_ai.request.model": short(event.model),
        "standby.batch_id": event.batch_id,
        "standby.outcome": event.outcome,
        "standby.answered": event.answered,
        "standby.superseded": event.superseded,
        "standby.refused": event.refused,
        "standby.missing": event.missing,
    }
    if flown is not None:
        attributes["standby.cut_reason"] = flown.cut.reason
        attributes["standby.lines"] = flown.cut.lines
        if flown.submitted is not None:
            attributes["standby.provider_batch_id"] = flown.submitted.provider_id
    return attributes


def _batch_context(batch_id: BatchId) -> trace.SpanContext:
    """Where a batch's span is, whoever makes it."""
    span_id = int.from_bytes(blake2b(batch_id.encode(), digest_size=8).digest())
    return trace.SpanContext(_id(batch_id), span_id or 1, is_remote=True, trace_flags=trace.TraceFlags(1))


def _id(name: str) -> int:
    """The 128 bits of an id of ours as a trace id."""
    return int(name.rpartition("-")[2], 16)


def _service_name() -> Mapping[str, str]:
    """What the spans' service is called, unless a standard variable says otherwise."""
    known = Resource.create().attributes.get("service.name", "")
    return {"service.name": "standby"} if str(known).startswith("unknown_service") else {}


def _nanoseconds(at: float) -> int:
    return int(at * 1_000_000_000)


def _remember(known: dict[Key, Value], key: Key, value: Value) -> None:
    known[key] = value
    if len(known) > REMEMBERED_MAX:
        del known[next(iter(known))]

"""Which event changes which series: one table, one small update each. The series are in `proxy.telemetry.series`.

Counters and histograms come from events, gauges from a `Gauges` that is handed over at each scrape. Label values are
bounded: whatever a client can make up (a model, a route) is admitted up to a number of distinct values, and is `other`
from then on. No id of a request, batch or tenant is ever a label.

Money that is unknown is counted as an unpriced purchase, never added as 0. Savings are a difference of two counters,
`standby_counterfactual_spend_usd_total - standby_spend_usd_total`, because savings can shrink and a counter cannot. An
answer whose cost is unknown is in neither, so that no saving is ever claimed for it.
"""

from collections.abc import Callable, Mapping
from math import inf

from proxy import __version__
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
from proxy.domain.labels import OutcomeLabel
from proxy.domain.money import LedgerRow
from proxy.domain.tier import Tier
from proxy.telemetry.beginnings import LINE_RESULTS, Known, begin, begin_model, begin_observed, begin_policy
from proxy.telemetry.gauges import Gauges
from proxy.telemetry.gaugeseries import GaugeWriter
from proxy.telemetry.pages import Page, write
from proxy.telemetry.series import Series

DISTINCT_MAX = 200
"""How many different models, and how many different routes, get labels of their own."""

LABEL_CHARACTERS_MAX = 120
"""A longer label value is nobody's model."""

OTHER = "other"
NONE = "none"
"""The label of what is not there: the model of a file upload, the tier of a request that bought nothing."""

NEVER = -inf
"""The slack of a request that was not answered."""

CLIENT_LEFT_STATUS = 499
ERROR_STATUS_MIN = 400


class _Bound:
    """Admits a limited number of distinct label values."""

    def __init__(self, distinct_max: int) -> None:
        self._distinct_max = distinct_max
        self._admitted: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._admitted:
            return value
        if not value:
            return NONE
        if len(self._admitted) >= self._distinct_max or len(value) > LABEL_CHARACTERS_MAX:
            return OTHER
        self._admitted.add(value)
        return value


class Metrics:
    """Listens to every event and renders the whole of `/metrics`. Known models are admitted before any other."""

    def __init__(self, known: Known | None = None, *, distinct_max: int = DISTINCT_MAX) -> None:
        self._model = _Bound(distinct_max)
        self._route = _Bound(distinct_max)
        self._code = _Bound(distinct_max)
        self._known = known or Known()
        self._begun: set[tuple[str, str]] = set()
        self._series = Series({"version": __version__, "price_map": self._known.price_map})
        self._gauges = GaugeWriter(self._model)
        self._updates = self._table()
        begin(self._series, self._known)
        for upstream, models in self._known.models.items():
            for model in models:
                self._begin_model(upstream, self._model(model))

    def listen(self, event: AnyEvent) -> None:
        """Update the series that the event is about."""
        self._updates[type(event)](event)

    def store_took(self, op: str, seconds: float) -> None:
        """The store has done what was asked of it."""
        self._series.store_seconds.of(op).observe(seconds)

    def store_failed(self, op: str) -> None:
        """The store could not do what was asked of it."""
        self._series.store_failures.of(op).inc()

    def page(self, gauges: Gauges) -> Page:
        """Everything that this process has to tell."""
        return (*self._series.page(), *self._gauges.page(gauges))

    def render(self, gauges: Gauges, *, openmetrics: bool) -> tuple[bytes, str]:
        """The page as it is written out, and its content type."""
        return write(self.page(gauges), openmetrics=openmetrics)

    def _table(self) -> Mapping[type[AnyEvent], Callable[..., None]]:
        return {
            RequestDecided: self._on_decided,
            RequestRejected: self._on_rejected,
            CallFinished: self._on_call_finished,
            RequestAccepted: self._on_accepted,
            RequestAttached: self._on_attached,
            RequestFinished: self._on_request_finished,
            WasteBooked: self._on_waste_booked,
            NativeBatchBooked: self._on_native_booked,
            RequestEscalated: self._on_escalated,
            BatchCut: self._on_cut,
            BatchSubmitted: self._on_submitted,
            BatchSettled: self._on_settled,
            ForecastSettled: self._on_forecast_settled,
            StoreWarned: self._on_store_warned,
            LanesTaken: self._on_lanes_taken,
            LanesLost: self._on_lanes_lost,
            BatchFilesDeleted: self._on_files_deleted,
            RateLimited: self._on_rate_limited,
            UpstreamFailed: self._on_upstream_failed,
            ShadowLimited: self._on_shadow_limited,
            StepFailed: self._on_step_failed,
            VirtualBatchMoved: self._on_virtual_moved,
            WebhookCalled: self._on_webhook_called,
            BatchTierLost: self._on_tier_lost,
            PolicyReloaded: self._on_reloaded,
            ReloadRefused: self._on_reload_refused,
        }

    def _on_decided(self, event: RequestDecided) -> None:
        self._series.decisions.of(event.tier, event.reason, event.policy).inc()
        if event.reason is Reason.OBSERVED:
            begin_observed(self._series, event.upstream, self._model(event.model), event.policy)

    def _on_rejected(self, event: RequestRejected) -> None:
        self._series.rejections.of(str(event.status), self._code(event.code)).inc()

    def _on_call_finished(self, event: CallFinished) -> None:
        series, model, outcome = self._series, self._model(event.model), outcome_of(event.status)
        series.requests.of(event.upstream, model, event.tier, event.policy, outcome).inc()
        series.overheads.of(self._route(event.endpoint)).observe(event.overhead_seconds)
        if outcome is not OutcomeLabel.CANCELLED:
            seconds = event.finished_at - event.started_at
            series.durations.of(event.tier, model).observe(seconds, _exemplar(event.request_id))
            if event.deadline_at is not None:
                at = (
                    event.finished_at if event.row is None else event.row.booked_at
                )  # as whoever reads the ledger sees it
                self._judge(event.policy, event.tier, event.deadline_at - at)
        if event.first_chunk_seconds is not None:
            series.first_chunks.of(model).observe(event.first_chunk_seconds)
        if event.row is not None:
            self._book(event.row)

    def _on_accepted(self, event: RequestAccepted) -> None:
        self._begin_model(event.upstream, self._model(event.model))
        self._series.accepted.of(event.upstream, self._model(event.model), event.policy).inc()
        if event.best_effort:
            self._series.best_effort.of(event.upstream, self._model(event.model)).inc()

    def _on_attached(self, event: RequestAttached) -> None:
        self._series.attached.of(event.by).inc()

    def _on_request_finished(self, event: RequestFinished) -> None:
        series, model, tier = self._series, self._model(event.model), event.tier or NONE
        series.requests.of(event.upstream, model, tier, event.policy, event.outcome).inc()
        if event.tier is not None:
            seconds = event.at - event.accepted_at
            series.durations.of(tier, model).observe(seconds, _exemplar(event.request_id))
        if event.outcome is OutcomeLabel.EXPIRED:
            self._judge(event.policy, tier, NEVER)
        elif event.outcome is not OutcomeLabel.CANCELLED:
            self._judge(event.policy, tier, event.deadline_at - event.at)
        if event.row is not None:
            self._book(event.row)

    def _on_waste_booked(self, event: WasteBooked) -> None:
        self._book(event.row)

    def _on_native_booked(self, event: NativeBatchBooked) -> None:
        self._book(event.row)

    def _on_escalated(self, event: RequestEscalated) -> None:
        pair = event.upstream, self._model(event.model)
        self._series.escalations.of(*pair, event.tier, event.reason).inc()
        self._series.escalation_slacks.of(*pair).observe(max(0.0, event.slack_seconds))

    def _on_cut(self, event: BatchCut) -> None:
        self._series.cuts.of(event.reason).inc()
        self._series.sizes.of(event.upstream, self._model(event.model)).observe(event.lines)

    def _on_submitted(self, event: BatchSubmitted) -> None:
        self._series.submitted.of(event.upstream, self._model(event.model)).inc()

    def _on_settled(self, event: BatchSettled) -> None:
        pair = event.upstream, self._model(event.model)
        self._series.batches.of(*pair, event.outcome).inc()
        self._series.turnarounds.of(*pair).observe(event.turnaround_seconds)
        for result in LINE_RESULTS:
            self._series.lines.of(*pair, result).inc(getattr(event, result))

    def _on_forecast_settled(self, event: ForecastSettled) -> None:
        result = "covered" if event.covered else "missed"
        quantile = f"{event.quantile:g}"
        pair = event.upstream, self._model(event.model)
        if event.tier is Tier.BATCH:
            self._series.forecasts.of(*pair, quantile, result).inc()
        else:
            self._series.call_forecasts.of(*pair, event.tier, quantile, result).inc(event.count)

    def _on_store_warned(self, _: StoreWarned) -> None:
        self._series.store_warnings.of().inc()

    def _on_lanes_taken(self, event: LanesTaken) -> None:
        self._series.lane_changes.of("taken").inc(len(event.lanes))

    def _on_lanes_lost(self, event: LanesLost) -> None:
        self._series.lane_changes.of("lost").inc(len(event.lanes))

    def _on_files_deleted(self, event: BatchFilesDeleted) -> None:
        self._series.files_deleted.of().inc(event.files)

    def _on_rate_limited(self, event: RateLimited) -> None:
        pair = event.upstream, self._model(event.model)
        self._series.rate_limited.of(*pair, event.limit).inc()
        self._series.upstream_errors.of(*pair, FailureKind.RATE_LIMITED).inc()

    def _on_upstream_failed(self, event: UpstreamFailed) -> None:
        self._series.upstream_errors.of(event.upstream, self._model(event.model), event.kind).inc()

    def _on_shadow_limited(self, event: ShadowLimited) -> None:
        self._series.shadow_limited.of(event.upstream, self._model(event.model), event.limit).inc()

    def _on_virtual_moved(self, event: VirtualBatchMoved) -> None:
        self._series.virtual_batches.of(event.status).inc()

    def _on_webhook_called(self, event: WebhookCalled) -> None:
        self._series.webhooks.of("failed" if event.error else "delivered").inc()

    def _on_step_failed(self, event: StepFailed) -> None:
        self._series.step_failures.of(event.step).inc()

    def _on_tier_lost(self, event: BatchTierLost) -> None:
        self._series.tier_losses.of(event.upstream).inc()

    def _on_reloaded(self, event: PolicyReloaded) -> None:
        self._series.reloads.of("applied").inc()
        for policy in event.change.added:
            begin_policy(self._series, policy)

    def _on_reload_refused(self, _: ReloadRefused) -> None:
        self._series.reloads.of("refused").inc()

    def _begin_model(self, upstream: str, model: str) -> None:
        """What may be counted for a model begins at 0 before its first deferred request is bought."""
        if (upstream, model) not in self._begun:
            self._begun.add((upstream, model))
            begin_model(self._series, upstream, model, self._known.policies)

    def _judge(self, policy: str, tier: str, slack_seconds: float) -> None:
        """Count one deadline as met or missed."""
        self._series.deadlines.of(policy, tier, "met" if slack_seconds >= 0 else "missed").inc()
        self._series.slacks.of(policy).observe(max(0.0, slack_seconds))

    def _book(self, row: LedgerRow) -> None:
        series, model = self._series, self._model(row.model)
        purchase = row.upstream, model, row.tier, row.kind
        if row.paid_usd is None or row.list_usd is None:
            series.unpriced.of(*purchase).inc()
        if row.paid_usd is not None:
            series.spend.of(*purchase).inc(float(row.paid_usd))
        if row.paid_usd is not None and row.list_usd is not None:
            series.counterfactual.of(row.upstream, model, row.policy).inc(float(row.list_usd))
        if row.observed_tier is not None and row.observed_usd is not None and row.list_usd is not None:
            observed = row.upstream, model, row.policy
            series.observed_spend.of(*observed, row.observed_tier).inc(float(row.observed_usd))
            series.observed_counterfactual.of(*observed).inc(float(row.list_usd))
        if row.usage is not None:
            tokens = row.usage
            series.tokens.of(model, row.tier, "input").inc(max(0, tokens.input_tokens - tokens.cached_tokens))
            series.tokens.of(model, row.tier, "cached_input").inc(tokens.cached_tokens)
            series.tokens.of(model, row.tier, "output").inc(tokens.output_tokens)


def outcome_of(status: int) -> OutcomeLabel:
    """How a call ended that was answered so."""
    if status == CLIENT_LEFT_STATUS:
        return OutcomeLabel.CANCELLED
    return OutcomeLabel.OK if status < ERROR_STATUS_MIN else OutcomeLabel.ERROR


def _exemplar(request_id: str) -> dict[str, str]:
    return {"request_id": request_id}

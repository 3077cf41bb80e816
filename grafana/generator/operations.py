"""The operations view: each queue and its batches, for whoever keeps them running."""

from grafana.generator.dashboard import Dashboard, Row
from grafana.generator.panels import Bars, Color, Column, Lines, Query, Stat, Step, Table, Unit
from grafana.generator.queries import PAIR, RANGE, UPSTREAM, WASTE, grown, now, per_hour, per_minute, quantile

QUEUE = "upstream, model"
NAME = "{{upstream}} {{model}}"
SILENCE = (Step(Color.GREEN), Step(Color.YELLOW, 330), Step(Color.RED, 600))
TIGHT = (Step(Color.TEXT), Step(Color.RED, -1e9), Step(Color.YELLOW, 300), Step(Color.GREEN, 900))
"""Nothing is no alarm."""
IN_FLIGHT = f'{PAIR}, state="in_flight"'

NOW = Row(
    "Now",
    (
        Stat(
            "Deferred requests waiting",
            "Without an answer yet, wherever they are.",
            Unit.COUNT,
            (Query(now("standby_open_requests")),),
            decimals=0,
        ),
        Stat(
            "Batches at providers",
            "Submitted, and not ended.",
            Unit.COUNT,
            (Query(now("standby_open_batches", IN_FLIGHT)),),
            decimals=0,
        ),
        Stat(
            "Longest silence about a batch",
            "Since the provider last said how a batch is doing. The usual pace is at most five minutes.",
            Unit.SECONDS,
            (Query(now("standby_batch_poll_age_seconds", how="max")),),
            steps=SILENCE,
            decimals=0,
        ),
        Stat(
            "Time until one has to move",
            "The tightest of all queues. Below 0 it is late.",
            Unit.SECONDS,
            (Query(f"{now('standby_escalation_slack_seconds', how='min')} < +Inf"),),
            steps=TIGHT,
            decimals=0,
        ),
        Stat(
            "Waiting for the rate limit",
            "Requests that should be bought synchronously by now.",
            Unit.COUNT,
            (Query(now("standby_escalation_backlog_requests", UPSTREAM)),),
            steps=(Step(Color.GREEN), Step(Color.YELLOW, 1), Step(Color.RED, 100)),
            decimals=0,
        ),
        Stat(
            "Processes, of them leading",
            "All that share the store, and how many of them sweep it: exactly one.",
            Unit.COUNT,
            (
                Query("max(standby_replicas)", "processes"),
                Query("sum(standby_leader)", "leading"),
            ),
            decimals=0,
        ),
        Table(
            "Queues",
            "One row for each upstream and model.",
            Unit.COUNT,
            (
                Query(now("standby_queue_requests", by=QUEUE)),
                Query(now("standby_queue_oldest_seconds", by=QUEUE, how="max")),
                Query(now("standby_open_batches", IN_FLIGHT, QUEUE)),
                Query(now("standby_batch_oldest_seconds", by=QUEUE, how="max")),
                Query(now("standby_batch_forecast_seconds", by=QUEUE, how="max")),
                Query(now("standby_batch_poll_age_seconds", by=QUEUE, how="max")),
                Query(f"{now('standby_escalation_slack_seconds', by=QUEUE, how='min')} < +Inf"),
                Query(f"{now('standby_batch_tier_congested', by=QUEUE, how='max')}"),
            ),
            width=24,
            height=7,
            decimals=0,
            columns=(
                Column("upstream", "Upstream"),
                Column("model", "Model"),
                Column("Value #A", "Queued"),
                Column("Value #B", "Oldest queued", Unit.SECONDS),
                Column("Value #C", "Batches out"),
                Column("Value #D", "Oldest batch", Unit.SECONDS),
                Column("Value #E", "Most are done within", Unit.SECONDS),
                Column("Value #F", "Last word about one", Unit.SECONDS, SILENCE),
                Column("Value #G", "Until one has to move", Unit.SECONDS, TIGHT),
                Column("Value #H", "Stuck", Unit.COUNT, (Step(Color.GREEN), Step(Color.RED, 1))),
            ),
        ),
    ),
)

QUEUES = Row(
    "Queues",
    (
        Lines(
            "Requests waiting for a batch",
            "Not in any batch yet.",
            Unit.COUNT,
            (Query(now("standby_queue_requests", by=QUEUE), NAME),),
        ),
        Lines(
            "Oldest of them",
            "How long it has waited.",
            Unit.SECONDS,
            (Query(now("standby_queue_oldest_seconds", by=QUEUE, how="max"), NAME),),
        ),
        Lines(
            "Time until one has to move",
            "To the synchronous tier; below 0 it is late. A line ends where nothing waits.",
            Unit.SECONDS,
            (Query(f"{now('standby_escalation_slack_seconds', by=QUEUE, how='min')} < +Inf", NAME),),
            least=None,
            steps=(Step(Color.RED), Step(Color.TEXT, 300)),
            limits=True,
        ),
        Lines(
            "Requests taken in, per minute",
            "Deferred ones; each was made durable before its client heard of it.",
            Unit.COUNT,
            (Query(per_minute("standby_accepted_requests_total", by=QUEUE), NAME),),
            stacked=True,
        ),
        Bars(
            "Why queues were cut",
            "In the time range shown.",
            Unit.COUNT,
            (Query(grown("standby_batch_cuts_total", "", "reason"), "{{reason}}"),),
            decimals=0,
        ),
        Lines(
            "Taken in without a guarantee, per minute",
            "If no batch answers them, the rate limit may not carry them in time; the answer says so.",
            Unit.COUNT,
            (Query(per_minute("standby_best_effort_requests_total", by=QUEUE), NAME),),
        ),
    ),
)

BATCHES = Row(
    "Batches",
    (
        Lines(
            "Open batches",
            "By where they are.",
            Unit.COUNT,
            (Query(now("standby_open_batches", by="state"), "{{state}}"),),
            stacked=True,
        ),
        Lines(
            "Oldest batch at the provider, and when most should be done",
            "Above its forecast a batch is one of the slow few, or stuck.",
            Unit.SECONDS,
            (
                Query(now("standby_batch_oldest_seconds", by=QUEUE, how="max"), NAME),
                Query(
                    f"{now('standby_batch_forecast_seconds', by=QUEUE, how='max')} and on (upstream, model) "
                    "standby_batch_oldest_seconds",
                    f"forecast for {NAME}",
                ),
            ),
        ),
        Lines(
            "Longest silence about a batch",
            "Since the provider last said how one is doing.",
            Unit.SECONDS,
            (Query(now("standby_batch_poll_age_seconds", by=QUEUE, how="max"), NAME),),
            steps=(Step(Color.TEXT), Step(Color.RED, 600)),
        ),
        Lines(
            "How long batches take",
            "Half of them, and nine of ten.",
            Unit.SECONDS,
            tuple(
                Query(quantile(share, "standby_batch_turnaround_seconds", PAIR, QUEUE, RANGE), f"{share:.0%} {NAME}")
                for share in (0.5, 0.9)
            ),
        ),
        Lines(
            "Lines in a batch",
            "Half of the batches are smaller, and nine of ten.",
            Unit.COUNT,
            tuple(
                Query(quantile(share, "standby_batch_size_lines", PAIR, "", RANGE), f"{share:.0%}")
                for share in (0.5, 0.9)
            ),
        ),
        Bars(
            "How batches ended",
            "In the time range shown.",
            Unit.COUNT,
            (Query(grown("standby_batches_total", by="outcome"), "{{outcome}}"),),
            decimals=0,
        ),
        Bars(
            "What became of their lines",
            "In the time range shown. Refused and missing ones are bought again.",
            Unit.COUNT,
            (Query(grown("standby_batch_lines_total", by="result"), "{{result}}"),),
            decimals=0,
        ),
        Lines(
            "Enqueued tokens of what is allowed",
            "At 1 the provider takes no more batches for the model.",
            Unit.SHARE,
            (
                Query(
                    f"{now('standby_batch_enqueued_tokens', by=QUEUE)} / "
                    f"({now('standby_batch_enqueued_tokens_limit', by=QUEUE, how='max')} > 0)",
                    NAME,
                ),
            ),
            steps=(Step(Color.TEXT), Step(Color.RED, 0.9)),
            limits=True,
            most_at_least=1,
        ),
        Lines(
            "Files deleted at providers, per minute",
            "Inputs, outputs and error files of batches that were read.",
            Unit.COUNT,
            (Query(per_minute("standby_provider_files_deleted_total", ""), "files"),),
        ),
    ),
)

RESCUE = Row(
    "Escalation and waste",
    (
        Lines(
            "Escalations per minute",
            "By the tier that was bought instead, and why.",
            Unit.COUNT,
            (Query(per_minute("standby_escalations_total", by="tier, reason"), "{{tier}}: {{reason}}"),),
            stacked=True,
        ),
        Lines(
            "Time left when an escalation began",
            "Half of them had more; one of ten had less than the lower line.",
            Unit.SECONDS,
            (
                Query(quantile(0.5, "standby_escalation_start_slack_seconds", over=RANGE), "half"),
                Query(quantile(0.1, "standby_escalation_start_slack_seconds", over=RANGE), "tightest tenth"),
            ),
        ),
        Lines(
            "Paid for nothing, per hour",
            "Answers bought twice, and purchases that brought none.",
            Unit.DOLLARS,
            (
                Query(
                    per_hour("standby_spend_usd_total", WASTE, "kind"),
                    "{{kind}}",
                ),
            ),
            stacked=True,
        ),
    ),
)

ENGINE = Row(
    "Engine and store",
    (
        Lines(
            "Steps that failed and are repeated, per minute",
            "By what was being done.",
            Unit.COUNT,
            (Query(per_minute("standby_step_failures_total", "", "step"), "{{step}}"),),
            stacked=True,
        ),
        Bars(
            "What the store was asked",
            "The most frequent questions in the time range shown.",
            Unit.COUNT,
            (Query(f"topk(8, {grown('standby_store_seconds_count', '', 'op')})", "{{op}}"),),
            decimals=0,
        ),
        Lines(
            "What the store failed to do, per minute",
            "Deferred requests are refused with a 503 meanwhile; urgent ones are served.",
            Unit.COUNT,
            (Query(per_minute("standby_store_failures_total", ""), "failures"),),
        ),
        Lines(
            "Models looked after",
            "By instance: each model's deferred requests have one buyer.",
            Unit.COUNT,
            (Query(now("standby_lanes_held", "", "instance"), "{{instance}}"),),
            stacked=True,
        ),
        Lines(
            "Models that changed hands, per minute",
            "Lost ones: the store was away for longer than a lease.",
            Unit.COUNT,
            (Query(per_minute("standby_lane_changes_total", "", "change"), "{{change}}"),),
        ),
        Lines(
            "Webhooks called, per minute",
            "One that failed is tried again.",
            Unit.COUNT,
            (Query(per_minute("standby_webhooks_total", "", "outcome"), "{{outcome}}"),),
        ),
    ),
    collapsed=True,
)

OPERATIONS = Dashboard(
    uid="standby-operations",
    title="Standby: queues and batches",
    description="Each queue and its batches: what waits, what the provider works on, what is late.",
    rows=(NOW, QUEUES, BATCHES, RESCUE, ENGINE),
    labels=("upstream", "model"),
    since="now-6h",
)

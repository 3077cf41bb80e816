"""The overview: is money saved, are deadlines met, and if not, where to look."""

from grafana.generator.dashboard import Dashboard, Row
from grafana.generator.panels import Bars, Color, Column, Lines, Query, Stat, Step, Table, Unit
from grafana.generator.queries import (
    MODEL,
    PAIR,
    POLICY,
    RANGE,
    UPSTREAM,
    WASTE,
    grown,
    now,
    per_hour,
    per_minute,
    quantile,
)

SPEND = "standby_spend_usd_total"
LIST_PRICE = "standby_counterfactual_spend_usd_total"
LISTED = f"{PAIR}, {POLICY}"
SAVED = f"{grown(LIST_PRICE, LISTED)} - {grown(SPEND)}"
COVERED = f'{PAIR}, result="covered"'
FORECASTS_SETTLED = "standby_forecast_results_total"
CALLS_SETTLED = "standby_call_forecast_results_total"
RESULTS = "standby_deadline_results_total"
MISSED = f'{POLICY}, result="missed"'
MET_SHARE = 0.999

GOOD_ABOVE_ZERO = (Step(Color.RED), Step(Color.TEXT, 0), Step(Color.GREEN, 0.01))
ANY_IS_BAD = (Step(Color.GREEN), Step(Color.RED, 1))

MONEY = Row(
    "Money",
    (
        Stat(
            "Saved",
            "What the delivered answers would have cost at the synchronous price, minus everything that was "
            "paid, waste "
            "included. Negative: Standby has cost money.",
            Unit.DOLLARS,
            (Query(SAVED),),
            steps=GOOD_ABOVE_ZERO,
            decimals=2,
        ),
        Stat(
            "Saved of the list price",
            "The same as a share of the synchronous price. Half is the most that a provider's batch discount "
            "usually gives.",
            Unit.SHARE,
            (Query(f"({SAVED}) / ({grown(LIST_PRICE, LISTED)} > 0)"),),
            steps=GOOD_ABOVE_ZERO,
            decimals=1,
        ),
        Stat(
            "Paid",
            "Everything that was bought in the time range shown, where its price is known.",
            Unit.DOLLARS,
            (Query(grown(SPEND)),),
            decimals=2,
        ),
        Stat(
            "List price",
            "What the delivered answers would have cost, had each been bought at once at the standard tier.",
            Unit.DOLLARS,
            (Query(grown(LIST_PRICE, LISTED)),),
            decimals=2,
        ),
        Stat(
            "Paid for nothing",
            "Answers bought twice, and purchases that brought none, as a share of all that was paid: the price of "
            "caution.",
            Unit.SHARE,
            (Query(f"{grown(SPEND, WASTE)} / ({grown(SPEND)} > 0)"),),
            steps=(Step(Color.GREEN), Step(Color.YELLOW, 0.05), Step(Color.RED, 0.15)),
            decimals=1,
        ),
        Stat(
            "Would have saved",
            "Of requests that were only observed: what they cost at the standard tier, minus what they would "
            "have cost where they "
            "would have started. 0 where nothing is observed.",
            Unit.DOLLARS,
            (
                Query(
                    f"({grown('standby_observed_counterfactual_spend_usd_total', LISTED)} - "
                    f"{grown('standby_observed_spend_usd_total', LISTED)}) or vector(0)"
                ),
            ),
            steps=(Step(Color.TEXT), Step(Color.BLUE, 0.01)),
            decimals=2,
        ),
        Lines(
            "Paid and list price, per hour",
            "The gap between the lines is what is saved.",
            Unit.DOLLARS,
            (
                Query(per_hour(LIST_PRICE, LISTED), "list price"),
                Query(per_hour(SPEND), "paid"),
            ),
            width=10,
        ),
        Lines(
            "Paid by tier, per hour",
            "Batch and flex are the cheap tiers; standard is the list price.",
            Unit.DOLLARS,
            (Query(per_hour(SPEND, by="tier"), "{{tier}}"),),
            width=9,
            stacked=True,
        ),
        Stat(
            "Purchases without a price",
            "They are in none of these dollar figures: the model is in no price map, or the answer did not say "
            "what it used.",
            Unit.COUNT,
            (Query(f"{grown('standby_unpriced_purchases_total')} or vector(0)"),),
            width=5,
            height=8,
            steps=(Step(Color.GREEN), Step(Color.YELLOW, 1)),
            decimals=0,
        ),
    ),
)


def _burn(window: str) -> Query:
    return Query(f"max(standby:deadline_miss:ratio_rate{window}) / {1 - MET_SHARE:.3f}", window)


DEADLINES = Row(
    "Deadlines",
    (
        Stat(
            "Deadlines met",
            "Of the requests with a deadline that ended in the time range shown.",
            Unit.SHARE,
            (Query(f"1 - {grown(RESULTS, MISSED)} / ({grown(RESULTS, POLICY)} > 0)"),),
            steps=(Step(Color.RED), Step(Color.YELLOW, 0.99), Step(Color.GREEN, MET_SHARE)),
            height=8,
            decimals=2,
        ),
        Stat(
            "Deadlines missed",
            "Requests whose answer came late, or never.",
            Unit.COUNT,
            (Query(grown(RESULTS, MISSED)),),
            height=8,
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        Stat(
            "Misses left this month",
            "The share that is left of what 99.9 % over 30 days allows to miss. Below 0 the promise is broken.",
            Unit.SHARE,
            (
                Query(
                    f"1 - {grown(RESULTS, MISSED, over='30d')} / ({grown(RESULTS, POLICY, over='30d')} > 0) / "
                    f"{1 - MET_SHARE:.3f}"
                ),
            ),
            steps=(Step(Color.RED), Step(Color.YELLOW, 0), Step(Color.GREEN, 0.5)),
            height=8,
            decimals=0,
            least=-1,
        ),
        Lines(
            "How fast misses are used up",
            "1: exactly what 99.9 % allows. At 6 and 14.4 somebody is called.",
            Unit.TIMES,
            tuple(_burn(window) for window in ("5m", "1h", "6h", "3d")),
            width=12,
            steps=(Step(Color.TEXT), Step(Color.YELLOW, 1), Step(Color.ORANGE, 6), Step(Color.RED, 14.4)),
            limits=True,
            most_at_least=16,
        ),
        Lines(
            "Time left when the answer was there",
            "Half of the answers have more time left than the upper line; one of a hundred has less than the lowest.",
            Unit.SECONDS,
            tuple(
                Query(quantile(share, "standby_deadline_slack_seconds", POLICY, over=RANGE), name)
                for share, name in ((0.5, "half"), (0.1, "tightest tenth"), (0.01, "tightest hundredth"))
            ),
            width=12,
        ),
        Lines(
            "Time until the first request has to move",
            "To the synchronous tier, so that everything that waits behind it makes its deadline too. Below 0 it "
            "is late.",
            Unit.SECONDS,
            (Query(f"{now('standby_escalation_slack_seconds', PAIR, 'model', 'min')} < +Inf", "{{model}}"),),
            width=12,
            least=None,
            steps=(Step(Color.RED), Step(Color.TEXT, 0)),
            limits=True,
        ),
    ),
)

TIERS = Row(
    "Tiers",
    (
        Lines(
            "Answers per minute, by tier",
            "Where requests were answered in the end.",
            Unit.COUNT,
            (Query(per_minute("standby_requests_total", f'{LISTED}, tier!="none"', "tier"), "{{tier}}"),),
            stacked=True,
        ),
        Table(
            "Why a request started where it did",
            "Decisions in the time range shown.",
            Unit.COUNT,
            (Query(f"sort_desc({grown('standby_decisions_total', POLICY, 'tier, reason')} > 0)"),),
            decimals=0,
            columns=(Column("tier", "Tier"), Column("reason", "Reason"), Column("Value", "Requests")),
        ),
        Lines(
            "Escalations per minute, by reason",
            "Deferred requests that were moved to a faster tier.",
            Unit.COUNT,
            (Query(per_minute("standby_escalations_total", by="reason"), "{{reason}}"),),
            stacked=True,
        ),
        Lines(
            "Share of deferred requests that had to escalate",
            "Over as long as is shown, up to each moment. Each of them has lost its discount.",
            Unit.SHARE,
            (
                Query(
                    f"{grown('standby_escalations_total')} / ({grown('standby_accepted_requests_total', LISTED)} > 0)",
                    "escalated",
                ),
            ),
            width=12,
            most_at_least=0.1,
        ),
        Bars(
            "Requests by outcome",
            "How clients' calls ended in the time range shown.",
            Unit.COUNT,
            (Query(grown("standby_requests_total", LISTED, "outcome"), "{{outcome}}"),),
            width=12,
            decimals=0,
        ),
    ),
    collapsed=True,
)

QUEUES = Row(
    "Queues and batches",
    (
        Lines(
            "Deferred requests without an answer",
            "By what is being done for them: queued, in a batch, at the provider, being called.",
            Unit.COUNT,
            (Query(now("standby_open_requests", PAIR, "stage"), "{{stage}}"),),
            stacked=True,
        ),
        Lines(
            "Oldest request in a queue",
            "How long it has waited to be put into a batch.",
            Unit.SECONDS,
            (Query(now("standby_queue_oldest_seconds", PAIR, "model", "max"), "{{model}}"),),
        ),
        Lines(
            "Open batches",
            "By where they are; in_flight are those that the provider works on.",
            Unit.COUNT,
            (Query(now("standby_open_batches", PAIR, "state"), "{{state}}"),),
            stacked=True,
        ),
        Lines(
            "Oldest batch at the provider, and when most should be done",
            "A batch that is older than the forecast is one of the slow few, or stuck.",
            Unit.SECONDS,
            (
                Query(now("standby_batch_oldest_seconds", PAIR, "model", "max"), "{{model}}"),
                Query(
                    f"{now('standby_batch_forecast_seconds', PAIR, 'model', 'max')} and on (model) "
                    "standby_batch_oldest_seconds",
                    "forecast for {{model}}",
                ),
            ),
        ),
        Lines(
            "How long batches take",
            "From a batch's submission to its end.",
            Unit.SECONDS,
            tuple(
                Query(quantile(share, "standby_batch_turnaround_seconds", over=RANGE), f"{share:.0%}")
                for share in (0.5, 0.9, 0.99)
            ),
        ),
        Lines(
            "Lines of batches, per minute",
            "What became of them. Missing ones are bought again; superseded ones came when the request was "
            "answered already.",
            Unit.COUNT,
            (Query(per_minute("standby_batch_lines_total", by="result"), "{{result}}"),),
            stacked=True,
        ),
        Lines(
            "Enqueued tokens of what is allowed",
            "At 1 the provider takes no more batches for the model.",
            Unit.SHARE,
            (
                Query(
                    f"{now('standby_batch_enqueued_tokens', PAIR, 'model')} / "
                    f"({now('standby_batch_enqueued_tokens_limit', PAIR, 'model', 'max')} > 0)",
                    "{{model}}",
                ),
            ),
            width=12,
            steps=(Step(Color.TEXT), Step(Color.RED, 0.9)),
            limits=True,
            most_at_least=1,
        ),
        Lines(
            "Why queues were cut into batches",
            "Per minute. Slack: the tightest deadline could wait no longer; age: the oldest request had waited enough.",
            Unit.COUNT,
            (Query(per_minute("standby_batch_cuts_total", "", "reason"), "{{reason}}"),),
            width=12,
            stacked=True,
        ),
    ),
    collapsed=True,
)

LIMITS = Row(
    "Rate limits",
    (
        Stat(
            "Rate-limit errors avoided",
            "Requests that would have been over the provider's limit at arrival, had everything been sent at "
            "once, minus the real "
            "429 answers.",
            Unit.COUNT,
            (Query(f"{grown('standby_shadow_rate_limited_total')} - {grown('standby_provider_rate_limited_total')}"),),
            height=8,
            steps=(Step(Color.RED), Step(Color.TEXT, 0), Step(Color.GREEN, 1)),
            decimals=0,
        ),
        Lines(
            "429 answers per minute, real and avoided",
            "Real ones, and those that everything sent at once would have met.",
            Unit.COUNT,
            (
                Query(per_minute("standby_provider_rate_limited_total"), "real"),
                Query(per_minute("standby_shadow_rate_limited_total"), "had all been sent at once"),
            ),
            width=10,
        ),
        Lines(
            "Rate limit in use",
            "Of the scarcer limit: what was sent, and what would have been sent. Over 1 it is overdrawn.",
            Unit.SHARE,
            (Query(f"{now('standby_rate_limit_used_ratio', PAIR, 'model, view', 'max')}", "{{model}}, {{view}}"),),
            width=10,
            steps=(Step(Color.TEXT), Step(Color.YELLOW, 0.8), Step(Color.RED, 1)),
            limits=True,
            most_at_least=1,
        ),
        Lines(
            "Wait in a queue of everything sent at once",
            "How long a request would wait for its turn under the rate limit if nothing were deferred.",
            Unit.SECONDS,
            (Query(now("standby_shadow_queue_seconds", PAIR, "model", "max"), "{{model}}"),),
            width=12,
        ),
        Lines(
            "Requests that should move and wait for the rate limit",
            "More than a moment's worth of them: the limit is what is scarce.",
            Unit.COUNT,
            (Query(now("standby_escalation_backlog_requests", UPSTREAM, "upstream"), "{{upstream}}"),),
            width=12,
        ),
    ),
    collapsed=True,
)

LATENCY = Row(
    "Latency and errors",
    (
        Lines(
            "Standby's own time",
            "From a call's arrival to the question to the provider.",
            Unit.SECONDS,
            tuple(
                Query(quantile(share, "standby_proxy_overhead_seconds", ""), f"{share:.0%}") for share in (0.5, 0.99)
            ),
        ),
        Lines(
            "Answer time of synchronous calls",
            "From a request's arrival to its answer; urgent ones and those that have escalated.",
            Unit.SECONDS,
            tuple(
                Query(quantile(share, "standby_request_duration_seconds", f'{MODEL}, tier!="batch"'), f"{share:.0%}")
                for share in (0.5, 0.99)
            ),
        ),
        Lines(
            "Time to the first byte of an answer",
            "From the question to the provider.",
            Unit.SECONDS,
            tuple(
                Query(quantile(share, "standby_time_to_first_chunk_seconds", MODEL), f"{share:.0%}")
                for share in (0.5, 0.99)
            ),
        ),
        Lines(
            "Calls that a provider failed, per minute",
            "Of every kind: answers, batches, files.",
            Unit.COUNT,
            (Query(per_minute("standby_upstream_errors_total", PAIR, "upstream, kind"), "{{upstream}}: {{kind}}"),),
            width=12,
            stacked=True,
        ),
        Lines(
            "Calls that Standby refused, per minute",
            "Bad headers, bad keys, bodies over the limit.",
            Unit.COUNT,
            (Query(per_minute("standby_rejections_total", "", "status, code"), "{{status}} {{code}}"),),
            width=12,
            stacked=True,
        ),
    ),
    collapsed=True,
)

SATURATION = Row(
    "Saturation",
    (
        Lines(
            "Connections",
            "Urgent calls under way, and clients that are held until their answer is there.",
            Unit.COUNT,
            (
                Query(now("standby_inflight_requests", ""), "urgent calls"),
                Query(now("standby_held_connections", ""), "held"),
            ),
        ),
        Lines(
            "Event loop lag",
            "How late timers run. More than a tenth of a second: the process is too busy.",
            Unit.SECONDS,
            (Query(now("standby_event_loop_lag_seconds", "", "instance", "max"), "{{instance}}"),),
            steps=(Step(Color.TEXT), Step(Color.RED, 0.1)),
        ),
        Lines(
            "Store, slowest of a hundred",
            "How long the store takes to accept a request, to book calls, to move the state of work, to tell "
            "what has changed.",
            Unit.SECONDS,
            (Query(quantile(0.99, "standby_store_seconds", 'op=~"accept|book|apply|changes"', "op"), "{{op}}"),),
        ),
        Lines(
            "Memory",
            "Resident, of all workers of an instance together.",
            Unit.BYTES,
            (Query(now("process_resident_memory_bytes", "", "instance"), "{{instance}}"),),
        ),
        Lines(
            "Open files of what is allowed",
            "Each held connection takes one.",
            Unit.SHARE,
            (
                Query(
                    f"{now('process_open_fds', '', 'instance')} / {now('process_max_fds', '', 'instance')}",
                    "{{instance}}",
                ),
            ),
            steps=(Step(Color.TEXT), Step(Color.RED, 0.8)),
        ),
        Lines(
            "Ledger rows that are not durable yet",
            "Of urgent calls; a kill would lose them. Usually a fraction of a second's worth.",
            Unit.COUNT,
            (Query(now("standby_unbooked_ledger_rows", ""), "rows"),),
        ),
    ),
    collapsed=True,
)

FORECASTS = Row(
    "Are forecasts honest?",
    (
        Bars(
            "Forecasts that held",
            "Of the times that batches were quoted to complete in. A quote of 0.9 should hold nine times of ten.",
            Unit.SHARE,
            (
                Query(
                    f"{grown(FORECASTS_SETTLED, COVERED, 'quoted')} / ({grown(FORECASTS_SETTLED, PAIR, 'quoted')} > 0)",
                    "quoted {{quoted}}",
                ),
            ),
            most=1,
            decimals=1,
        ),
        Lines(
            "Expected completion time",
            "Within which the quoted share of batches is expected to complete, as learned.",
            Unit.SECONDS,
            (Query(now("standby_batch_forecast_seconds", PAIR, "model", "max"), "{{model}}"),),
        ),
        Bars(
            "Call forecasts that held",
            "Of synchronous calls. Escalation allows for as much time as 999 of 1,000 need, at flex nine of ten.",
            Unit.SHARE,
            (
                Query(
                    f"{grown(CALLS_SETTLED, COVERED, 'tier, quoted')} / "
                    f"({grown(CALLS_SETTLED, PAIR, 'tier, quoted')} > 0)",
                    "{{tier}}, quoted {{quoted}}",
                ),
            ),
            most=1,
            decimals=3,
        ),
        Lines(
            "Expected time of a call",
            "Within which that share of calls is expected to be answered, as learned.",
            Unit.SECONDS,
            (Query(now("standby_call_forecast_seconds", PAIR, "model, tier", "max"), "{{model}} at {{tier}}"),),
        ),
        Lines(
            "Batches have stopped coming back",
            "1 while they have: then no deadline relies on them.",
            Unit.COUNT,
            (Query(now("standby_batch_tier_congested", PAIR, "model", "max"), "{{model}}"),),
            most=1,
            decimals=0,
        ),
    ),
    collapsed=True,
)

OVERVIEW = Dashboard(
    uid="standby-overview",
    title="Standby: money and deadlines",
    description="What is saved by waiting, whether deadlines are met, and where to look when they are not.",
    rows=(MONEY, DEADLINES, TIERS, QUEUES, LIMITS, LATENCY, SATURATION, FORECASTS),
    labels=("upstream", "model", "policy"),
)

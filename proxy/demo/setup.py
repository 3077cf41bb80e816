"""The demo's two ends: a provider whose day lasts a minute, and a proxy whose waiting times are scaled alike."""

from pathlib import Path

from proxy.batching.settings import Settings as BatchingSettings
from proxy.config.settings import Config, StoreSettings, UpstreamSettings
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.emulator.turnaround import LogNormal
from proxy.routing import cutting, escalation, flex, latency, planner, polling
from proxy.server.settings import Settings as ServerSettings

TIME_SCALE = 1440.0
"""A provider's day in a minute."""
REQUESTS_PER_MINUTE = 75
"""Per model: enough for the urgent calls, too little for everything at once."""


def provider(seed: int) -> EmulatorSettings:
    """Batches take an hour and a half of provider time in the median (four seconds), and sometimes far too long."""
    return EmulatorSettings(
        seed=seed,
        time_scale=TIME_SCALE,
        turnaround=LogNormal(median_seconds=5400.0, sigma=0.8),
        latency_seconds=400.0,
        validating_seconds=300.0,
        finalizing_seconds=300.0,
        cancelling_seconds=600.0,
        rpm=REQUESTS_PER_MINUTE,
    )


def proxy(folder: Path, upstream: str) -> Config:
    """Everything else is as `standby serve` has it by default."""
    return Config(
        server=ServerSettings(port=0, drain_seconds=30.0),
        store=StoreSettings(url=f"sqlite:{folder / 'demo.db'}"),
        upstreams=(UpstreamSettings(base_url=upstream + "/v1"),),
        planner=planner.Settings(
            batches=latency.Settings(
                prior_median_seconds=4.0,
                half_life_slow_seconds=60.0,
                half_life_fast_seconds=15.0,
                horizon_seconds=60.0,
            ),
            flex_under_seconds=2.5,
        ),
        batching=BatchingSettings(
            tick_seconds=0.1,
            look_seconds=0.5,
            settle_seconds=1.0,
            backoff_seconds=0.2,
            backoff_max_seconds=2.0,
            cut=cutting.Settings(age_seconds=1.5, age_share=0.1, deadline_near_seconds=8.0),
            poll=polling.Settings(min_seconds=0.2, max_seconds=1.0, closing_seconds=0.2, deadline_lead_seconds=2.5),
            flex=flex.Settings(lead_seconds=2.0, least_seconds=0.5, pause_seconds=0.2, pause_max_seconds=2.0),
            escalate=escalation.Settings(
                margin_seconds=1.5, service_seconds=1.0, cancel_lead_seconds=1.0, cancel_notice_seconds=1.0
            ),
        ),
    )

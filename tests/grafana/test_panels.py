"""Every query of every panel, against a real Prometheus that has scraped a real run of Standby: there is something to
see, even of what goes wrong.
"""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from grafana.check.day import DAY_SECONDS, POLICY, Team, play
from grafana.check.panels import FILES, Shown, Span, ask_all
from grafana.check.prometheus import query, query_range, running
from proxy.runtime.clock import SystemClock
from tests.processes import FAST_CONFIG, emulator, standby
from tests.prometheus import program

LENGTH_SECONDS = 45.0
"""A day."""
SEEN_AT_HOUR = 22.5
"""When the dashboards are looked at: something is still waiting."""
CONFIG = f"""{FAST_CONFIG}
upstreams: [{{name: openai, batches: {{enqueued_tokens_max: 2_000_000}}}}]
policies: {POLICY}
"""
LIMITED = ("--rpm", "300", "--latency-seconds", "60")

NOTHING_TO_SEE = {
    "What the store failed to do, per minute",
    "Webhooks called, per minute",
    "Batches have stopped coming back",
    "Models that changed hands, per minute",
    "Waiting for the rate limit",  # at the end; its line over the day is not 0
    "Batches at providers",  # likewise
}
"""Panels of what does not happen in this day: they must show 0, not nothing."""


async def live(proxy_url: str, provider_url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        await play(Team(SystemClock(), http, proxy_url, provider_url, LENGTH_SECONDS, is_bad=True))


@pytest.mark.long
@pytest.mark.timeout(240)
def test_every_panel_shows_a_day_in_which_everything_happens(tmp_path: Path) -> None:
    program("prometheus")
    scale = str(DAY_SECONDS / LENGTH_SECONDS)
    with (
        emulator(tmp_path, "--time-scale", scale, *LIMITED) as provider,
        standby(tmp_path, provider, config=CONFIG) as proxy,
        running(tmp_path / "prometheus", scraped=proxy.url.removeprefix("http://")) as prometheus,
    ):
        began_at = time.time()  # noqa: TID251  Prometheus's clock is the machine's
        asyncio.run(live(proxy.url, provider.url))
        seen_at = last_scraped(prometheus, began_at, began_at + LENGTH_SECONDS * SEEN_AT_HOUR / 24)
        span = Span(began_at, seen_at, step=1.0, rate_seconds=8.0)
        shown = [each for file in FILES for each in ask_all(prometheus, file, span)]
        empty = [failed(each) for each in shown if not each.numbers]
        assert not empty, "\n".join(["nothing to see:", *empty])
        quiet = {each.panel for each in shown} - {each.panel for each in shown if any(each.numbers)}
        assert quiet <= NOTHING_TO_SEE, f"nothing but 0: {sorted(quiet - NOTHING_TO_SEE)}"
        assert_figures_are_the_ledgers(prometheus, shown, seen_at)


def last_scraped(url: str, start: float, end: float) -> float:
    """The last instant at which there was an answer to the scrape: on a busy machine one may come late."""
    (up,) = query_range(url, "up == 1", start, end, 0.5)
    return up.values[-1][0]


def failed(shown: Shown) -> str:
    return f"{shown.dashboard}: {shown.panel}: {shown.expr}"


def assert_figures_are_the_ledgers(url: str, shown: list[Shown], at: float) -> None:
    """The large numbers do not contradict the counters. Not more: `increase()` extrapolates, and what a series counts
    before it is scraped for the first time is in none.
    """
    (paid,) = query(url, "sum(standby_spend_usd_total)", at)
    (listed,) = query(url, "sum(standby_counterfactual_spend_usd_total)", at)
    assert paid.numbers[0] > 0
    assert listed.numbers[0] > 0
    by_panel = {each.panel: each.numbers for each in shown if each.dashboard == "overview"}
    assert paid.numbers[0] / 3 < by_panel["Paid"][0] < paid.numbers[0] * 1.5
    assert listed.numbers[0] / 3 < by_panel["List price"][0] < listed.numbers[0] * 1.5

"""The books of a bad day: what `standby report` says is what the metrics say, and the provider's bill."""

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.settings import Settings
from proxy.emulator.turnaround import Constant
from proxy.report.account import Dimension, Span, account
from tests.world import HOUR, World, gather, play

POLICY = """
rules:
  - {name: watched, match: {header: {x-app: watched}}, then: {mode: observe}}
  - {name: patient, match: {header: {x-app: patient}}, then: {on_miss: wait, confidence: 0.5}}
  - {name: strict, match: {header: {x-app: strict}}, then: {on_miss: fail, confidence: 0.5}}
"""
EVER = Span(0.0, float("inf"))


async def _metrics(world: World) -> Counter[str]:
    """Every series' sum, and those of its parts by kind and by result."""
    text, _ = world.service.metrics.render(await world.service.state.gauges(), openmetrics=False)
    sums: Counter[str] = Counter()
    for name, labels, value in re.findall(r"^(standby_\w+)(?:\{(.*)\})? (\S+)$", text.decode(), re.MULTILINE):
        for key in (name, *(f"{name} {part}" for part in re.findall(r'(?:kind|result)="(\w+)"', labels))):
            sums[key] += float(value)  # type: ignore[assignment]  # a counter counts dollars as well
    return sums


def test_every_figure_of_a_bad_day_is_the_metrics_and_the_providers(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await gather(
            world.ask("moved in time, and answered by its batch as well", deadline="2h"),
            world.ask("waits beyond its deadline", deadline="2h", headers={"x-app": "patient"}),
            world.ask("is given up", deadline="2h", headers={"x-app": "strict"}),
            world.ask("is only watched", deadline="6h", headers={"x-app": "watched"}),
            world.ask("in time", deadline="6h"),
            world.ask("urgent"),
            world.ask("fails", model="no-such-model"),
        )
        await world.settled(within=30 * HOUR)
        await world.service.house.bookings.flush()
        by = (Dimension.DAY, Dimension.TENANT, Dimension.MODEL, Dimension.TIER)
        found = await account(world.service.desk.store, EVER, by, world.service.house.timezone, world.now)
        total, metrics = found.total, await _metrics(world)

        assert total.paid_usd == Decimal((await world.account())["total"]["usd"])
        assert float(total.paid_usd) == pytest.approx(metrics["standby_spend_usd_total"])
        assert float(total.list_usd) == pytest.approx(metrics["standby_counterfactual_spend_usd_total"])
        assert float(total.duplicates_usd) == pytest.approx(metrics["standby_spend_usd_total duplicate"])
        assert total.unpriced == metrics["standby_unpriced_purchases_total"] == 0
        assert total.met == metrics["standby_deadline_results_total met"] == 3
        assert total.missed == metrics["standby_deadline_results_total missed"] == 2
        assert (total.requests, total.expired, total.failed) == (5, 1, 1)
        assert (total.duplicates, total.observed) == (2, 1)
        assert total.would_have_saved_usd > 0
        assert [entry.key[3] for entry in found.entries] == ["batch", "standard", "none", "standard"]

    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    refusing = Fault(operation="cancel_batch", kind=FaultKind.STATUS, status=500, count=None)
    slow = Settings(turnaround=Constant(5 * HOUR), latency_seconds=1.0)
    play(tmp_path, story, emulator=slow, faults=(refusing,), policies=file)

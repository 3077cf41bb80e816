"""`standby explain` of a described request: the configured policy and prices, and what the store has learned."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.batching import learn
from proxy.check.explain import explain_asked, upstream_of
from proxy.config.settings import Config, StoreSettings, UpstreamSettings
from proxy.domain.ids import UpstreamName
from proxy.routing.latencybook import LatencyBook
from proxy.routing.policytest import Asked
from proxy.routing.terms import Mode
from proxy.runtime.clock import SystemClock
from proxy.store.sqlite import SqliteStore
from tests.store.samples import in_flight, request

NOON = 1_800_014_400.0
HALF_A_DAY = Asked(model="gpt-4o-mini", deadline="12h", at="2027-01-15T12:00:00Z")


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    def tell(asked: Asked, policy: str = "", **changes: object) -> tuple[int, list[str]]:
        (tmp_path / "policy.yaml").write_text(policy)
        store = StoreSettings(url=f"sqlite:{tmp_path / 'standby.db'}")
        config = Config(store=store, policies=tmp_path / "policy.yaml", **changes)  # type: ignore[arg-type]  # as named
        lines: list[str] = []
        code = asyncio.run(explain_asked(asked, config, None, SystemClock(), lines.append))
        return code, lines

    return tell


def test_it_says_what_the_configured_policy_would_decide(told: Callable[..., tuple[int, list[str]]]) -> None:
    rule = "rules: [{name: nightly, match: {hours: 10:00-14:00}, then: {deadline: 8h}}]"
    code, lines = told(Asked(model="gpt-4o-mini", at="2027-01-15T12:00:00Z"), rule)
    assert code == 0
    assert lines[0] == "rule nightly: batch, because there was time for a batch (deadline_allows)"
    assert lines[1] == "time until the deadline: 8h"
    assert lines[-3] == "upstream: openai"
    assert lines[-2].startswith(
        "prices per million tokens, in and out: batch $0.075 and $0.3, standard $0.15 and $0.6,"
    )
    assert lines[-1] == "completion times: as believed before there is experience"


def test_without_a_deadline_it_says_that_nobody_asked_to_wait(told: Callable[..., tuple[int, list[str]]]) -> None:
    _, lines = told(Asked(model="gpt-4o-mini"))
    assert lines[0].startswith("rule default: standard, because nobody said that it can wait")


def test_what_its_client_would_be_told_is_told(told: Callable[..., tuple[int, list[str]]]) -> None:
    code, lines = told(Asked(model="gpt-4o-mini", deadline="soonish"))
    assert code == 1
    assert lines[0].startswith("refused with 400: X-Deadline: 'soonish'")


def test_where_everything_is_only_observed_it_says_so(told: Callable[..., tuple[int, list[str]]]) -> None:
    _, lines = told(HALF_A_DAY, mode=Mode.OBSERVE)
    assert lines[0].startswith("mode observe: it is served at once")
    assert lines[1].startswith("rule default: batch")


def test_an_unknown_model_has_no_price(told: Callable[..., tuple[int, list[str]]]) -> None:
    _, lines = told(Asked(model="of-my-own", deadline="12h"))
    assert lines[-2] == "prices: none is known for this model"


def test_what_the_store_has_learned_about_batches_counts(
    tmp_path: Path, told: Callable[..., tuple[int, list[str]]]
) -> None:
    """A hundred batches took eleven hours each: of half a day, little is left to hope for."""

    async def fill() -> None:
        times = LatencyBook(Config().planner.batches).of(*request().queue.lane)
        for number in range(100):
            times.submitted(str(number), NOON - 12 * 3600)
            times.ended(str(number), NOON - 3600, completed=True)
        snapshot = {"upstream": "openai", "model": "gpt-4o-mini", **times.snapshot()}
        store = SqliteStore(tmp_path / "standby.db", SystemClock())
        await store.start()
        await store.save_note(f"{learn.NOTE} {json.dumps(['openai', 'gpt-4o-mini'])}", json.dumps(snapshot).encode())
        await in_flight(store, request())
        await store.close()

    _, before = told(HALF_A_DAY)
    asyncio.run(fill())
    _, after = told(HALF_A_DAY)
    assert "in time with 99" in before[2]
    assert "in time with 99" not in after[2]
    assert after[-1].startswith("completion times: learned from 100.0 batches")


def test_it_is_asked_of_the_upstream_that_the_model_goes_to() -> None:
    upstreams = (
        UpstreamSettings(name=UpstreamName("a"), models=("gpt-*",)),
        UpstreamSettings(name=UpstreamName("b"), models=("llama-*",)),
    )
    config = Config(upstreams=upstreams)
    assert [upstream_of(config, model).name for model in ("gpt-5", "llama-3", "other")] == ["a", "b", "a"]


def test_what_an_upstream_does_not_sell_is_not_chosen(told: Callable[..., tuple[int, list[str]]]) -> None:
    _, lines = told(HALF_A_DAY, upstreams=(UpstreamSettings(batch=False, flex=False),))
    assert lines[0].startswith("rule default: standard, because the upstream sells no batches")
    assert lines[3] == "flex: not chosen; the upstream does not sell it"

"""`standby explain`: what would be decided about a request that is only described, and why, in words and numbers.

The policy, the prices and the settings are the configured ones; how long batches take is what the store's proxy has
learned, where there is one. Rate limits are taken to be far away: only the running proxy knows them.
"""

from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from proxy.batching import learn
from proxy.config.load import load_policy
from proxy.config.settings import Config, UpstreamSettings
from proxy.config.shipped import policy_path
from proxy.config.trial import Conditions, decide
from proxy.domain.batch import BatchState
from proxy.domain.clock import Clock
from proxy.domain.errors import ClientFault, StoreFault
from proxy.domain.ids import UpstreamName
from proxy.domain.tier import Tier
from proxy.routing.latencybook import LatencyBook
from proxy.routing.localtime import read_at
from proxy.routing.policytest import Asked
from proxy.routing.pricing import MILLION, PriceBook, Rates
from proxy.routing.terms import Mode
from proxy.runtime.parts import build_reader, read_prices
from proxy.wire.explanation import decided_now, explain

EXIT_REFUSED = 1


async def explain_asked(
    asked: Asked, config: Config, policy_file: Path | None, clock: Clock, say: Callable[[str], None]
) -> int:
    """Say what would be decided; returns the exit code. Raises `ConfigFault` for a policy that cannot be used."""
    prices = read_prices(config)
    file = config.policy_file if policy_file is None else policy_path(Path(), policy_file)
    policy = load_policy(file)
    upstream = upstream_of(config, asked.model)
    times = await _learned(config, clock)
    conditions = Conditions(
        prices=prices,
        timezone=config.timezone,
        upstream=upstream,
        planning=config.planner,
        batching=config.batching,
        batches=lambda model: times.of(UpstreamName(upstream.name), model),
        prior=times.prior,
        observes=config.mode is Mode.OBSERVE,
    )
    now = read_at(asked.at)(policy.file.timezone or config.timezone).timestamp()
    try:
        _, decision = decide(asked, policy, conditions, now)
    except ClientFault as fault:
        say(f"refused with {fault.status}: {fault.message}")
        return EXIT_REFUSED
    if decision.observed is not None:
        say("mode observe: it is served at once at standard; this is what would have been decided:")
    for line in (*explain(decided_now(decision)), f"policy: {file}", f"upstream: {upstream.name}"):
        say(line)
    say(_price_line(prices, asked.model))
    say(_experience_line(times, UpstreamName(upstream.name), asked.model, now))
    return 0


def upstream_of(config: Config, model: str) -> UpstreamSettings:
    """The upstream that a model's calls go to."""
    matching = (one for one in config.upstreams if any(fnmatchcase(model, glob) for glob in one.models))
    return next(matching, config.upstreams[0])


async def _learned(config: Config, clock: Clock) -> LatencyBook:
    """What the store knows of batches; nothing where there is no store."""
    times = LatencyBook(config.planner.batches)
    reader = build_reader(config.store, clock)
    with suppress(StoreFault):
        await reader.start()
        try:
            learn.restore(times, await reader.notes(learn.NOTE), but=lambda _: False)
            for batch in await reader.open_batches():
                if batch.state is BatchState.IN_FLIGHT and batch.submitted_at is not None:
                    times.of(*batch.queue.lane).submitted(batch.id, batch.submitted_at)
        finally:
            await reader.close()
    return times


def _price_line(prices: PriceBook, model: str) -> str:
    known = ((tier, prices.rates(model, tier)) for tier in Tier)
    listed = ", ".join(f"{tier} {_dollars(rates)}" for tier, rates in known if rates is not None)
    if not listed:
        return "prices: none is known for this model"
    return f"prices per million tokens, in and out: {listed} ({prices.source})"


def _dollars(rates: Rates) -> str:
    each = (f"${(rate * MILLION).normalize():f}" for rate in (rates.input, rates.output))
    return " and ".join(each)


def _experience_line(times: LatencyBook, upstream: UpstreamName, model: str, now: float) -> str:
    known = times.of(upstream, model)
    congested = "; they have stopped coming back" if known.congested(now) else ""
    if not known.observed:
        return "completion times: as believed before there is experience" + congested
    return f"completion times: learned from {known.observed:.1f} batches, as they count by now" + congested

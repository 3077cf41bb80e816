"""Trying a policy: a described request goes through the real reading of headers and body, the policy and the planner.

A policy's own tests come out the same wherever they are run: batches take as long as is believed before there is
experience, the provider sells what OpenAI sells, and no rate limit is near. The prices are those of the price book, but
for one model that is there for tests alone, at prices that never change. Who asks what a running proxy would decide
brings its upstream, its settings and what it has learned.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cache

from multidict import CIMultiDict

from proxy.batching.settings import Settings as BatchingSettings
from proxy.config.decode import written_name
from proxy.config.settings import UpstreamSettings
from proxy.domain.decision import Decision
from proxy.domain.errors import ClientFault
from proxy.routing import planner
from proxy.routing.latency import CompletionTimes
from proxy.routing.localtime import read_at
from proxy.routing.outlook import Experience, outlook
from proxy.routing.policy import Facts, Policy, PolicyFile
from proxy.routing.policytest import EXAMPLE_MODEL, Asked, Expected, PolicyTest
from proxy.routing.pricing import ModelPrice, PriceBook, TierPrice
from proxy.routing.spending import is_refused
from proxy.routing.terms import Budget, Mode, Terms
from proxy.upstream.costmap import read_cost_map
from proxy.wire.body import BYTES_PER_TOKEN, BodyHints, read_hints
from proxy.wire.durations import format_duration
from proxy.wire.urgency import Prefix, read_urgency, split_prefix

_OFFERED = UpstreamSettings()
_PLANNING, _BATCHING = planner.Settings(), BatchingSettings()
_PRIOR = CompletionTimes(_PLANNING.batches)
"""What is believed of batches. Never told anything."""
_HALF = TierPrice(Decimal(1), Decimal(4))
EXAMPLE_PRICE = ModelPrice(standard=TierPrice(Decimal(2), Decimal(8)), batch=_HALF, flex=_HALF)
"""What the example model costs."""
_EXAMPLE = PriceBook.from_cost_map({}, {EXAMPLE_MODEL: EXAMPLE_PRICE}, "an example")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a decision needs beside the policy and the request.

    - `prices`, and `timezone`: the zone that local times are in where no policy names one.
    - `upstream`: what it sells.
    - `batches`: how long a model's batches take, `prior` what is believed before there is experience.
    - `observes`: whether nothing is deferred where the policy does not say otherwise.
    """

    prices: PriceBook
    timezone: tzinfo = UTC
    upstream: UpstreamSettings = _OFFERED
    planning: planner.Settings = _PLANNING
    batching: BatchingSettings = _BATCHING
    batches: Callable[[str], CompletionTimes] = lambda model: _PRIOR  # noqa: ARG005  the field's own shape
    prior: CompletionTimes = _PRIOR
    observes: bool = False


@cache
def shipped_conditions() -> Conditions:
    """Those in force without a configuration: UTC, and the prices of the installed LiteLLM."""
    cost_map = read_cost_map()
    return Conditions(PriceBook.from_cost_map(cost_map.models, {}, cost_map.source))


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that came out other than expected, both in the file's words."""

    name: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a test. `refusal` is what the client would have been told instead of a decision."""

    test: PolicyTest
    decision: Decision | None
    differences: tuple[Difference, ...] = ()
    refusal: str | None = None

    @property
    def passed(self) -> bool:
        return not self.differences and self.refusal is None

    def __str__(self) -> str:
        """What is wrong, in words."""
        if self.refusal is not None:
            return f"the test {self.test.name!r} fails: its request is refused: {self.refusal}"
        wrong = "; ".join(f"{one.name} is {one.found} and not {one.expected}" for one in self.differences)
        because = "" if self.decision is None else f" ({self.decision.policy}: {self.decision.reason})"
        return f"the test {self.test.name!r} fails: {wrong}{because}"


def run_tests(file: PolicyFile, conditions: Conditions) -> list[Outcome]:
    """Run every test of a policy. A policy that only observes by configuration is tried as one that acts."""
    policy = Policy(file)
    return [_run(test, policy, conditions) for test in file.tests]


def _run(test: PolicyTest, policy: Policy, conditions: Conditions) -> Outcome:
    now = read_at(test.request.at)(policy.file.timezone or conditions.timezone).timestamp()
    try:
        terms, decision = decide(test.request, policy, conditions, now)
    except ClientFault as fault:
        return Outcome(test, None, refusal=fault.message)
    found = _found(terms, decision, now) | {"refused": _is_refused(terms, decision, test.request.spent_usd)}
    return Outcome(test, decision, tuple(_differences(test.expect, found)))


def decide(asked: Asked, policy: Policy, conditions: Conditions, now: float) -> tuple[Terms, Decision]:
    """What a policy says of a request that comes at this instant, and what is decided about it.

    Raises `ClientFault` where its client would be told of a mistake.
    """
    headers, hints = _headers(asked), _hints(asked)
    prices = _EXAMPLE if asked.model == EXAMPLE_MODEL else conditions.prices
    prefix, path = _prefix(asked)
    urgency = read_urgency(prefix=prefix, headers=headers, hints=hints, now=now, timezone=conditions.timezone)
    facts = Facts(
        model=asked.model,
        endpoint=path,
        tenant=asked.tenant,
        key=asked.key,
        headers=headers,
        metadata=hints.metadata,
        stream=hints.stream,
        has_tools=hints.has_tools,
        input_tokens=asked.input_tokens,
        output_tokens=hints.max_output_tokens,
        local_time=datetime.fromtimestamp(now, conditions.timezone),
    )
    terms = policy.terms(facts).completed(key_deadline_seconds=asked.key_deadline_seconds, observes=conditions.observes)
    sold = conditions.upstream
    decision = planner.decide(
        urgency=urgency,
        terms=terms,
        offer=planner.Offer(
            batch=sold.batch,
            flex=sold.flex,
            endpoints=sold.batches.endpoints,
            idle=sold.capacity is not None and not sold.batch,
        ),
        endpoint=path,
        model=asked.model,
        body_bytes=asked.input_tokens * BYTES_PER_TOKEN,
        line_bytes_max=sold.batches.body_max_bytes,
        book=prices,
        now=now,
        outlook=_outlook(conditions, prices, asked.model, now),
    )
    return terms, decision


def _outlook(conditions: Conditions, prices: PriceBook, model: str, now: float) -> planner.Outlook:
    """Of an upstream whose rate limits are far away."""
    escalate, planning = conditions.batching.escalate, conditions.planning
    known = Experience(
        batches=conditions.batches(model),
        prior=conditions.prior,
        odds_needed=planner.odds_needed(prices.batch_share(model), planning.billed_twice_share),
        call_seconds=escalate.margin_seconds + escalate.service_seconds,
        flex_lead_seconds=conditions.batching.flex.lead_seconds,
        flex_under_seconds=planning.flex_under_seconds,
    )
    return outlook(known, covers=lambda _: True, now=now)


def _headers(asked: Asked) -> Mapping[str, str]:
    headers = CIMultiDict(asked.headers)
    for name, value in (("X-Deadline", asked.deadline), ("X-Priority", asked.priority)):
        if value is not None:
            headers.add(name, value)
    return headers


def _hints(asked: Asked) -> BodyHints:
    body: dict[str, object] = {
        "model": asked.model,
        "metadata": dict(asked.metadata),
        "stream": asked.stream,
        "tools": [{"type": "function"}] if asked.tools else [],
        "service_tier": asked.service_tier,
        "max_output_tokens": asked.output_tokens,
    }
    return read_hints(json.dumps(body).encode())


def _prefix(asked: Asked) -> tuple[Prefix | None, str]:
    prefix, path = split_prefix(asked.prefix + asked.endpoint)
    if asked.prefix and prefix is None:
        raise ClientFault(f"the prefix {asked.prefix!r} means nothing; write /within/2h, /by/06:00 or /urgent")
    return prefix, path


def _is_refused(terms: Terms, decision: Decision, spent_usd: Decimal) -> bool:
    return terms.budget is not None and is_refused(terms.budget, spent_usd, can_wait=decision.can_wait)


def _found(terms: Terms, decision: Decision, now: float) -> dict[str, object]:
    """What was decided, by the names of what can be expected."""
    left_seconds = None if decision.deadline_at is None else round(decision.deadline_at - now, 3)
    return {
        "rule": terms.policy,
        "deferred": decision.is_deferred,
        "tier": decision.tier,
        "reason": decision.reason,
        "deadline_seconds": left_seconds,
        "delivery": decision.delivery,
        "tiers": decision.tiers,
        "on_miss": decision.on_miss if decision.is_deferred else terms.on_miss,
        "confidence": terms.confidence,
        "budget": terms.budget,
        "retention_seconds": terms.retention_seconds,
        "mode": Mode.OBSERVE if terms.observe else Mode.ENFORCE,
    }


def _differences(expect: Expected, found: Mapping[str, object]) -> Iterator[Difference]:
    for named in fields(expect):
        wanted = getattr(expect, named.name)
        if wanted is not None and wanted != found[named.name]:
            yield Difference(
                written_name(named.name), _shown(named.name, wanted), _shown(named.name, found[named.name])
            )


def _shown(name: str, value: object) -> str:
    """A value as a file writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if name.endswith("_seconds") and isinstance(value, float):
        return format_duration(value)
    if isinstance(value, frozenset):
        return f"[{', '.join(sorted(value))}]"
    if isinstance(value, Budget):
        return f"{{usd_per_day: {value.usd_per_day}, over: {value.over}}}"
    return str(value)

"""What policy and planner say about one call, and what is told when it has been taken in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from proxy.domain.decision import Decision, Urgency
from proxy.domain.events import RequestAccepted, ShadowLimited
from proxy.domain.ids import TenantId
from proxy.domain.request import Request
from proxy.routing import planner
from proxy.routing.policy import Facts
from proxy.server.accounts import Account
from proxy.server.house import House
from proxy.wire.body import BodyHints, estimate_tokens


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that a decision is wanted for. `key_deadline_seconds` is its key's own default.

    `waits`: nobody waits for it, so that it may wait for idle capacity also where nobody knows how much there is.
    """

    tenant: TenantId
    key: str
    key_deadline_seconds: float | None
    account: Account
    endpoint: str
    model: str
    body: bytes
    hints: BodyHints
    headers: Mapping[str, str]
    urgency: Urgency
    at: float
    waits: bool = False


def decide(house: House, asked: Asked) -> Decision:
    """Where the call starts, and why. Raises `ClientFault` 429 where its tenant's budget is spent."""
    hints, sold = asked.hints, asked.account.upstream.capabilities
    facts = Facts(
        model=asked.model,
        endpoint=asked.endpoint,
        tenant=asked.tenant,
        key=asked.key,
        headers=asked.headers,
        metadata=hints.metadata,
        stream=hints.stream,
        has_tools=hints.has_tools,
        input_tokens=estimate_tokens(asked.body),
        output_tokens=hints.max_output_tokens,
        local_time=datetime.fromtimestamp(asked.at, house.timezone),
    )
    terms = house.policy.terms(facts).completed(
        key_deadline_seconds=asked.key_deadline_seconds, observes=house.observes
    )
    decision = planner.decide(
        urgency=asked.urgency,
        terms=terms,
        offer=planner.Offer(
            batch=house.batch_is_sold(asked.account, asked.at),
            flex=sold.flex,
            endpoints=sold.endpoints,
            idle=(asked.waits or sold.capacity is not None) and not sold.batch,
        ),
        endpoint=asked.endpoint,
        model=asked.model,
        body_bytes=len(asked.body),
        line_bytes_max=sold.bytes_max,
        book=house.prices,
        now=asked.at,
        outlook=house.outlook(asked.account.upstream.name, asked.model, asked.at, terms.confidence),
    )
    house.budgets.require_within(terms, asked.tenant, decision, asked.at)
    return decision


def announce_accepted(house: House, new: Request, decision: Decision) -> None:
    """A deferred request is durable: the engine, the metrics and the shadow limit hear of it."""
    now, upstream, model = new.accepted_at, new.queue.upstream, new.queue.model
    house.announce(
        RequestAccepted(
            request_id=new.id,
            tenant=new.tenant,
            upstream=upstream,
            model=model,
            endpoint=new.queue.endpoint,
            policy=new.policy,
            tier=decision.tier,
            deadline_at=new.deadline_at,
            best_effort=decision.best_effort,
            at=now,
        )
    )
    over = house.limits.of(upstream, model, now).shadow.arrive(new.estimated_tokens, now)
    if over is not None:
        house.announce(ShadowLimited(upstream, model, over, now))

"""The tests that a policy carries: a request, and what is to be decided about it. Words only; no test is run here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal

from proxy.domain.decision import Delivery, OnMiss, Reason
from proxy.domain.tier import Tier
from proxy.routing.localtime import At, read_at
from proxy.routing.terms import Budget, Mode

ENDPOINT = "/v1/chat/completions"
EXAMPLE_MODEL = "example-model"
"""A model for tests: its prices are always known, and always the same."""
_EARLIEST = "mon 12:00"


@dataclass(frozen=True, slots=True)
class Asked:
    """The request of a test. What is left out is not said by its client.

    - `model`: left out: none in particular, so that only globs like * match it, and its price is not known. There is
      example-model, too: batches and flex sell it at half its price, whatever prices are configured.
    - `endpoint`: the path. Left out: /v1/chat/completions.
    - `tenant`: whose request it is.
    - `key`: the proxy key's name.
    - `key_deadline`: the deadline that the key's own configuration gives.
    - `prefix`: what the client's base URL says about time, such as /within/2h, /by/06:00 or /urgent.
    - `deadline`: the header X-Deadline: 4h, or any other form that a client may use.
    - `priority`: the header X-Priority: urgent, normal, deferrable, or 0 to 7.
    - `headers`: any other headers, such as Prefer: respond-async.
    - `metadata`: the body's metadata.
    - `service_tier`: the tier that the body names: flex, priority or fast.
    - `stream`: whether the client asks for a stream.
    - `tools`: whether the body offers tools.
    - `input_tokens`: the prompt's estimated size. Left out: 100.
    - `output_tokens`: the client's own limit on the answer.
    - `spent_usd`: what its tenant has spent today already. Left out: nothing.
    - `at`: when it comes. Left out: Monday at noon, local time.
    """

    model: str = ""
    endpoint: str = ENDPOINT
    tenant: str = ""
    key: str = ""
    key_deadline_seconds: float | None = None
    prefix: str = ""
    deadline: str | None = None
    priority: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    service_tier: str | None = None
    stream: bool = False
    tools: bool = False
    input_tokens: int = 100
    output_tokens: int | None = None
    spent_usd: Decimal = Decimal(0)
    at: At = _EARLIEST

    def __post_init__(self) -> None:
        read_at(self.at)
        for name, count in (("input_tokens", self.input_tokens), ("output_tokens", self.output_tokens)):
            if count is not None and count < 1:
                raise ValueError(f"{name}: {count} is no size of a request; give at least 1")
        if self.spent_usd < 0:
            raise ValueError(f"spent_usd: {self.spent_usd} is no amount; give 0 or more")
        if not self.endpoint.startswith("/"):
            raise ValueError(f"endpoint: {self.endpoint!r} is no path; write it as {ENDPOINT}")


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be decided. Only what is named is compared; something has to be.

    - `rule`: the name of the rule that sets the terms, or default.
    - `deferred`: whether it waits; otherwise it is bought at once.
    - `refused`: whether its tenant's budget is spent, so that it is not bought at all.
    - `tier`: the tier that it starts at.
    - `reason`: why, as X-Standby-Reason says it.
    - `deadline`: how far away the deadline in force is.
    - `delivery`: how a deferred request's answer comes back.
    - `tiers`: what a deferred request may be bought at.
    - `on_miss`: what is done where a batch will not be in time.
    - `confidence`: the share of deadlines that is to be met.
    - `budget`: what the tenant may spend in a day.
    - `retention`: how long the answer is kept; to be expected only where the rule says it.
    - `mode`: whether the rule is carried out or only observed. What is configured plays no part.
    """

    rule: str | None = None
    deferred: bool | None = None
    refused: bool | None = None
    tier: Tier | None = None
    reason: Reason | None = None
    deadline_seconds: float | None = None
    delivery: Delivery | None = None
    tiers: frozenset[Tier] | None = None
    on_miss: OnMiss | None = None
    confidence: float | None = None
    budget: Budget | None = None
    retention_seconds: float | None = None
    mode: Mode | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, named.name) is None for named in fields(self)):
            raise ValueError("it expects nothing, so it could not fail; name at least the rule or deferred")


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """A request, and what this policy is to decide about it.

    - `name`: what it shows, in words.
    - `request`: what the client sends, and when.
    - `expect`: what is to come of it.
    """

    name: str
    expect: Expected
    request: Asked = field(default_factory=Asked)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("name: it has none; say what it shows")

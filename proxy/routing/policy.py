"""Policies: rules tried from the top; the first that matches sets a request's terms. Pure: no file is read here."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from fnmatch import translate

from proxy.domain.decision import CONFIDENCE_DEFAULT, Delivery, OnMiss
from proxy.domain.tier import Tier
from proxy.routing.terms import Budget, Terms

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")
_RULE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
DEFAULT_NAME = "default"
"""What the terms of requests are called that no rule matches."""


class Mode(StrEnum):
    """Whether decisions are carried out."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
    """Everything is bought at once, and what would have been deferred and saved is noted."""


class Weekday(StrEnum):
    """Days as policies write them, in the order of `datetime.weekday`."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request when its terms are looked up.

    `headers` have lower-case names. `input_tokens` is an estimate; `output_tokens` the client's own limit, None without
    one. `key` is the proxy key's name, empty without one. `local_time` is in the configured time zone.
    """

    model: str
    endpoint: str
    tenant: str
    key: str
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    stream: bool
    has_tools: bool
    input_tokens: int
    output_tokens: int | None
    local_time: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule asks for. What is left out is not asked; everything that is asked must hold.

    Texts are globs in which case counts (`gpt-4o*`), lists are alternatives. `header` and `metadata` map names to
    globs; one that the request does not have never matches, not even `*`. `hours` is `22:00-06:00`, local, the end
    excluded; it may span midnight, and then `weekdays` means the day that it is now. Token limits are included.
    """

    model: tuple[str, ...] = ()
    endpoint: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    header: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    stream: bool | None = None
    tools: bool | None = None
    input_tokens_min: int | None = None
    input_tokens_max: int | None = None
    output_tokens_max: int | None = None
    hours: str | None = None
    weekdays: tuple[Weekday, ...] = ()

    def __post_init__(self) -> None:
        if self.hours is not None:
            _span(self.hours)
        least, most = self.input_tokens_min, self.input_tokens_max
        if least is not None and most is not None and least > most:
            raise ValueError(f"input_tokens_min: {least} is more than input_tokens_max, {most}: it can never match")


@dataclass(frozen=True, slots=True)
class Then:
    """What a rule grants. Durations are seconds.

    - `deadline_seconds`: what a request gets that says nothing about time: this is what defers it. Left out: it is
      urgent. Also what `X-Priority: deferrable` means (left out: 24 h).
    - `deadline_min_seconds`: with less time than this a request is bought at once.
    - `deadline_max_seconds`: later deadlines are brought forward to this.
    - `tiers`: what may be chosen.
    - `delivery`: `hold` refuses 202 even to clients that ask for it.
    - `urgent`: nothing is deferred, whatever the client says.
    - `hint_may_defer`: whether a mere hint (`Priority: u=7`, `grpc-timeout`) may defer.
    - `on_miss`: `escalate` buys synchronously what a batch will not answer in time, `wait` waits on for a batch, `fail`
      ends the request at its deadline.
    - `confidence`: the share of deadlines that is to be met, under 1. With `on_miss: escalate` it says how slow a
      synchronous call is reckoned with; with the others, how likely a batch must be in time to be tried at all.
    - `budget`: what each tenant may spend in a day, all that it buys counted, before requests of this rule are refused.
    - `retention_seconds`: how long a finished request and its answer are kept. Left out: as configured.
    - `mode`: `observe` defers nothing and notes what would have been. Left out: as configured.
    """

    deadline_seconds: float | None = None
    deadline_min_seconds: float | None = None
    deadline_max_seconds: float | None = None
    tiers: frozenset[Tier] = frozenset({Tier.BATCH, Tier.FLEX, Tier.STANDARD})
    delivery: Delivery | None = None
    urgent: bool = False
    hint_may_defer: bool = False
    on_miss: OnMiss = OnMiss.ESCALATE
    confidence: float = CONFIDENCE_DEFAULT
    budget: Budget | None = None
    retention_seconds: float | None = None
    mode: Mode | None = None

    def __post_init__(self) -> None:
        if self.urgent and self.deadline_seconds is not None:
            raise ValueError("urgent: a rule cannot be urgent and give a deadline; leave one of them out")
        if not self.tiers:
            raise ValueError("tiers: none is left; name at least one, such as standard, or leave it out")
        try:
            self.terms("check")
        except ValueError as error:
            raise ValueError(str(error).removeprefix("default_")) from error
        if (self.deadline_seconds or math.inf) < (self.deadline_min_seconds or 0.0):
            raise ValueError(
                f"deadline_seconds: {self.deadline_seconds:g}s is under deadline_min_seconds, so nothing could wait; "
                "give a longer one"
            )

    def terms(self, policy: str) -> Terms:
        """The same as the planner knows it, under the rule's name."""
        return Terms(
            policy=policy,
            tiers=self.tiers,
            urgent=self.urgent,
            default_deadline_seconds=self.deadline_seconds,
            deadline_min_seconds=self.deadline_min_seconds,
            deadline_max_seconds=self.deadline_max_seconds,
            delivery=self.delivery,
            hint_may_defer=self.hint_may_defer,
            on_miss=self.on_miss,
            confidence=self.confidence,
            budget=self.budget,
            retention_seconds=self.retention_seconds,
            observe=None if self.mode is None else self.mode is Mode.OBSERVE,
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `name` is in metrics, headers and the ledger."""

    name: str
    match: Match = field(default_factory=Match)
    then: Then = field(default_factory=Then)

    def __post_init__(self) -> None:
        if not _RULE_NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is no rule name; use up to 40 lower-case letters, digits, - and _")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy file's content. `default` is for requests that no rule matches."""

    rules: tuple[Rule, ...] = ()
    default: Then = field(default_factory=Then)

    def __post_init__(self) -> None:
        names = [DEFAULT_NAME]
        for number, rule in enumerate(self.rules):
            if rule.name in names:
                raise ValueError(
                    f"rules.{number}.name: {rule.name!r} is taken already; give every rule a name of its own"
                )
            names.append(rule.name)


class Policy:
    """The rules in force. `terms` is asked once per request and never fails."""

    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.rules = file.rules
        self._compiled = [(_conditions(rule.match), rule.then.terms(rule.name)) for rule in file.rules]
        self._default = file.default.terms(DEFAULT_NAME)

    def __repr__(self) -> str:
        return f"<Policy {', '.join(rule.name for rule in self.rules) or 'without rules'}>"

    def terms(self, facts: Facts) -> Terms:
        """The terms of the first rule that matches, else the default ones."""
        for conditions, terms in self._compiled:
            for holds in conditions:
                if not holds(facts):
                    break
            else:
                return terms
        return self._default


Condition = Callable[[Facts], bool]


def _conditions(match: Match) -> list[Condition]:
    """What a match asks, compiled, and nothing for what it does not ask: rules are tried on the synchronous path."""
    return [*_text_conditions(match), *_named_conditions(match), *_shape_conditions(match), *_time_conditions(match)]


def _text_conditions(match: Match) -> list[Condition]:
    conditions: list[Condition] = []
    if match.model:
        model = _globs(match.model)
        conditions.append(lambda facts: model(facts.model))
    if match.endpoint:
        endpoint = _globs(match.endpoint)
        conditions.append(lambda facts: endpoint(facts.endpoint))
    if match.tenant:
        tenant = _globs(match.tenant)
        conditions.append(lambda facts: tenant(facts.tenant))
    if match.key:
        key = _globs(match.key)
        conditions.append(lambda facts: key(facts.key))
    return conditions


def _named_conditions(match: Match) -> list[Condition]:
    headers = {name.lower(): _globs((glob,)) for name, glob in match.header.items()}
    metadata = {name: _globs((glob,)) for name, glob in match.metadata.items()}
    conditions: list[Condition] = []
    if headers:
        conditions.append(lambda facts: _all_match(headers, facts.headers))
    if metadata:
        conditions.append(lambda facts: _all_match(metadata, facts.metadata))
    return conditions


def _shape_conditions(match: Match) -> list[Condition]:
    conditions: list[Condition] = []
    if match.stream is not None:
        conditions.append(lambda facts: facts.stream is match.stream)
    if match.tools is not None:
        conditions.append(lambda facts: facts.has_tools is match.tools)
    if (least := match.input_tokens_min) is not None:
        conditions.append(lambda facts: facts.input_tokens >= least)
    if (most := match.input_tokens_max) is not None:
        conditions.append(lambda facts: facts.input_tokens <= most)
    if (longest := match.output_tokens_max) is not None:
        conditions.append(lambda facts: _at_most(facts.output_tokens, longest))
    return conditions


def _time_conditions(match: Match) -> list[Condition]:
    conditions: list[Condition] = []
    if match.weekdays:
        days = {day for day, name in enumerate(Weekday) if name in match.weekdays}
        conditions.append(lambda facts: facts.local_time.weekday() in days)
    if match.hours is not None:
        begin, end = _span(match.hours)
        conditions.append(lambda facts: _is_within(facts.local_time.time(), begin, end))
    return conditions


def _globs(globs: tuple[str, ...]) -> Callable[[str], bool]:
    fullmatch = re.compile("|".join(f"(?:{translate(glob)})" for glob in globs)).fullmatch
    return lambda text: fullmatch(text) is not None


def _all_match(wanted: Mapping[str, Callable[[str], bool]], given: Mapping[str, str]) -> bool:
    for name, matches in wanted.items():
        value = given.get(name)
        if value is None or not matches(value):
            return False
    return True


def _span(hours: str) -> tuple[time, time]:
    """Begin and end; the end of the day is its beginning. Raises ValueError for what is no span."""
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise ValueError(f"hours: {hours!r} is no span of time; write 22:00-06:00")
    begin_hour, begin_minute, end_hour, end_minute = (int(part or 0) for part in found.groups())
    begin, end = time(begin_hour, begin_minute), time(end_hour, end_minute)
    if begin == end:
        raise ValueError(f"hours: {hours!r} is the whole day or nothing of it; leave it out for the whole day")
    return begin, end


def _is_within(now: time, begin: time, end: time) -> bool:
    return begin <= now < end if begin < end else now >= begin or now < end


def _at_most(count: int | None, limit: int) -> bool:
    """A client that sets no limit may get any length."""
    return count is not None and count <= limit

"""Policies: rules tried from the top; the first that matches sets a request's terms. Pure: no file is read here."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from fnmatch import translate

from proxy.domain.decision import CONFIDENCE_DEFAULT, Delivery, OnMiss
from proxy.domain.tier import Tier
from proxy.routing.localtime import Hours, Weekday, is_within, read_hours
from proxy.routing.policytest import PolicyTest
from proxy.routing.shape import RULE_NAME, Glob, RuleName
from proxy.routing.terms import Budget, Mode, Terms

_RULE_NAME = re.compile(RULE_NAME)
DEFAULT_NAME = "default"
"""What the terms of requests are called that no rule matches."""


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

    - `model`: globs of the model's name; a list means any of them.
    - `endpoint`: globs of the path, such as /v1/embeddings.
    - `tenant`: globs of whose request it is.
    - `key`: globs of the proxy key's name.
    - `header`: header names with a glob for each value; all must match, and a header that the request does not have
      never matches, not even *.
    - `metadata`: the same for the text values of the body's metadata.
    - `stream`: whether the client asks for a stream.
    - `tools`: whether the body offers tools.
    - `input_tokens_min`: the prompt has at least so many tokens, estimated at four bytes of the body a token.
    - `input_tokens_max`: the prompt has at most so many tokens.
    - `output_tokens_min`: the client's own limit on the answer is at least this; a request without one never matches.
    - `output_tokens_max`: that limit is at most this; a request without one may get any length, and never matches.
    - `hours`: the local time is in this span, its end excluded. It may span midnight.
    - `weekdays`: it is one of these days, locally; after midnight that is the new day.
    - `timezone`: where hours and weekdays are local. Left out: the file's time zone, else the configured one.
    """

    model: tuple[Glob, ...] = ()
    endpoint: tuple[Glob, ...] = ()
    tenant: tuple[Glob, ...] = ()
    key: tuple[Glob, ...] = ()
    header: Mapping[str, Glob] = field(default_factory=dict)
    metadata: Mapping[str, Glob] = field(default_factory=dict)
    stream: bool | None = None
    tools: bool | None = None
    input_tokens_min: int | None = None
    input_tokens_max: int | None = None
    output_tokens_min: int | None = None
    output_tokens_max: int | None = None
    hours: Hours | None = None
    weekdays: tuple[Weekday, ...] = ()
    timezone: tzinfo | None = None

    def __post_init__(self) -> None:
        if self.hours is not None:
            read_hours(self.hours)
        if self.timezone is not None and not self.asks_time:
            raise ValueError("timezone: it says nothing without hours or weekdays; add some, or leave it out")
        lowered = [name.lower() for name in self.header]
        for name in self.header:
            if lowered.count(name.lower()) > 1:
                raise ValueError(f"header.{name}: it is here twice, since case does not count; keep one of them")
        for kind in ("input_tokens", "output_tokens"):
            least, most = getattr(self, f"{kind}_min"), getattr(self, f"{kind}_max")
            if least is not None and most is not None and least > most:
                raise ValueError(f"{kind}_min: {least} is more than {kind}_max, {most}: it can never match")

    @property
    def asks_time(self) -> bool:
        """Whether it depends on when the request comes."""
        return self.hours is not None or bool(self.weekdays)


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
    """One rule.

    - `name`: what it is called in metrics, headers and the ledger.
    - `match`: which requests it is for; left out: all that no rule before it matches.
    - `then`: their terms; left out: those that are built in. Nothing is taken from `default`.
    """

    name: RuleName
    match: Match = field(default_factory=Match)
    then: Then = field(default_factory=Then)

    def __post_init__(self) -> None:
        if not _RULE_NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is no rule name; use up to 40 lower-case letters, digits, - and _")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy: which requests can wait, for how long, and what that may cost.

    - `extends`: another policy file, looked for from this one's folder. Its rules are tried after this one's; of
      `default` and `timezone` it gives what is left out here.
    - `timezone`: where hours and weekdays are local, such as Europe/Berlin. Left out: the configured time zone.
    - `rules`: tried from the top; the first that matches sets a request's terms.
    - `default`: the terms of requests that no rule matches.
    - `tests`: requests with what is to be decided about them. A file whose tests fail is refused.
    """

    extends: str | None = None
    timezone: tzinfo | None = None
    rules: tuple[Rule, ...] = ()
    default: Then = field(default_factory=Then)
    tests: tuple[PolicyTest, ...] = ()

    def __post_init__(self) -> None:
        names = [DEFAULT_NAME]
        for number, rule in enumerate(self.rules):
            if rule.name in names:
                raise ValueError(
                    f"rules.{number}.name: {rule.name!r} is taken already; give every rule a name of its own"
                )
            names.append(rule.name)
        for number, test in enumerate(self.tests):
            if test.name in [other.name for other in self.tests[:number]]:
                raise ValueError(f"tests.{number}.name: {test.name!r} is taken already; give it another one")
            if test.expect.rule not in {None, *names}:
                raise ValueError(
                    f"tests.{number}.expect.rule: {test.expect.rule!r} is no rule of this policy; there are "
                    f"{', '.join(names)}"
                )


class Policy:
    """The rules in force. `terms` is asked once per request and never fails."""

    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.rules = file.rules
        self._compiled = [(_conditions(rule.match, file.timezone), rule.then.terms(rule.name)) for rule in file.rules]
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


def _conditions(match: Match, zone: tzinfo | None) -> list[Condition]:
    """What a match asks, compiled, and nothing for what it does not ask: rules are tried on the synchronous path."""
    return [
        *_text_conditions(match),
        *_named_conditions(match),
        *_shape_conditions(match),
        *_time_conditions(match, match.timezone or zone),
    ]


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
    if (shortest := match.output_tokens_min) is not None:
        conditions.append(lambda facts: facts.output_tokens is not None and facts.output_tokens >= shortest)
    if (longest := match.output_tokens_max) is not None:
        conditions.append(lambda facts: facts.output_tokens is not None and facts.output_tokens <= longest)
    return conditions


def _time_conditions(match: Match, zone: tzinfo | None) -> list[Condition]:
    conditions: list[Condition] = []
    local = _local(zone)
    if match.weekdays:
        days = {day for day, name in enumerate(Weekday) if name in match.weekdays}
        conditions.append(lambda facts: local(facts).weekday() in days)
    if match.hours is not None:
        begin, end = read_hours(match.hours)
        conditions.append(lambda facts: is_within(local(facts).time(), begin, end))
    return conditions


def _local(zone: tzinfo | None) -> Callable[[Facts], datetime]:
    if zone is None:
        return lambda facts: facts.local_time
    return lambda facts: facts.local_time.astimezone(zone)


def _globs(globs: tuple[str, ...]) -> Callable[[str], bool]:
    fullmatch = re.compile("|".join(f"(?:{translate(glob)})" for glob in globs)).fullmatch
    return lambda text: fullmatch(text) is not None


def _all_match(wanted: Mapping[str, Callable[[str], bool]], given: Mapping[str, str]) -> bool:
    for name, matches in wanted.items():
        value = given.get(name)
        if value is None or not matches(value):
            return False
    return True

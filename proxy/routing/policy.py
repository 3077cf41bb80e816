"""Policies: rules tried from the top; the first that matches sets a request's terms. Pure: no file is read here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum
from fnmatch import translate

from proxy.domain.decision import Delivery
from proxy.domain.tier import Tier
from proxy.routing.terms import Terms

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class Weekday(StrEnum):
    """Days as policies write them, in the order of `datetime.weekday`."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


_WEEK = tuple(Weekday)


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

    Texts are globs (`gpt-4o*`), lists are alternatives. `header` and `metadata` map names to globs. `hours` is
    `22:00-06:00`, local, the end excluded; it may span midnight, and then `weekdays` means the day that it is now.
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
        if self.hours is not None and not _HOURS.fullmatch(self.hours):
            raise ValueError(f"hours: {self.hours!r} is no span of time; write 22:00-06:00")
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
    """

    deadline_seconds: float | None = None
    deadline_min_seconds: float | None = None
    deadline_max_seconds: float | None = None
    tiers: frozenset[Tier] = frozenset({Tier.BATCH, Tier.FLEX, Tier.STANDARD})
    delivery: Delivery | None = None
    urgent: bool = False
    hint_may_defer: bool = False

    def __post_init__(self) -> None:
        if self.urgent and self.deadline_seconds is not None:
            raise ValueError("urgent: a rule cannot be urgent and give a deadline; leave one of them out")
        self.terms("check")

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
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `name` is in metrics, headers and the ledger."""

    name: str
    match: Match = field(default_factory=Match)
    then: Then = field(default_factory=Then)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", self.name):
            raise ValueError(f"name: {self.name!r} is no rule name; use up to 40 lower-case letters, digits, - and _")


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy file's content. `default` is for requests that no rule matches."""

    rules: tuple[Rule, ...] = ()
    default: Then = field(default_factory=Then)

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1 or name == "default":
                raise ValueError(f"rules: two rules are called {name!r} ('default' is the last one); names are unique")


class _Matcher:
    """A rule's match, compiled: globs are regular expressions, hours are times."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self._texts = [
            (name, _globs(globs)) for name in ("model", "endpoint", "tenant", "key") if (globs := getattr(match, name))
        ]
        self._headers = [(name.lower(), _globs((glob,))) for name, glob in match.header.items()]
        self._metadata = [(name, _globs((glob,))) for name, glob in match.metadata.items()]
        self._span = None if match.hours is None else _span(match.hours)

    def matches(self, facts: Facts) -> bool:
        return (
            all(pattern.fullmatch(getattr(facts, name)) for name, pattern in self._texts)
            and all(pattern.fullmatch(facts.headers.get(name, "")) for name, pattern in self._headers)
            and all(pattern.fullmatch(facts.metadata.get(name, "")) for name, pattern in self._metadata)
            and self._shape_matches(facts)
            and self._time_matches(facts.local_time)
        )

    def _shape_matches(self, facts: Facts) -> bool:
        match = self._match
        return (
            match.stream in {None, facts.stream}
            and match.tools in {None, facts.has_tools}
            and (match.input_tokens_min is None or facts.input_tokens >= match.input_tokens_min)
            and (match.input_tokens_max is None or facts.input_tokens <= match.input_tokens_max)
            and (match.output_tokens_max is None or _at_most(facts.output_tokens, match.output_tokens_max))
        )

    def _time_matches(self, local_time: datetime) -> bool:
        if self._match.weekdays and _WEEK[local_time.weekday()] not in self._match.weekdays:
            return False
        if self._span is None:
            return True
        begin, end = self._span
        now = local_time.time()
        return begin <= now < end if begin < end else now >= begin or now < end


class Policy:
    """The rules in force. `terms` is asked once per request and never fails."""

    def __init__(self, file: PolicyFile) -> None:
        self.rules = file.rules
        self._compiled = [(_Matcher(rule.match), rule.then.terms(rule.name)) for rule in file.rules]
        self._default = file.default.terms("default")

    def __repr__(self) -> str:
        return f"<Policy {', '.join(rule.name for rule in self.rules) or 'without rules'}>"

    def terms(self, facts: Facts) -> Terms:
        """The terms of the first rule that matches, else the default ones."""
        for matcher, terms in self._compiled:
            if matcher.matches(facts):
                return terms
        return self._default


def _globs(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{translate(glob)})" for glob in globs))


def _span(hours: str) -> tuple[time, time]:
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise AssertionError("hours were checked before")
    begin_hour, begin_minute, end_hour, end_minute = (int(part) for part in found.groups())
    return time(begin_hour, begin_minute), time(end_hour, end_minute)


def _at_most(count: int | None, limit: int) -> bool:
    """A client that sets no limit may get any length."""
    return count is not None and count <= limit

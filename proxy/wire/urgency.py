"""What a client says about time: URL prefix, headers, metadata, explicit tier, standard hints; in this order.

A deadline that cannot be read or has passed is a `ClientFault` 400 that says what was wrong and what would be right.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from urllib.parse import unquote

from proxy.domain.decision import Priority, Urgency, UrgencySource
from proxy.domain.errors import ClientFault
from proxy.domain.tier import Tier
from proxy.wire.body import BodyHints
from proxy.wire.durations import parse_duration

FARTHEST_SECONDS = 366 * 86_400.0
SHOWN_CHARACTERS = 80
RIGHT_DEADLINE = (
    "Give a duration (90s, 15m, 1h30m, 2d, or a bare number of seconds), a time with its zone "
    "(2030-01-31T06:00:00Z), or 10-digit unix seconds."
)
RIGHT_PRIORITY = "Give urgent, normal or deferrable, or a number from 0 (most urgent) to 7."
_WORDS = {
    "urgent": Priority.URGENT,
    "high": Priority.URGENT,
    "normal": Priority.NORMAL,
    "deferrable": Priority.DEFERRABLE,
    "low": Priority.DEFERRABLE,
}
_TIERS = {"flex": Tier.FLEX, "priority": Tier.PRIORITY, "fast": Tier.PRIORITY}
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}", re.ASCII)
_UNIX_SECONDS = re.compile(r"\d{10}(?:\.\d{1,9})?", re.ASCII)
_GRPC_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_GRPC_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_RFC9218_URGENCY = re.compile(r"(?:^|[,;\s])u\s*=\s*([0-7])(?:$|[,;\s])")
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_WAIT = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the path says before `/v1`: `kind` is `within`, `by` or `urgent`; `text` the part behind the first two."""

    kind: str
    text: str = ""


def split_prefix(raw_path: str) -> tuple[Prefix | None, str]:
    """Take the urgency prefix off a raw path; the rest, query included, is untouched.

    `/within/2h/v1/models` -> (within 2h, `/v1/models`). A path that has none, or where no `/v1` follows, is returned
    as it is.
    """
    path, mark, query = raw_path.partition("?")
    parts = path.split("/")
    if len(parts) > 2 and parts[1] == "urgent" and parts[2] == "v1":  # noqa: PLR2004  ["", "urgent", "v1", ...]
        return Prefix("urgent"), "/" + "/".join(parts[2:]) + mark + query
    if len(parts) > 3 and parts[1] in {"within", "by"} and parts[3] == "v1":  # noqa: PLR2004  one more for the text
        return Prefix(parts[1], unquote(parts[2])), "/" + "/".join(parts[3:]) + mark + query
    return None, raw_path


def read_urgency(
    *, prefix: Prefix | None, headers: Mapping[str, str], hints: BodyHints | None, now: float, timezone: tzinfo
) -> Urgency:
    """What one call says about time; relative deadlines count from `now`.

    `headers` must ignore case, and give every value of a header that comes several times when they are iterated.
    """
    respond_async, wait_seconds = _prefer(headers)
    source, said = _said(prefix, headers, hints, now, timezone)
    deadline_at = said if isinstance(said, float) else None
    priority = said if isinstance(said, Priority) else None
    return Urgency(
        source=source,
        deadline_at=deadline_at,
        priority=priority,
        service_tier=_TIERS.get((hints.service_tier or "") if hints else ""),
        respond_async=respond_async,
        wait_seconds=wait_seconds if respond_async else None,
    )


def _said(
    prefix: Prefix | None, headers: Mapping[str, str], hints: BodyHints | None, now: float, timezone: tzinfo
) -> tuple[UrgencySource, float | Priority | None]:
    if prefix is not None:
        return UrgencySource.PATH, _from_prefix(prefix, now, timezone)
    if "X-Deadline" in headers:
        return UrgencySource.HEADER, _deadline(_only(headers, "X-Deadline"), "X-Deadline", now)
    if "X-Priority" in headers:
        return UrgencySource.HEADER, _priority(_only(headers, "X-Priority"), "X-Priority")
    if hints is not None and hints.metadata_deadline is not None:
        return UrgencySource.METADATA, _deadline(str(hints.metadata_deadline), "metadata.deadline", now)
    if hints is not None and hints.metadata_priority is not None:
        return UrgencySource.METADATA, _priority(str(hints.metadata_priority), "metadata.priority")
    if hints is not None and hints.service_tier in _TIERS:
        return UrgencySource.SERVICE_TIER, None
    hinted = _hinted(headers, now)
    return (UrgencySource.NONE, None) if hinted is None else (UrgencySource.HINT, hinted)


def _from_prefix(prefix: Prefix, now: float, timezone: tzinfo) -> float | Priority:
    match prefix.kind:
        case "urgent":
            return Priority.URGENT
        case "within":
            seconds = parse_duration(prefix.text)
            if seconds is None:
                raise _bad_deadline("/within/...", prefix.text, "Give a duration, such as /within/2h/v1.")
            return _checked(now + seconds, "/within/...", prefix.text, now)
        case _:
            return _by(prefix.text, now, timezone)


def _by(text: str, now: float, timezone: tzinfo) -> float:
    """The next such time of day in `timezone`, or a full timestamp.

    Of a time that comes twice when the clocks go back, the next is meant; one that is left out when they go forward is
    counted from before the change, so that 02:30 means half an hour after the clocks have jumped to 03:00.
    """
    clock = _TIME_OF_DAY.fullmatch(text)
    if clock is None:
        at = _timestamp(text)
        if at is None:
            right = "Give a time of day or a time with its zone, such as /by/06:00/v1 or /by/2030-01-31T06:00Z/v1."
            raise _bad_deadline("/by/...", text, right)
        return _checked(at, "/by/...", text, now)
    today = datetime.fromtimestamp(now, timezone)
    first = today.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0, fold=0)
    for then in (first, first.replace(fold=1)):
        if then.timestamp() > now:
            return then.timestamp()
    return (first + timedelta(days=1)).timestamp()


def _deadline(text: str, where: str, now: float) -> float:
    stripped = text.strip()
    if _UNIX_SECONDS.fullmatch(stripped):
        return _checked(float(stripped), where, text, now)
    seconds = parse_duration(stripped)
    if seconds is not None:
        return _checked(now + seconds, where, text, now)
    at = _timestamp(stripped)
    if at is None:
        raise _bad_deadline(where, text, RIGHT_DEADLINE)
    return _checked(at, where, text, now)


def _timestamp(text: str) -> float | None:
    """An RFC 3339 timestamp; None without a zone, because then it would be a guess."""
    if not _TIMESTAMP.match(text):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp()


def _checked(at: float, where: str, text: str, now: float) -> float:
    if at <= now:
        raise ClientFault(
            f"{where}: {_shown(text)} has passed already. {RIGHT_DEADLINE}", code="invalid_deadline", param=where
        )
    if at > now + FARTHEST_SECONDS:
        raise ClientFault(
            f"{where}: {_shown(text)} is more than a year away. {RIGHT_DEADLINE}", code="invalid_deadline", param=where
        )
    return at


def _bad_deadline(where: str, text: str, right: str) -> ClientFault:
    message = f"{where}: {_shown(text)} is no deadline that can be understood. {right}"
    return ClientFault(message, code="invalid_deadline", param=where)


def _priority(text: str, where: str) -> Priority:
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    if len(word) == 1 and word in "01234567":
        return _from_number(int(word))
    message = f"{where}: {_shown(text)} is no priority. {RIGHT_PRIORITY}"
    raise ClientFault(message, code="invalid_priority", param=where)


def _from_number(number: int) -> Priority:
    """RFC 9218's direction: 0 is the most urgent."""
    if number <= 1:
        return Priority.URGENT
    return Priority.NORMAL if number <= 4 else Priority.DEFERRABLE  # noqa: PLR2004  the middle of 0 to 7 is 2 to 4


def _hinted(headers: Mapping[str, str], now: float) -> float | Priority | None:
    """What standard headers suggest; one that makes no sense suggests nothing, since nobody meant it for us."""
    for seconds in (
        _grpc_seconds(headers.get("grpc-timeout", "")),
        parse_duration(headers.get("X-Server-Timeout", "")),
    ):
        if seconds is not None and 0 < seconds <= FARTHEST_SECONDS:
            return now + seconds
    urgency = _RFC9218_URGENCY.search(headers.get("Priority", ""))
    return None if urgency is None else _from_number(int(urgency[1]))


def _grpc_seconds(text: str) -> float | None:
    timeout = _GRPC_TIMEOUT.fullmatch(text.strip())
    return None if timeout is None else int(timeout[1]) * _GRPC_SECONDS[timeout[2]]


def _prefer(headers: Mapping[str, str]) -> tuple[bool, float | None]:
    """`respond-async` and `wait=` of RFC 7240; what else is preferred is not ours.

    The header may come several times, which means the same as one list; of a preference that does, the first counts.
    """
    if "Prefer" not in headers:
        return False, None
    said: dict[str, str] = {}
    for preference in _PREFERENCE.findall(",".join(_every(headers, "Prefer"))):
        name, _, value = preference.partition(";")[0].partition("=")
        said.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = said.get("wait", "")
    return said.get("respond-async") == "", float(wait) if _WAIT.fullmatch(wait) else None


def _every(headers: Mapping[str, str], name: str) -> list[str]:
    """All values of a header that may come several times."""
    lowered = name.lower()
    return [value for other, value in headers.items() if other.lower() == lowered]


def _only(headers: Mapping[str, str], name: str) -> str:
    """The one thing that a header says: twice the same is once, and two different things are none."""
    values = dict.fromkeys(value.strip() for value in _every(headers, name))
    if len(values) > 1:
        said = " and ".join(_shown(value) for value in values)
        code = "invalid_deadline" if name == "X-Deadline" else "invalid_priority"
        raise ClientFault(f"{name}: says both {said}. Send one of them.", code=code, param=name)
    return headers[name]


def _shown(text: str) -> str:
    short = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
    return repr(short)

"""The errors of Standby, by whose fault they are and whether the call may be repeated.

    StandbyError
      ClientFault      the client asked for something impossible: status, code, param; rendered by wire.errors
      UpstreamFault    the provider or the way to it failed: may it be repeated, and when
      StoreFault       the store cannot be read or written; foreign database errors are wrapped at the seam
      ConfigFault      a file says something that cannot be meant: file, line, what is wrong, what would be right
      Bug              an unlisted transition or a broken invariant: ends the step, not the process

Outcomes that are expected (a stale compare-and-set, a refused upload) are values, not exceptions.
"""

from dataclasses import dataclass
from enum import StrEnum


class StandbyError(Exception):
    """The root. Never raised itself."""


class ClientFault(StandbyError):
    """A request that cannot be served as it is, and why.

    `status` is the HTTP status, `code` a short machine-readable word, `param` the header or field at fault.
    `after_seconds` is when the same call may be possible; None: that does not depend on time.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.after_seconds = after_seconds


class Retry(StrEnum):
    """May a failed upstream call be made again?"""

    NEVER = "never"
    """The same call would fail again."""
    LATER = "later"
    """Nothing was bought; the same call may succeed later."""
    UNKNOWN_IF_BILLED = "unknown_if_billed"
    """The connection broke after the request was sent: it may have been served and billed."""


class UpstreamFault(StandbyError):
    """A provider call that did not succeed.

    `status` is upstream's own status, None when there was no answer. `body` is upstream's own body.
    `after_seconds` is upstream's Retry-After, None when it said nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: Retry,
        status: int | None = None,
        code: str | None = None,
        body: bytes = b"",
        after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry
        self.status = status
        self.code = code
        self.body = body
        self.after_seconds = after_seconds


class StoreFault(StandbyError):
    """The store could not do what was asked. The database's own error is the cause."""


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file that a person can jump to. Lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class ConfigFault(StandbyError):
    """A configuration or policy file that cannot be used, with the place and the correction."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.message = message
        self.place = place


class Bug(StandbyError):
    """A broken invariant of our own."""

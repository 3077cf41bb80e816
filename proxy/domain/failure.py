"""How a provider fails a call, in a few words that metrics can have as labels."""

from enum import StrEnum

TOO_MANY_REQUESTS = 429
SERVER_ERROR_MIN = 500


class FailureKind(StrEnum):
    """How an upstream failed a call, of whatever kind."""

    RATE_LIMITED = "rate_limited"
    """It answered 429."""
    REFUSED = "refused"
    """It answered another 4xx to a call of our own, about a batch or a file."""
    SERVER_ERROR = "server_error"
    """It answered 5xx."""
    UNREACHABLE = "unreachable"
    """No answer, or one that broke off."""


def failure_of(status: int | None) -> FailureKind:
    """The kind of failure that upstream's status says; None: it gave none."""
    if status is None:
        return FailureKind.UNREACHABLE
    if status == TOO_MANY_REQUESTS:
        return FailureKind.RATE_LIMITED
    return FailureKind.SERVER_ERROR if status >= SERVER_ERROR_MIN else FailureKind.REFUSED

"""Closed sets of words that events carry and that label what is counted: why, how it ended, which limit."""

from enum import StrEnum


class EscalationReason(StrEnum):
    """Why a deferred request moved to a faster tier."""

    DEADLINE = "deadline"
    """Waiting longer would put the deadline at risk."""
    WORN = "worn"
    """Batches failed it too often."""
    SCOUT = "scout"
    """One of a crowd goes ahead, because nobody knows the rate limit that the others may depend on."""


class CutReason(StrEnum):
    """Why a queue was cut into a batch."""

    LINES = "lines"
    BYTES = "bytes"
    TOKENS = "tokens"
    AGE = "age"
    SLACK = "slack"
    DRAIN = "drain"


class OutcomeLabel(StrEnum):
    """How a client's call ended."""

    OK = "ok"
    ERROR = "error"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class LimitKind(StrEnum):
    """Which of a provider's limits."""

    REQUESTS = "requests"
    TOKENS = "tokens"

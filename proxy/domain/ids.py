"""Names of things, as distinct types, and the source of the 128-bit time-ordered ids."""

import secrets
from collections.abc import Callable
from random import Random
from typing import NewType

RequestId = NewType("RequestId", str)
AttemptId = NewType("AttemptId", str)
BatchId = NewType("BatchId", str)
TenantId = NewType("TenantId", str)
UpstreamName = NewType("UpstreamName", str)
CredentialId = NewType("CredentialId", str)

RANDOM_BITS = 80
"""The rest of the 128 bits: 48 bits hold the milliseconds since 1970."""


_SHARED_DIGITS = 24


def line_request(batch_id: str, number: int) -> RequestId:
    """The id of the request for a line of a batch that is kept here: always the same, and in the order of the lines."""
    word = batch_id.rpartition("_")[2]
    return RequestId(f"req-{word[:_SHARED_DIGITS]}{number:08x}")


class IdSource:
    """Makes ids that sort by their time of making: a prefix, 12 hex digits of milliseconds, 20 of randomness.

    `random_bits` is injected so that a simulation is reproducible from its seed.
    """

    def __init__(self, random_bits: Callable[[int], int] | None = None) -> None:
        self._random_bits = random_bits or Random(secrets.randbits(256)).getrandbits  # noqa: S311  ids are no secrets

    def request(self, now: float) -> RequestId:
        return RequestId(self._make("req", now))

    def attempt(self, now: float) -> AttemptId:
        return AttemptId(self._make("att", now))

    def batch(self, now: float) -> BatchId:
        return BatchId(self._make("bat", now))

    def kept(self, kind: str, now: float) -> str:
        """The id of something that a client keeps here: `kind` is its prefix, with what parts it from the rest."""
        return f"{kind}{self._word(now)}"

    def _make(self, prefix: str, now: float) -> str:
        return f"{prefix}-{self._word(now)}"

    def _word(self, now: float) -> str:
        return f"{int(now * 1000):012x}{self._random_bits(RANDOM_BITS):020x}"

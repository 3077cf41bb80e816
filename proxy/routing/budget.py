"""How many tokens an account may have enqueued in batches of one model at a time, as far as is known.

Providers limit the prompt tokens of all unfinished batches together and say so only when it is too late: a batch over
the limit fails in validation. So tokens are reserved when a batch is planned and are free again when it has ended, and
no batch takes more than a quarter, so that one stuck batch cannot keep everything else out.

The limit is the configured one, or what a refusal names, or half of what was refused. It is used with caution after a
refusal that it did not foresee (our counts are estimates, and providers forget to release): half of it, a half of
that, and twice as much again after each batch that completes.
"""

import math

BATCH_SHARE = 0.25
"""What one batch may take of the limit."""
CAUTION_MIN = 2.0**-20


class Budget:
    """The enqueued tokens of one model at one account. `limit` is the configured one, None when it is not known."""

    def __init__(self, limit: int | None) -> None:
        self._limit = math.inf if limit is None else float(limit)
        self._guessed = False
        self._caution = 1.0

    def __repr__(self) -> str:
        return f"<Budget {self._limit:g} tokens, used by {self._caution:g}>"

    @property
    def is_known(self) -> bool:
        """Whether there is a limit to keep to."""
        return not math.isinf(self._limit)

    @property
    def limit(self) -> float:
        """The tokens that may be enqueued now; infinity while no limit is known."""
        return self._limit * self._caution

    @property
    def batch_max(self) -> int | None:
        """The tokens of one batch, None while no limit is known."""
        return max(1, int(self.limit * BATCH_SHARE)) if self.is_known else None

    def fits(self, tokens: int, enqueued: int) -> bool:
        """Whether a batch of so many tokens may join those that are enqueued. Alone, any batch may."""
        return enqueued <= 0 or enqueued + tokens <= self.limit

    def refused(self, tokens: int, *, enqueued: int, said: int | None) -> None:
        """The provider had no room for a batch of so many tokens beside `enqueued` others; `said` is the limit that it
        named.
        """
        if said is not None:
            self._limit, self._guessed = float(said), False
        elif math.isinf(self._limit):
            self._limit, self._guessed = float(max(2, enqueued + tokens)), True
        if enqueued + tokens <= self._limit:
            self._caution = max(CAUTION_MIN, self._caution / 2)

    def completed(self) -> None:
        """A batch went through."""
        if self._caution < 1:
            self._caution = min(1.0, self._caution * 2)
        elif self._guessed:
            self._limit *= 2

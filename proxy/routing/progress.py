"""How good a running batch's own pace is as a forecast, learned from how it has turned out.

A batch of age `a` of which the share `d` is done takes `a / d` if it goes on like that. Some providers work lines off
evenly, others do nothing for an hour and then all of them: the first are told by their pace, the second are not. Each
batch gives one error, the logarithm of what it took over what its pace had said early on; one that was cancelled later
than that, an error of at least so much. Their root mean square is the pace's sigma: the time that is said is a
log-normal's median. Pace and experience are blended as two measurements of one thing are, by the inverses of their
variances.
"""

import math

from proxy.routing.survival import number_of

DONE_MIN, DONE_MAX = 0.05, 0.9
"""With less of a batch done than this, its pace says nothing; with more, it is no forecast any more."""
BELIEVED_SIGMA, BELIEVED_BATCHES = 0.3, 2.0
"""Before there is experience: off by a third, as if so many batches had shown it. What a provider says of its own
progress is evidence; a pace that is believed too little lets batches that are stuck halfway hope on.
"""
SIGMA_MIN = 0.1
BATCHES_MAX = 200.0
"""The last so many count most."""
ERROR_MAX = 3.0
"""A factor of twenty: more says that something else has happened."""


class PaceErrors:
    """How far off paces have been."""

    def __init__(self) -> None:
        self._batches = BELIEVED_BATCHES
        self._mean_square = BELIEVED_SIGMA**2

    def __repr__(self) -> str:
        return f"<PaceErrors sigma={self.sigma:.2f}>"

    @property
    def sigma(self) -> float:
        """Of the logarithm of what batches take over what their pace says."""
        return max(SIGMA_MIN, math.sqrt(self._mean_square))

    def learn(self, said_seconds: float, took_seconds: float) -> None:
        """A batch has ended. Both more than 0."""
        error = min(abs(math.log(took_seconds / said_seconds)), ERROR_MAX)
        self._batches = min(self._batches + 1, BATCHES_MAX)
        self._mean_square += (error * error - self._mean_square) / self._batches

    def weight_beside(self, sigma: float) -> float:
        """How much a pace counts beside experience of this sigma: 0 not at all, 1 alone."""
        return sigma * sigma / (sigma * sigma + self.sigma**2)

    def snapshot(self) -> dict[str, object]:
        """What was learned, as plain JSON."""
        return {"batches": self._batches, "mean_square": self._mean_square}

    @classmethod
    def restored(cls, snapshot: object) -> "PaceErrors":
        """Take up a snapshot; None: there is none. Raises ValueError for what is no snapshot."""
        made = cls()
        match snapshot:
            case None:
                return made
            case {"batches": batches, "mean_square": mean_square}:
                made._batches = min(max(number_of(batches), BELIEVED_BATCHES), BATCHES_MAX)
                made._mean_square = min(max(number_of(mean_square), 0.0), ERROR_MAX**2)
                return made
            case _:
                raise ValueError("what is known of paces is no snapshot")

"""Ids in the style of OpenAI's, from a seed and a counter."""

from collections import Counter
from hashlib import sha256


class Ids:
    """Makes ids that do not repeat. The same seed and the same order give the same ids."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: Counter[str] = Counter()

    def next(self, prefix: str) -> str:
        """Return the prefix and 24 hex digits."""
        self._made[prefix] += 1
        return prefix + fingerprint(f"{self._seed}:{prefix}:{self._made[prefix]}")


def fingerprint(text: str) -> str:
    """Return 24 hex digits that stand for a text."""
    return sha256(text.encode()).hexdigest()[:24]


def account_of(key: str) -> str:
    """Return the account's name for a key: it is shown in the emulator's own account, the key never is."""
    return "acct_" + sha256(key.encode()).hexdigest()[:16]

"""Prompt caching as OpenAI describes it: from 1,024 tokens on, in steps of 128, for some minutes, synchronous only."""

from collections import OrderedDict
from hashlib import blake2b

from proxy.emulator.tokens import BYTES_PER_TOKEN

FIRST_TOKENS = 1024
STEP_TOKENS = 128
ENTRIES_MAX = 20_000
"""Prefixes remembered; the ones seen longest ago go first."""


class PromptCache:
    """Remembers prefixes per account and model. `ttl_seconds` is in seconds of the clock."""

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl_seconds = ttl_seconds
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def cached_tokens(self, account: str, model: str, prompt: str, now: float) -> int:
        """Return how many leading tokens were seen recently, and remember this prompt's prefixes."""
        hits = 0
        for tokens, digest in self._prefixes(account, model, prompt.encode()):
            if now - self._seen.pop(digest, float("-inf")) <= self._ttl_seconds:
                hits = tokens
            self._seen[digest] = now
        while len(self._seen) > ENTRIES_MAX:
            self._seen.popitem(last=False)
        return hits

    def _prefixes(self, account: str, model: str, prompt: bytes) -> list[tuple[int, bytes]]:
        running = blake2b(f"{account}\n{model}\n".encode(), digest_size=16)
        prefixes, start = [], 0
        for tokens in range(FIRST_TOKENS, len(prompt) // BYTES_PER_TOKEN + 1, STEP_TOKENS):
            running.update(prompt[start : tokens * BYTES_PER_TOKEN])
            start = tokens * BYTES_PER_TOKEN
            prefixes.append((tokens, running.digest()))
        return prefixes

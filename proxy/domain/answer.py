"""What a client gets back: upstream's own status, headers and body, and the tier that they were bought at."""

from dataclasses import dataclass

from proxy.domain.tier import Tier


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer to hand over. `headers` are upstream's end-to-end headers, in order, without `content-length`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    tier: Tier

    @property
    def succeeded(self) -> bool:
        return self.status < 400  # noqa: PLR2004  the HTTP border between answers and errors

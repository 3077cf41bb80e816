"""What buys at a provider: the headers that authenticate a call. Never printed, never logged."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Auth:
    """The authenticating headers of an upstream call, such as `Authorization` and `OpenAI-Organization`."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)

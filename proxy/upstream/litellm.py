"""Providers that are not OpenAI-shaped, through LiteLLM, which translates. They sell no batches here.

LiteLLM takes seconds to import and a millisecond of CPU per call: so it is imported at the first call to such an
upstream, in a thread, and no call to an OpenAI-shaped upstream ever touches it.
"""

import asyncio
import importlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from proxy.domain.answer import Answer
from proxy.domain.credential import Auth
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.ids import UpstreamName
from proxy.domain.limits import RateReading
from proxy.domain.tier import Tier
from proxy.upstream.interface import Call, Capabilities
from proxy.wire.errors import error_body

JSON_HEADERS = (("Content-Type", "application/json"),)
BAD_GATEWAY = 502
FUNCTIONS = {
    "/v1/chat/completions": "acompletion",
    "/v1/embeddings": "aembedding",
    "/v1/responses": "aresponses",
}
"""The endpoints that are translated, and LiteLLM's function for each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One account. `provider` is LiteLLM's name for it, such as `anthropic`; `base_url` None is the provider's own."""

    name: UpstreamName
    provider: str
    base_url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    call_seconds: float = 900.0
    capacity: int | None = None


class LiteLLMUpstream:
    """An account whose calls LiteLLM translates, from and to OpenAI's shapes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._importing = asyncio.Lock()
        self._module: ModuleType | None = None

    def __repr__(self) -> str:
        return f"<LiteLLMUpstream {self.name} {self._settings.provider}>"

    @property
    def name(self) -> UpstreamName:
        return self._settings.name

    @property
    def capabilities(self) -> Capabilities:
        nothing: frozenset[str] = frozenset()
        return Capabilities(
            batch=False,
            flex=False,
            endpoints=nothing,
            lines_max=1,
            bytes_max=2**62,
            window="",
            window_seconds=0.0,
            refuses=nothing,
            capacity=self._settings.capacity,
        )

    async def call(self, auth: Auth, endpoint: str, body: bytes, tier: Tier) -> Call:
        """Buy one whole answer. An error of the provider's is an answer in OpenAI's shape, with its own status."""
        try:
            answered = await self._ask(auth, endpoint, body)
        except UpstreamFault as fault:
            if fault.status is None:
                raise
            return Call(Answer(fault.status, JSON_HEADERS, fault.body, tier), RateReading())
        return Call(Answer(200, JSON_HEADERS, _json(answered), tier), RateReading())

    async def stream(self, auth: Auth, endpoint: str, body: bytes) -> AsyncIterator[bytes]:
        """The data of each event of a streamed answer, without framing. Raises `UpstreamFault` before the first one."""
        answered = await self._ask(auth, endpoint, body)
        async for chunk in answered:
            yield _json(chunk)

    async def _ask(self, auth: Auth, endpoint: str, body: bytes) -> Any:
        """What LiteLLM returns for a call, a model object or a stream of them."""
        settings = self._settings
        arguments: dict[str, Any] = json.loads(body)
        litellm = await self._litellm()
        arguments |= {
            "model": f"{settings.provider}/{arguments.get('model', '')}",
            "api_key": _bearer(auth),
            "timeout": settings.call_seconds,
            "num_retries": 0,
            "max_retries": 0,
        }
        if settings.base_url is not None:
            arguments["api_base"] = settings.base_url
        if settings.headers:
            arguments["extra_headers"] = dict(settings.headers)
        try:
            return await getattr(litellm, FUNCTIONS[endpoint])(**arguments)
        except Exception as error:
            raise _fault(error, settings.provider) from error

    async def _litellm(self) -> ModuleType:
        async with self._importing:
            if self._module is None:
                self._module = await asyncio.to_thread(_import)
        return self._module


def _import() -> ModuleType:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it asks the network for prices while importing
    litellm = importlib.import_module("litellm")
    setattr(litellm, "suppress_debug_info", True)  # noqa: B010  the module's type does not tell
    return litellm


def _bearer(auth: Auth) -> str:
    shown = dict(auth.headers)
    key = shown.get("authorization", shown.get("api-key", shown.get("x-api-key", "")))
    return key.removeprefix("Bearer ").removeprefix("bearer ")


def _json(answered: Any) -> bytes:
    content: str = answered.model_dump_json(exclude_none=True)
    return content.encode()


def _fault(error: Exception, provider: str) -> UpstreamFault:
    """LiteLLM's exceptions carry the provider's status; what carries none is a fault of the way there, or of ours."""
    status = getattr(error, "status_code", None)
    message = str(getattr(error, "message", None) or error or type(error).__name__)
    if not isinstance(status, int):
        return UpstreamFault(f"{provider}: {message}", retry=Retry.UNKNOWN_IF_BILLED)
    body = error_body(status=status, message=message, code=getattr(error, "code", None))
    later = status >= 500 or status == 429  # noqa: PLR2004  HTTP's own numbers
    return UpstreamFault(message, retry=Retry.LATER if later else Retry.NEVER, status=status, body=body)

"""Whether and where spans are sent. What makes them is imported only when they are: it needs the `otel` extra."""

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from proxy.domain.errors import ConfigFault

if TYPE_CHECKING:
    from proxy.telemetry.traces import Traces

NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


@dataclass(frozen=True, slots=True)
class Settings:
    """OpenTelemetry spans.

    - `enabled`: make and send them.
    - `endpoint`: a collector that takes OTLP over HTTP; None: what OTEL_EXPORTER_OTLP_ENDPOINT and the other standard
      variables say.
    """

    enabled: bool = False
    endpoint: str | None = None

    def __post_init__(self) -> None:
        if self.endpoint is None:
            return
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("endpoint: must be a URL without a user, such as http://127.0.0.1:4318")


def open_traces(settings: Settings) -> "Traces | None":
    """What listens to events and sends spans; None where it is not wanted. Raises `ConfigFault` without the extra."""
    if not settings.enabled:
        return None
    if not all(_is_installed(name) for name in NEEDED):
        raise ConfigFault("tracing.enabled needs OpenTelemetry: pip install 'standby-proxy[otel]'")
    from proxy.telemetry.traces import Traces  # noqa: PLC0415  it needs what may not be installed

    return Traces.over_http(settings.endpoint)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even what it would be a part of
        return False

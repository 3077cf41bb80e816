"""LiteLLM's cost map, read from the installed package's data file: importing the package itself takes seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from proxy.domain.errors import ConfigFault

FILE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class CostMap:
    """Prices by model as LiteLLM publishes them, and which release they come from."""

    models: Mapping[str, Mapping[str, object]]
    source: str


def read_cost_map(file: Path | None = None) -> CostMap:
    """The cost map of the installed LiteLLM, or of another copy of its file. Raises `ConfigFault` without one."""
    path, source = (_installed(), f"litellm {_version()}") if file is None else (file, str(file))
    try:
        models = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, object]])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigFault(f"the cost map {path} cannot be read: {error}") from error
    models.pop("sample_spec", None)
    return CostMap(models, source)


def _installed() -> Path:
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        raise ConfigFault("litellm is not installed: its data file holds the prices")
    return Path(spec.origin).parent / FILE


def _version() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "of an unknown version"

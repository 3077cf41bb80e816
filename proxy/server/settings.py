"""The server's own settings."""

import math
import re
from dataclasses import dataclass, field
from ipaddress import ip_address

from proxy.wire import patience


@dataclass(frozen=True, slots=True)
class VirtualSettings:
    """Batches that Standby runs itself.

    - `enabled`: serve all of `/v1/files` and `/v1/batches` here, instead of passing them on.
    - `file_max_bytes`, `lines_max`: of one file.
    - `line_max_bytes`: of one line.
    - `open_max`: how many lines of one batch wait to be bought at once; the others are still in its file.
    - `batches_max`: how many batches of one tenant may be under way.
    - `grace_seconds`: how long a batch that is cancelled, or whose time is over, waits for calls that are under way.
    - `retention_seconds`: how long files and ended batches are kept, and the longest completion window.
    - `look_seconds`: how often it is looked for what is to be done.
    """

    enabled: bool = False
    file_max_bytes: int = 200_000_000
    lines_max: int = 50_000
    line_max_bytes: int = 16 * 2**20
    open_max: int = 1_000
    batches_max: int = 100
    grace_seconds: float = 600.0
    retention_seconds: float = 7 * 86_400.0
    look_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in ("file_max_bytes", "lines_max", "line_max_bytes", "open_max", "batches_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is no limit to work under; give at least 1")
        if not 0 < self.look_seconds < math.inf:
            raise ValueError("look_seconds: must be more than 0 seconds, such as 1s")
        if self.retention_seconds <= 0:
            raise ValueError("retention_seconds: must be more than 0 seconds, such as 7d")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to listen, and how much to take in.

    - `host`, `port`: the address. Port 0 takes a free one.
    - `open_to_network`: allow listening on something else than loopback without proxy keys.
    - `backlog`: connections that may wait to be accepted; bursts need a large one.
    - `body_max_bytes`: the largest body of a call that Standby has to read; uploads are streamed and not limited.
    - `hold`: how connections are kept alive while an answer is being bought.
    - `operator_key_env`: the environment variable that holds the operator's key; unset, there is no operator.
    - `return_grace_seconds`: how long after its client has left an unsubmitted held request is given up.
    - `drain_seconds`: how long calls may go on when the process is told to stop.
    - `come_back_seconds`: what held clients are told to wait before they try again, when the process stops.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    open_to_network: bool = False
    backlog: int = 4096
    body_max_bytes: int = 64 * 2**20
    hold: patience.Settings = field(default_factory=patience.Settings)
    operator_key_env: str = "STANDBY_OPERATOR_KEY"
    return_grace_seconds: float = 180.0
    drain_seconds: float = 30.0
    come_back_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:  # noqa: PLR2004  TCP's range
            raise ValueError(f"port: {self.port} is no TCP port; give 1 to 65535, or 0 for any free one")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.operator_key_env):
            # what stands there is not repeated: it may be the key
            raise ValueError("operator_key_env: must be the name of a variable, such as STANDBY_OPERATOR_KEY")
        if self.backlog < 1:
            raise ValueError("backlog: must be at least 1")
        if self.body_max_bytes < 1:
            raise ValueError("body_max_bytes: must be at least 1 byte")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

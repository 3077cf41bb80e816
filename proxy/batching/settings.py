"""The engine's own settings. What is decided elsewhere (cutting, polling, escalation) has its settings there."""

from dataclasses import dataclass, field

from proxy.routing import cutting, escalation, polling
from proxy.routing.flex import Settings as FlexSettings

FILE_EXPIRY_MIN, FILE_EXPIRY_MAX = 3600, 2_592_000
"""What OpenAI takes as `expires_after.seconds`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the engine works through its queues.

    - `tick_seconds`: new work is looked at no more often than this.
    - `look_seconds`: how often waiting requests are checked against their deadlines at the least.
    - `tries_max`: how many batches may fail a request before only a synchronous call will do.
    - `calls_max`: synchronous calls for deferred requests under way at once.
    - `settle_seconds`: how long after a lost reply the provider's list is trusted to show a created batch.
    - `vanish_seconds`: how long a new batch may answer 404 before it counts as lost.
    - `catch_up_seconds`: a batch that should have been asked about so long ago is asked, and collected if it is done,
      before its lines are bought again or given up; they wait no longer than this for it.
    - `absent_output_seconds`: how long an ended batch may lack its files.
    - `collect_tries`: how often broken result files are read again before what is missing counts as missing.
    - `backoff_seconds`, `backoff_max_seconds`: after a failed step, doubling.
    - `rung_retry_seconds`: how long an upstream that knows no batches is not asked again.
    - `input_file_expiry_seconds`: the provider deletes our upload after this by itself, the second net.
    - `sweep_seconds`: how often finished requests and orphaned files are looked for.
    - `orphan_seconds`: how old a file of ours that nothing refers to must be before it is deleted.
    - `retention_seconds`: how long a finished request and its answer are kept.
    """

    tick_seconds: float = 0.25
    look_seconds: float = 10.0
    tries_max: int = 2
    calls_max: int = 64
    settle_seconds: float = 30.0
    vanish_seconds: float = 300.0
    catch_up_seconds: float = 60.0
    absent_output_seconds: float = 120.0
    collect_tries: int = 5
    backoff_seconds: float = 2.0
    backoff_max_seconds: float = 300.0
    rung_retry_seconds: float = 600.0
    input_file_expiry_seconds: int = 172_800
    sweep_seconds: float = 300.0
    orphan_seconds: float = 3600.0
    retention_seconds: float = 86_400.0
    cut: cutting.Settings = field(default_factory=cutting.Settings)
    poll: polling.Settings = field(default_factory=polling.Settings)
    escalate: escalation.Settings = field(default_factory=escalation.Settings)
    flex: FlexSettings = field(default_factory=FlexSettings)

    def __post_init__(self) -> None:
        for name in ("tick_seconds", "look_seconds", "backoff_seconds", "sweep_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be more than 0 seconds, such as 1s")
        if not FILE_EXPIRY_MIN <= self.input_file_expiry_seconds <= FILE_EXPIRY_MAX:
            raise ValueError("input_file_expiry_seconds: OpenAI takes 1h to 30d, such as 2d")
        for name in ("tries_max", "calls_max", "collect_tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1")

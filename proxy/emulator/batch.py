"""One batch: its timetable, which is fixed when it is created, and the object that clients see."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from proxy.emulator.answers import responses_usage
from proxy.emulator.bill import Tally
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.lines import Plan, Problem
from proxy.emulator.pace import Pace, unix
from proxy.emulator.settings import Settings
from proxy.emulator.shape import JsonObject
from proxy.emulator.tokens import Usage
from proxy.emulator.turnaround import Drawn

WAITING_SHARE_MAX = 0.25
"""Validating and finalizing take at most this share of a batch's time each."""


class Status(StrEnum):
    """OpenAI's states of a batch."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


TERMINAL = frozenset({Status.FAILED, Status.COMPLETED, Status.EXPIRED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a batch moves on by itself, as instants of the clock; infinite: never."""

    validated_at: float
    finalizing_at: float
    completed_at: float
    expires_at: float
    done_share: float = 0.0
    """If it never gets to finalizing: the share of its lines that is done all the same."""

    def finished_lines(self, total: int, now: float) -> int:
        """Return how many of the lines are done."""
        if now < self.validated_at:
            return 0
        if now >= self.finalizing_at:
            return total
        if math.isinf(self.finalizing_at):
            return int(total * self.done_share)
        return int(total * (now - self.validated_at) / (self.finalizing_at - self.validated_at))


def timetable(settings: Settings, pace: Pace, drawn: Drawn, created_at: float, stuck_in: str | None) -> Timetable:
    """Lay out a batch's life from its drawn duration. `stuck_in` names a state that it never leaves by itself."""
    validating = min(settings.validating_seconds, drawn.seconds * WAITING_SHARE_MAX)
    finalizing = min(settings.finalizing_seconds, drawn.seconds * WAITING_SHARE_MAX)
    validated_at = pace.after(created_at, validating)
    finalizing_at = pace.after(created_at, drawn.seconds - finalizing)
    completed_at = pace.after(created_at, drawn.seconds)
    share = drawn.done_share
    if stuck_in == "validating":
        validated_at = finalizing_at = completed_at = math.inf
    elif stuck_in == "in_progress":
        finalizing_at = completed_at = math.inf
    elif stuck_in == "finalizing":
        completed_at = math.inf
    expires_at = pace.after(created_at, settings.window_seconds)
    return Timetable(validated_at, finalizing_at, completed_at, expires_at, share)


@dataclass(slots=True)
class Batch:
    """One batch of one account. `reached` holds when it came into each state."""

    id: str
    account: str
    endpoint: str
    input_file_id: str
    metadata: JsonObject | None
    created_at: float
    timetable: Timetable
    pinned: Path
    output_keep_seconds: float
    visible_at: float
    faults: tuple[Fault, ...] = ()
    status: Status = Status.VALIDATING
    plan: Plan | None = None
    """Where its lines are; only from validation to the end, so that ended batches stay small."""
    model: str | None = None
    total: int = 0
    problems: list[Problem] = field(default_factory=list)
    reached: dict[Status, float] = field(default_factory=dict)
    cancelled_at: float = math.inf
    finished_when_cancelled: int = 0
    completed_lines: int = 0
    failed_lines: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    files_visible_at: float = 0.0
    tally: Tally = field(default_factory=Tally)

    def fault(self, kind: FaultKind) -> Fault | None:
        """Return the fault of this kind that struck this batch, if one did."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def due_at(self) -> float:
        """Return when the batch moves on by itself; infinite when it is at its end."""
        times = self.timetable
        match self.status:
            case Status.VALIDATING:
                return min(times.validated_at, times.expires_at)
            case Status.IN_PROGRESS:
                return min(times.finalizing_at, times.expires_at)
            case Status.FINALIZING:
                return min(times.completed_at, times.expires_at)
            case Status.CANCELLING:
                return self.cancelled_at
            case _:
                return math.inf

    def move(self, status: Status, at: float) -> None:
        """Enter a state."""
        self.status = status
        self.reached[status] = at

    def shown(self, now: float) -> JsonObject:
        """Return OpenAI's batch object as it is now."""
        visible = now >= self.files_visible_at
        entries = [problem.shown() for problem in self.problems]
        clean = "" if self.fault(FaultKind.EMPTY_ERROR_FILE_ID) and self.status in TERMINAL else None
        usage = Usage(self.tally.prompt_tokens, self.tally.completion_tokens, self.tally.cached_tokens)
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": entries} if entries else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status.value,
            "output_file_id": self.output_file_id if visible else None,
            "error_file_id": (self.error_file_id or clean) if visible else None,
            "created_at": int(self.created_at),
            "in_progress_at": unix(self.reached.get(Status.IN_PROGRESS)),
            "expires_at": unix(self.timetable.expires_at),
            "finalizing_at": unix(self.reached.get(Status.FINALIZING)),
            "completed_at": unix(self.reached.get(Status.COMPLETED)),
            "failed_at": unix(self.reached.get(Status.FAILED)),
            "expired_at": unix(self.reached.get(Status.EXPIRED)),
            "cancelling_at": unix(self.reached.get(Status.CANCELLING)),
            "cancelled_at": unix(self.reached.get(Status.CANCELLED)),
            "request_counts": self._counts(now),
            "usage": responses_usage(usage),
            "metadata": self.metadata,
        }

    def _counts(self, now: float) -> JsonObject:
        if self.plan is None:
            return {"total": self.total, "completed": self.completed_lines, "failed": self.failed_lines}
        finished = self.finished_lines(now)
        failed = self.plan.failed_among(finished)
        return {"total": self.total, "completed": finished - failed, "failed": failed}

    def finished_lines(self, now: float) -> int:
        """Return how many lines are done: by the timetable, or what was done when it was cancelled."""
        if self.status is Status.CANCELLING:
            return self.finished_when_cancelled
        return self.timetable.finished_lines(self.total, now)

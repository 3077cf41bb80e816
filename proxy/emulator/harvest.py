"""Doing a batch's lines and writing its output and error files. Runs in a thread, on files and plain values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from proxy.emulator.answers import Answers, Circumstances
from proxy.emulator.bill import Tally, price
from proxy.emulator.catalog import Catalog
from proxy.emulator.errors import ApiError, server_error
from proxy.emulator.faults import Fault, FaultKind
from proxy.emulator.ids import fingerprint
from proxy.emulator.lines import Plan, read_at
from proxy.emulator.purchases import Bought, bought
from proxy.emulator.shape import JsonObject, dump
from proxy.emulator.tokens import Usage
from proxy.emulator.validation import check

NOT_DONE = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}


@dataclass(frozen=True, slots=True)
class Job:
    """All that is needed to end a batch: which lines are done (the first `finished` of the plan), and how it ends."""

    batch_id: str
    endpoint: str
    input_path: Path
    output_path: Path
    error_path: Path
    plan: Plan
    finished: int
    ended_as: str
    ended_at: float
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class Harvest:
    """What came of it. Sizes are bytes; a file of 0 bytes has been written but stands for none."""

    completed: int = 0
    failed: int = 0
    output_size: int = 0
    error_size: int = 0
    tally: Tally = field(default_factory=Tally)
    purchases: list[Bought] = field(default_factory=list)


class Harvester:
    """Does the lines of batches with the same answers and the same checks as the synchronous routes."""

    def __init__(self, answers: Answers, catalog: Catalog) -> None:
        self._answers = answers
        self._catalog = catalog

    def harvest(self, job: Job) -> Harvest:
        """Do the finished lines, write both files, and return what was bought."""
        result = Harvest()
        oddities = Oddities(job.faults)
        with job.output_path.open("wb") as output, job.error_path.open("wb") as errors:
            for position, (offset, custom_id, body) in enumerate(read_at(job.input_path, job.plan.offsets)):
                if position >= job.finished:
                    _write(errors, _not_done(job, custom_id))
                    continue
                line, usage = self._do(job, offset, custom_id, body)
                if usage is None:
                    _write(errors, line)
                    continue
                oddities.write(output, line)
                result.tally.add(usage, price(self._catalog, job.plan.model, "batch", usage))
                result.purchases.append(bought(job.endpoint, body, custom_id))
            oddities.finish(job.batch_id, output)
            result.output_size, result.error_size = output.tell(), errors.tell()
        result.completed = result.tally.requests
        result.failed = job.plan.total - result.completed
        return result

    def _do(self, job: Job, offset: int, custom_id: str, body: JsonObject) -> tuple[JsonObject, Usage | None]:
        """Return a line's outcome and what it used; None: it was refused and is not billed."""
        identity = fingerprint(f"{job.batch_id}:{custom_id}")
        fault = job.plan.injected.get(offset)
        if fault is not None and (fault.kind is FaultKind.NO_RESPONSE or not fault.status):
            return _without_response(identity, custom_id, fault), None
        try:
            if fault is not None:
                raise server_error(fault.status)
            check(job.endpoint, body, self._catalog)
        except ApiError as refusal:
            return _line(identity, custom_id, refusal.status, refusal.body()), None
        answer = self._answers.answer(job.endpoint, body, Circumstances(identity, job.ended_at))
        return _line(identity, custom_id, 200, answer.body), answer.usage


class Oddities:
    """Injected faults of an output file: lines that are missing, doubled, or of nobody."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        counts: Mapping[FaultKind, int] = {fault.kind: fault.lines for fault in faults}
        self._missing = counts.get(FaultKind.MISSING_LINES, 0)
        self._doubled = counts.get(FaultKind.DUPLICATED_LINES, 0)
        self._unknown = counts.get(FaultKind.UNKNOWN_LINES, 0)

    def write(self, output: BinaryIO, line: JsonObject) -> None:
        """Write an output line once, twice or not at all."""
        if self._missing:
            self._missing -= 1
            return
        _write(output, line)
        if self._doubled:
            self._doubled -= 1
            _write(output, line)

    def finish(self, batch_id: str, output: BinaryIO) -> None:
        """Write the lines that nobody asked for."""
        for number in range(self._unknown):
            identity = fingerprint(f"{batch_id}:unknown:{number}")
            _write(output, _line(identity, f"unknown-{identity}", 200, {"object": "chat.completion", "choices": []}))


def _line(identity: str, custom_id: str, status: int, body: JsonObject) -> JsonObject:
    response = {"status_code": status, "request_id": f"req_{identity}", "body": body}
    return {"id": f"batch_req_{identity}", "custom_id": custom_id, "response": response, "error": None}


def _without_response(identity: str, custom_id: str, fault: Fault) -> JsonObject:
    """The two failures that have no answer of the model's in them."""
    if fault.kind is FaultKind.NO_RESPONSE:
        error = {"code": "server_error", "message": "The server had an error while processing this line."}
        return {"id": f"batch_req_{identity}", "custom_id": custom_id, "response": None, "error": error}
    response = {"status_code": 0, "request_id": "", "body": None}
    return {"id": f"batch_req_{identity}", "custom_id": custom_id, "response": response, "error": None}


def _not_done(job: Job, custom_id: str) -> JsonObject:
    code, message = NOT_DONE[job.ended_as]
    identity = fingerprint(f"{job.batch_id}:{custom_id}")
    error = {"code": code, "message": message}
    return {"id": f"batch_req_{identity}", "custom_id": custom_id, "response": None, "error": error}


def _write(handle: BinaryIO, line: JsonObject) -> None:
    handle.write(dump(line) + b"\n")

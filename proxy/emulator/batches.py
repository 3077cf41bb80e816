"""All batches: created, listed, cancelled, and moved on by the clock.

There is no timer. Whoever looks first calls `catch_up`, which makes every move that has become due, in the order of
their due times, each recorded at its due time. What is seen is therefore the same whenever somebody looks.
"""

import asyncio
from collections import Counter

from proxy.emulator.answers import Answers
from proxy.emulator.batch import TERMINAL, Batch, Status, timetable
from proxy.emulator.bill import Bill
from proxy.emulator.catalog import ENDPOINTS, Catalog
from proxy.emulator.errors import ApiError, bad_request
from proxy.emulator.faults import BATCH_OPERATION, FaultKind, Faults
from proxy.emulator.files import Shelf, StoredFile
from proxy.emulator.harvest import Harvester, Job
from proxy.emulator.ids import Ids
from proxy.emulator.limits import WindowCounter
from proxy.emulator.lines import Plan, Problem, Reader, Rules
from proxy.emulator.pace import Pace
from proxy.emulator.purchases import Purchases
from proxy.emulator.settings import Settings
from proxy.emulator.shape import JsonObject, as_text
from proxy.emulator.turnaround import Turnarounds
from proxy.emulator.validation import check_expiry, check_metadata

HOUR_SECONDS = 3600.0
CREATE_FIELDS = frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"})


class Batches:
    """Every batch of every account, kept in memory until the emulator ends."""

    def __init__(
        self,
        settings: Settings,
        pace: Pace,
        *,
        ids: Ids,
        catalog: Catalog,
        answers: Answers,
        shelf: Shelf,
        bill: Bill,
        purchases: Purchases,
        faults: Faults,
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._ids = ids
        self._catalog = catalog
        self._shelf = shelf
        self._bill = bill
        self._purchases = purchases
        self._faults = faults
        self._harvester = Harvester(answers, catalog)
        self._turnarounds = Turnarounds(settings.turnaround, settings.seed)
        self._creations = WindowCounter(
            "batch creations per hour", settings.batch_creations_per_hour, HOUR_SECONDS / settings.time_scale
        )
        self._batches: dict[str, Batch] = {}
        self._living: dict[str, Batch] = {}
        self._moving = asyncio.Lock()

    async def create(self, account: str, body: JsonObject) -> Batch:
        """Create a batch in `validating`, or refuse with a 400 or 429."""
        now = self._pace.now()
        keep_seconds = self._check_create(body)
        stored = await self._input_file(account, as_text(body["input_file_id"]))
        self._creations.take(account, now)
        batch_id = self._ids.next("batch_")
        faults = self._faults.draw_all(BATCH_OPERATION)
        seconds = {fault.kind: fault.seconds for fault in faults}
        states = {fault.kind: fault.state for fault in faults}
        drawn = self._turnarounds.draw(self._pace.since_start(now))
        metadata = body.get("metadata")
        batch = Batch(
            id=batch_id,
            account=account,
            endpoint=as_text(body["endpoint"]),
            input_file_id=stored.id,
            metadata=metadata if isinstance(metadata, dict) else None,
            created_at=now,
            timetable=timetable(self._settings, self._pace, drawn, now, states.get(FaultKind.STUCK)),
            pinned=await self._shelf.pin(stored, batch_id),
            output_keep_seconds=keep_seconds,
            visible_at=self._pace.after(now, seconds.get(FaultKind.HIDDEN, 0.0)),
            faults=faults,
        )
        self._batches[batch_id] = self._living[batch_id] = batch
        return batch

    async def get(self, account: str, batch_id: str) -> Batch:
        """Return a batch of this account as it is now, or refuse with a 404."""
        await self.catch_up()
        return self._find(account, batch_id)

    def _find(self, account: str, batch_id: str) -> Batch:
        batch = self._batches.get(batch_id)
        if batch is None or batch.account != account or batch.visible_at > self._pace.now():
            raise ApiError(404, f"No batch found with id '{batch_id}'.", param="batch_id")
        return batch

    async def page(self, account: str, after: str | None, limit: int) -> tuple[list[Batch], bool]:
        """Return one page of this account's batches, newest first, and whether there are more."""
        await self.catch_up()
        now = self._pace.now()
        mine = [one for one in reversed(self._batches.values()) if one.account == account and one.visible_at <= now]
        if after is not None:
            position = next((place for place, one in enumerate(mine) if one.id == after), None)
            if position is None:
                raise bad_request(f"No batch with id '{after}' to list after.", param="after")
            mine = mine[position + 1 :]
        return mine[:limit], len(mine) > limit

    async def cancel(self, account: str, batch_id: str) -> Batch:
        """Begin to cancel a batch; refused with a 400 when it is cancelling already or at its end."""
        async with self._moving:
            await self._catch_up()
            return self._begin_cancel(self._find(account, batch_id))

    def _begin_cancel(self, batch: Batch) -> Batch:
        if batch.status in TERMINAL or batch.status is Status.CANCELLING:
            raise bad_request(f"Cannot cancel a batch with status '{batch.status}'.")
        now = self._pace.now()
        finished = batch.finished_lines(now)
        in_flight = self._settings.lines_in_flight if batch.status is Status.IN_PROGRESS else 0
        batch.finished_when_cancelled = min(batch.total, finished + in_flight)
        batch.cancelled_at = self._pace.after(now, self._settings.cancelling_seconds)
        batch.move(Status.CANCELLING, now)
        return batch

    async def catch_up(self) -> None:
        """Make every move that is due by now."""
        async with self._moving:
            await self._catch_up()

    async def _catch_up(self) -> None:
        now = self._pace.now()
        while self._living:
            batch = min(self._living.values(), key=Batch.due_at)
            due_at = batch.due_at()
            if due_at > now:
                return
            await self._advance(batch, due_at)
            if batch.status in TERMINAL:
                del self._living[batch.id]

    def states(self) -> dict[str, int]:
        """Count batches by state, as of the last `catch_up`."""
        return dict(Counter(batch.status.value for batch in self._batches.values()))

    async def _advance(self, batch: Batch, due_at: float) -> None:
        if batch.status is Status.CANCELLING:
            await self._end(batch, Status.CANCELLED, due_at)
        elif due_at >= batch.timetable.expires_at:
            await self._end(batch, Status.EXPIRED, due_at)
        elif batch.status is Status.VALIDATING:
            await self._validate(batch, due_at)
        elif batch.status is Status.IN_PROGRESS:
            batch.move(Status.FINALIZING, due_at)
        else:
            await self._end(batch, Status.COMPLETED, due_at)

    async def _validate(self, batch: Batch, at: float) -> None:
        rules = Rules(self._settings, self._catalog, self._faults, batch.endpoint, batch.id)
        plan = await self._pace.off_loop(Reader(rules).read, batch.pinned)
        problems = plan.problems or self._over_enqueued(batch, plan)
        if problems:
            batch.problems = problems
            batch.move(Status.FAILED, at)
            await self._shelf.discard(batch.pinned)
            return
        batch.plan, batch.model, batch.total = plan, plan.model, plan.total
        batch.move(Status.IN_PROGRESS, at)

    def _over_enqueued(self, batch: Batch, plan: Plan) -> list[Problem]:
        settings = self._settings
        limit = settings.model_enqueued_tokens_max.get(plan.model, settings.enqueued_tokens_max)
        enqueued = sum(
            other.plan.tokens
            for other in self._living.values()
            if other.account == batch.account and other.plan is not None and other.plan.model == plan.model
        )
        if enqueued + plan.tokens <= limit:
            return []
        message = (
            f"Enqueued token limit reached for {plan.model} in organization {settings.organization}. Limit: {limit:,} "
            "enqueued tokens. Please try again once some in_progress batches have been completed."
        )
        return [Problem("token_limit_exceeded", message)]

    async def _end(self, batch: Batch, status: Status, at: float) -> None:
        """Do the lines that are done by now, write the files, book the purchases."""
        if batch.plan is not None:
            await self._harvest(batch, batch.plan, status, at)
            batch.plan = None
        await self._shelf.discard(batch.pinned)
        late = batch.fault(FaultKind.LATE_OUTPUT)
        batch.files_visible_at = self._pace.after(at, late.seconds) if late is not None else at
        batch.move(status, at)

    async def _harvest(self, batch: Batch, plan: Plan, status: Status, at: float) -> None:
        output, errors = (self._shelf.path_for(f"{batch.id}_{name}.jsonl") for name in ("output", "error"))
        finished = batch.finished_lines(at)
        job = Job(
            batch.id, batch.endpoint, batch.pinned, output, errors, plan, finished, status.value, at, batch.faults
        )
        result = await self._pace.off_loop(self._harvester.harvest, job)
        batch.completed_lines, batch.failed_lines, batch.tally = result.completed, result.failed, result.tally
        self._bill.tally(batch.account, plan.model, "batch").merge(result.tally)
        self._purchases.book(result.purchases)
        for path, size in ((output, result.output_size), (errors, result.error_size)):
            if size == 0 and not (path == errors and batch.fault(FaultKind.ZERO_BYTE_ERROR_FILE)):
                await self._shelf.discard(path)
                continue
            keep = batch.output_keep_seconds
            stored = self._shelf.add(
                batch.account, path, filename=path.name, purpose="batch_output", size=size, at=at, keep_seconds=keep
            )
            if path == output:
                batch.output_file_id = stored.id
            else:
                batch.error_file_id = stored.id

    def _check_create(self, body: JsonObject) -> float:
        """Refuse a wrong create body; return for how long its output files are kept."""
        unknown = [name for name in body if name not in CREATE_FIELDS]
        if unknown:
            raise bad_request(f"Unknown parameter: '{unknown[0]}'.", param=unknown[0], code="unknown_parameter")
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                message = f"Missing required parameter: '{name}'."
                raise bad_request(message, param=name, code="missing_required_parameter")
        if body["endpoint"] not in ENDPOINTS:
            message = f"Invalid value: '{body['endpoint']}'. Supported values are: {', '.join(ENDPOINTS)}."
            raise bad_request(message, param="endpoint", code="invalid_value")
        if body["completion_window"] != "24h":
            message = f"Invalid value: '{body['completion_window']}'. Value must be '24h'."
            raise bad_request(message, param="completion_window", code="invalid_value")
        metadata = body.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise bad_request("Invalid type for 'metadata': expected an object.", param="metadata", code="invalid_type")
        check_metadata(metadata or {})
        if body.get("output_expires_after") is None:
            return self._settings.file_retention_seconds
        return check_expiry("output_expires_after", body["output_expires_after"])

    async def _input_file(self, account: str, file_id: str) -> StoredFile:
        try:
            stored = await self._shelf.get(account, file_id)
        except ApiError as error:
            raise bad_request(error.message, param="input_file_id", code="invalid_input_file") from error
        if stored.purpose != "batch":
            raise bad_request(f"File {file_id} does not have purpose 'batch'.", param="input_file_id")
        return stored

"""The provider of a backtest: sells batches and calls in virtual time, with the emulator's rate limits, and keeps its
own bill. It is asked through the seam that every provider is asked through (`upstream.interface`), without HTTP.

Bodies are not prompts but token counts, `{"tokens": [prompt, completion]}`: that is all that a bill depends on.
"""

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import msgspec

from proxy.backtest.weather import CompletionPath
from proxy.domain.answer import Answer
from proxy.domain.credential import Auth
from proxy.domain.errors import Retry, UpstreamFault
from proxy.domain.ids import UpstreamName
from proxy.domain.money import Usage
from proxy.domain.tier import Tier
from proxy.emulator.errors import ApiError
from proxy.emulator.limits import Limits
from proxy.emulator.settings import Settings as EmulatorSettings
from proxy.routing.pricing import PriceBook
from proxy.simulation.clock import LoopClock
from proxy.upstream.interface import Call, Capabilities, ProviderBatch, ProviderFile
from proxy.wire.limits import read_rate
from proxy.wire.lines import BATCH_ENDPOINTS, STRIPPED

ENDPOINT = "/v1/chat/completions"
NAME = UpstreamName("backtest")
WINDOW_SECONDS = 86_400.0
CALL_SECONDS, CALL_SECONDS_PER_TOKEN = 0.5, 0.005
CANCELLING_SECONDS = (10.0, 600.0)
"""Cancelling takes up to ten minutes, says OpenAI: drawn evenly."""
LINE_SECONDS = 60.0
"""Lines that are at work when a batch is cancelled still finish, and are billed: those of the next so many seconds."""
TERMINAL = frozenset({"completed", "expired", "cancelled"})


class _Body(msgspec.Struct):
    model: str
    tokens: tuple[int, int]


class _Line(msgspec.Struct):
    custom_id: str
    body: _Body


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_line = msgspec.json.Decoder(_Line).decode


def body_of(model: str, prompt_tokens: int, completion_tokens: int) -> bytes:
    """A request of these lengths."""
    return msgspec.json.encode({"model": model, "tokens": (prompt_tokens, completion_tokens)})


@dataclass(slots=True)
class _Job:
    """One batch. Instants are the clock's; `done_at_end` is how many lines it has finished when it is terminal."""

    id: str
    lines: list[_Line]
    created_at: float
    completed_at: float
    metadata: Mapping[str, str]
    cancelled_at: float = math.inf
    done_when_cancelled: int = 0
    closed: bool = False

    @property
    def ends_at(self) -> float:
        return min(self.completed_at, self.created_at + WINDOW_SECONDS, self.cancelled_at)

    def status(self, now: float) -> str:
        if now < self.ends_at:
            return "in_progress" if math.isinf(self.cancelled_at) else "cancelling"
        if self.cancelled_at == self.ends_at:
            return "cancelled"
        return "completed" if self.completed_at == self.ends_at else "expired"

    def finished_lines(self, now: float) -> int:
        """Lines are worked off evenly over the batch's life; their results appear when it ends."""
        if not math.isinf(self.cancelled_at):
            return self.done_when_cancelled
        at = min(now, self.ends_at)
        return int(len(self.lines) * (at - self.created_at) / (self.completed_at - self.created_at))


@dataclass(frozen=True, slots=True)
class Settings:
    """`rpm` per model; `flex_refusals` is the share of flex calls without capacity, None: flex is not sold."""

    rpm: int
    seed: int
    flex_refusals: float | None = None


@dataclass(slots=True)
class Bill:
    """What the provider charged, by its own account."""

    usd: Decimal = Decimal(0)
    calls: int = 0
    lines: int = 0
    refused: int = 0
    jobs: int = 0
    by_tier: dict[Tier, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


class Provider:
    """Implements `upstream.interface.BatchUpstream` on a virtual clock. `paths` are the completion times by model."""

    def __init__(
        self, clock: LoopClock, paths: Mapping[str, CompletionPath], prices: PriceBook, settings: Settings
    ) -> None:
        self._clock = clock
        self._began_at = clock.now()
        self._paths = paths
        self._prices = prices
        self._settings = settings
        # clients here are patient: if refusals counted, a crowd that repeats its calls would keep everybody out
        self._limits = Limits(EmulatorSettings(rpm=settings.rpm, refused_calls_count=False))
        self._random = Random(f"provider {settings.seed}")
        self._files: dict[str, list[_Line]] = {}
        self._results: dict[str, str] = {}
        self._jobs: dict[str, _Job] = {}
        self._made = 0
        self.bill = Bill()
        self.capabilities = Capabilities(
            batch=True,
            flex=settings.flex_refusals is not None,
            endpoints=BATCH_ENDPOINTS,
            lines_max=50_000,
            bytes_max=190_000_000,
            window="24h",
            window_seconds=WINDOW_SECONDS,
            refuses=STRIPPED,
        )

    @property
    def name(self) -> UpstreamName:
        return NAME

    @property
    def files_left(self) -> int:
        """Files in storage."""
        return len(self._files) + len(self._results)

    async def call(self, auth: Auth, endpoint: str, body: bytes, tier: Tier) -> Call:
        """Serve a call, or refuse it by the rate limit, or (flex) for want of capacity."""
        del auth, endpoint
        asked = _decode_body(body)
        now = self._clock.now()
        try:
            headers = self._limits.take("", asked.model, asked.tokens[0], now)
        except ApiError as refusal:
            self.bill.refused += 1
            rate = read_rate(refusal.headers, now=now)
            return Call(Answer(refusal.status, (), b'{"error":{"code":"rate_limit_exceeded"}}', tier), rate)
        rate = read_rate(headers, now=now)
        if tier is Tier.FLEX and self._random.random() < (self._settings.flex_refusals or 0.0):
            self.bill.refused += 1
            return Call(Answer(429, (), b'{"error":{"code":"resource_unavailable"}}', tier), rate)
        await self._clock.sleep_until(now + CALL_SECONDS + CALL_SECONDS_PER_TOKEN * asked.tokens[1])
        self._charge(asked, tier)
        self.bill.calls += 1
        return Call(Answer(200, (), _answer(asked), tier), rate)

    async def upload(self, auth: Auth, name: str, size: int, lines: AsyncIterator[bytes], expires_seconds: int) -> str:
        """Keep a file's lines."""
        del auth, name, size, expires_seconds
        file_id = self._new_id("file")
        self._files[file_id] = [_decode_line(line) async for line in lines]
        return file_id

    async def create(self, auth: Auth, input_file_id: str, endpoint: str, metadata: Mapping[str, str]) -> ProviderBatch:
        """Start a job; its end is the world's."""
        del auth, endpoint
        lines, now = self._files[input_file_id], self._clock.now()
        completed_at = self._began_at + self._paths[lines[0].body.model].completed_at(now - self._began_at)
        job = _Job(self._new_id("batch"), lines, now, completed_at, dict(metadata))
        self._jobs[job.id] = job
        self.bill.jobs += 1
        return self._shown(job)

    async def retrieve(self, auth: Auth, provider_id: str) -> ProviderBatch:
        """The job as it is now."""
        del auth
        return self._shown(self._jobs[provider_id])

    async def cancel(self, auth: Auth, provider_id: str) -> ProviderBatch:
        """Stop a job, within ten minutes."""
        del auth
        job, now = self._jobs[provider_id], self._clock.now()
        if now < job.ends_at and math.isinf(job.cancelled_at):
            done = job.finished_lines(now + LINE_SECONDS)
            job.cancelled_at = now + self._random.uniform(*CANCELLING_SECONDS)
            job.completed_at = math.inf
            job.done_when_cancelled = done
        return self._shown(job)

    async def list_batches(self, auth: Auth) -> AsyncIterator[ProviderBatch]:
        """The jobs that are kept, newest first."""
        del auth
        for job in reversed(list(self._jobs.values())):
            yield self._shown(job)

    async def download(self, auth: Auth, file_id: str) -> AsyncIterator[bytes]:
        """The results of a terminal job: finished lines in one file, the others in the other."""
        del auth
        job, kind = self._jobs[self._results[file_id]], file_id.partition("-")[0]
        done = self._done(job)
        if kind == "output":
            for line in job.lines[:done]:
                yield _output_line(line)
            return
        code = "batch_expired" if job.status(job.ends_at) == "expired" else "batch_cancelled"
        for line in job.lines[done:]:
            yield _error_line(line, code)

    async def delete_file(self, auth: Auth, file_id: str) -> None:
        """Delete a file; a job whose files are gone is forgotten."""
        del auth
        self._files.pop(file_id, None)
        job_id = self._results.pop(file_id, None)
        if job_id is not None and job_id not in self._results.values():
            self._jobs.pop(job_id, None)

    async def list_files(self, auth: Auth) -> AsyncIterator[ProviderFile]:
        """Nothing: there are no orphans in a backtest."""
        del auth
        no_files: tuple[ProviderFile, ...] = ()
        for file in no_files:
            yield file

    def _done(self, job: _Job) -> int:
        return len(job.lines) if job.status(job.ends_at) == "completed" else job.finished_lines(job.ends_at)

    def _shown(self, job: _Job) -> ProviderBatch:
        now = self._clock.now()
        status = job.status(now)
        done = job.finished_lines(now)
        output = error = None
        if status in TERMINAL:
            done = self._close(job)
            output, error = (f"{kind}-{job.id}" for kind in ("output", "error"))
        return ProviderBatch(
            id=job.id,
            status=status,
            output_file_id=output if done and status in TERMINAL else None,
            error_file_id=error if done < len(job.lines) else None,
            total_lines=len(job.lines),
            completed_lines=done,
            failed_lines=0,
            created_at=job.created_at,
            metadata=job.metadata,
        )

    def _close(self, job: _Job) -> int:
        """The job is at its end: charge what it has finished, once."""
        done = self._done(job)
        if job.closed:
            return done
        job.closed = True
        self.bill.lines += done
        for line in job.lines[:done]:
            self._charge(line.body, Tier.BATCH)
        if done:
            self._results[f"output-{job.id}"] = job.id
        if done < len(job.lines):
            self._results[f"error-{job.id}"] = job.id
        return done

    def _charge(self, bought: _Body, tier: Tier) -> None:
        usd = self._prices.cost(bought.model, tier, Usage(bought.tokens[0], bought.tokens[1]))
        if usd is None:
            raise UpstreamFault(f"{bought.model} has no price at {tier}", retry=Retry.NEVER)
        self.bill.usd += usd
        self.bill.by_tier[tier] += usd

    def _new_id(self, kind: str) -> str:
        self._made += 1
        return f"{kind}_{self._made:08}"


def _answer(asked: _Body) -> bytes:
    prompt, completion = asked.tokens
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return msgspec.json.encode({"object": "chat.completion", "model": asked.model, "usage": usage})


def _output_line(line: _Line) -> bytes:
    custom_id = line.custom_id.encode()
    return b'{"custom_id":"%b","response":{"status_code":200,"body":%b}}\n' % (custom_id, _answer(line.body))


def _error_line(line: _Line, code: str) -> bytes:
    return b'{"custom_id":"%b","error":{"code":"%b"}}\n' % (line.custom_id.encode(), code.encode())

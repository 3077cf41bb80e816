"""`standby top`: the money of today, what waits and how long it can, and the batches, looked at every two seconds."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from heapq import nsmallest
from itertools import chain

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from proxy.batching.waitlist import Waitlist
from proxy.domain.errors import StoreFault
from proxy.domain.request import Lane, Stage, Waiting
from proxy.report import batches
from proxy.report.account import Account, Dimension, Entry, Span, account
from proxy.report.periods import day_of, midnight
from proxy.report.sheet import Column, Thing, as_table
from proxy.report.view import View
from proxy.report.wording import at, dollars, duration, minute, percent, places_for

LOOK_SECONDS = 2.0
ROWS_MAX = 6
"""Of queues, of batches and of deadlines: a terminal has only so many lines."""
TOTAL = "today"


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits of one upstream's model: how many are where, since when, and until when there is time."""

    lane: Lane
    stages: Mapping[Stage, int]
    oldest_at: float
    deadline_at: float


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one instant. `next_up` are the requests with the tightest deadlines."""

    now: float
    money: Account
    queues: Sequence[Queued]
    batches: Sequence[batches.Shown]
    next_up: Sequence[Waiting]


async def top(view: View, *, once: bool) -> int:
    """Show it until SIGINT or SIGTERM; once, where that is wanted or there is no terminal. Raises `StoreFault`."""
    waitlist = Waitlist(view.reader)
    look = await take_look(view, waitlist)
    if once or not view.console.is_terminal:
        view.console.print(frame(view, look))
        return 0
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with Live(frame(view, look), console=view.console, screen=True, auto_refresh=False) as live:
        while not stopped.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stopped.wait()
            trouble = ""
            try:
                look = await take_look(view, waitlist)
            except StoreFault as fault:
                trouble = str(fault)
            live.update(frame(view, look, trouble), refresh=True)
    return 0


async def take_look(view: View, waitlist: Waitlist) -> Look:
    """Ask for everything. Raises `StoreFault`."""
    await waitlist.refresh()
    now = view.clock.now()
    begins = midnight(day_of(now, view.zone), view.zone)
    ends = midnight(day_of(now, view.zone) + timedelta(days=1), view.zone)
    money = await account(view.reader, Span(begins, ends), (Dimension.TIER,), view.zone, now)
    groups = {
        Lane(upstream, model): [*moving, *resting]
        for upstream in {lane.upstream for lane in waitlist.lanes()}
        for model, moving, resting in waitlist.groups(upstream)
    }
    stages = waitlist.stages()
    queues = [
        Queued(
            lane=lane,
            stages={stage: stages[lane, stage] for stage in Stage},
            oldest_at=min(waiting.accepted_at for waiting in group),
            deadline_at=min(waiting.deadline_at for waiting in group),
        )
        for lane, group in groups.items()
    ]
    soon = nsmallest(ROWS_MAX, chain.from_iterable(groups.values()), key=lambda one: one.deadline_at)
    return Look(
        now=now,
        money=money,
        queues=sorted(queues, key=lambda queue: queue.deadline_at),
        batches=await batches.look_at(view, await view.reader.open_batches()),
        next_up=soon,
    )


def frame(view: View, look: Look, trouble: str = "") -> RenderableType:
    """Draw it."""
    width = view.console.width
    head = Text(f"Standby, {minute(look.now, view.zone)}:{int(look.now) % 60:02} ({view.zone})", style="bold")
    parts: list[RenderableType] = [head]
    if trouble:
        parts.append(Text(trouble, style="red"))
    total = Entry((TOTAL,), look.money.total)
    money = as_table(_money(look), look.money.entries, width=width, title="Bought today", total=total, framed=False)
    return Group(
        *parts,
        money,
        _listed("Waiting", _queues(look.now), look.queues, width),
        _listed("Open batches", batches.columns(view), look.batches, width),
        _listed("Next deadlines", _next_up(view, look.now), look.next_up, width),
    )


def _listed(title: str, columns: Sequence[Column[Thing]], things: Sequence[Thing], width: int) -> RenderableType:
    if not things:
        return Text(f"{title}: none\n", style="italic")
    if len(things) > ROWS_MAX:
        title = f"{title}, {ROWS_MAX} of {len(things)}"
    return as_table(columns, things[:ROWS_MAX], width=width, title=title, framed=False)


def _money(look: Look) -> Sequence[Column[Entry]]:
    total = look.money.total
    places = places_for(max(total.list_usd, total.paid_usd))
    return [
        Column("tier", lambda e: e.key[0]),
        Column("answered", lambda e: f"{e.figures.requests:,}", right=True),
        Column("list price", lambda e: dollars(e.figures.list_usd, places), right=True),
        Column("paid", lambda e: dollars(e.figures.paid_usd, places), right=True),
        Column("saved", lambda e: dollars(e.figures.saved_usd, places), right=True),
        Column("saved %", lambda e: percent(e.figures.saved_percent), right=True, least_width=80),
        Column("missed", lambda e: f"{e.figures.missed:,} of {e.figures.met + e.figures.missed:,}", right=True),
    ]


def _queues(now: float) -> Sequence[Column[Queued]]:
    return [
        Column("model", lambda queue: queue.lane.model),
        Column("upstream", lambda queue: queue.lane.upstream, least_width=90),
        *(_stage(stage) for stage in Stage),
        Column("oldest", lambda queue: duration(now - queue.oldest_at), right=True, least_width=80),
        Column("slack", lambda queue: duration(queue.deadline_at - now), right=True),
    ]


def _stage(stage: Stage) -> Column[Queued]:
    return Column(stage.value, lambda queue: f"{queue.stages[stage]:,}", right=True)


def _next_up(view: View, now: float) -> Sequence[Column[Waiting]]:
    return [
        Column("request", lambda one: one.id),
        Column("model", lambda one: one.queue.model, least_width=80),
        Column("stage", lambda one: one.stage.value),
        Column("deadline", lambda one: at(one.deadline_at, view.zone, now=now), right=True, least_width=90),
        Column("slack", lambda one: duration(one.deadline_at - now), right=True),
    ]

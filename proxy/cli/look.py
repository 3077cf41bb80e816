"""What looks at a store without changing it: `standby report`, `requests`, `batches` and `top`."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from proxy.cli.process import CONFIG_FILE, Faults, run
from proxy.domain.errors import ConfigFault
from proxy.domain.ids import BatchId, RequestId, TenantId
from proxy.domain.request import RequestState
from proxy.report import batches as jobs
from proxy.report import money
from proxy.report import requests as deferred
from proxy.report import top as live
from proxy.report.account import Dimension
from proxy.report.sheet import Format
from proxy.report.view import View, looking
from proxy.runtime.command import read_to_look

Command = TypeVar("Command", bound=Callable[..., object])


def _of_a_store(command: Command) -> Command:
    """The options that say which store is looked at: as for `serve`."""
    for option in (
        click.option(
            "--store", help="sqlite:PATH or redis://HOST:PORT/DB. Default: STANDBY_STORE, else as configured."
        ),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            help="YAML file that names store and timezone. Default: ./config.yaml if it is there.",
        ),
    ):
        command = option(command)
    return command


def _with_format(*formats: Format) -> Callable[[Command], Command]:
    choice = click.Choice([form.value for form in formats])
    words = "A table for a person, or exact amounts for programs."
    return click.option("--format", "form", default=Format.TABLE.value, show_default=True, type=choice, help=words)


@click.command()
@click.option(
    "--by",
    default=",".join(money.DEFAULT_BY),
    show_default=True,
    help=f"What to tell apart, of {', '.join(Dimension)}; separated by commas.",
)
@click.option(
    "--since",
    help="A date, a timestamp, or how long ago, such as 36h. Default: the last seven days, today included.",
)
@click.option("--until", help="The same; a date is counted in. Default: now.")
@click.option("--tenant", help="Only this tenant's purchases.")
@_with_format(Format.TABLE, Format.CSV, Format.JSON)
@_of_a_store
def report(
    by: str,
    since: str | None,
    until: str | None,
    tenant: str | None,
    *,
    form: str,
    store: str | None,
    config_file: Path | None,
) -> None:
    """What was bought, what it cost, and what it would have cost at the standard tier: the ledger, summed up.

    It can be asked while `standby serve` runs. Dates and days are of the configured timezone. `requests` were answered;
    what is paid includes answers that were bought twice and calls that failed. An amount that is not known is in no
    sum; its purchase is counted as unpriced. `would have saved` is about requests that were served at once and only
    observed. Columns that have nothing to say are left out of the table; CSV and JSON have all of them. CSV has no row
    for the total, so that it can be added up.
    """

    async def work(view: View) -> int:
        owner = None if tenant is None else TenantId(tenant)
        return await money.report(view, money.Question(_dimensions(by), since, until, owner), Format(form))

    _look(config_file, store, work)


@click.command()
@click.argument("request", required=False)
@click.option("--state", type=click.Choice([state.value for state in RequestState]), help="Only these.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--model", help="Only of models that match a glob, such as 'gpt-4*'.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many at most.")
@_with_format(Format.TABLE, Format.CSV, Format.JSON)
@_of_a_store
def requests(
    request: str | None,
    state: str | None,
    tenant: str | None,
    model: str | None,
    limit: int,
    *,
    form: str,
    store: str | None,
    config_file: Path | None,
) -> None:
    """Deferred requests, the newest first: where they are, and what is left until their deadlines.

    With the id of a REQUEST: all about that one, and everything that was bought for it. Of an urgent call only the
    purchases are known. What is finished is kept for a while (`retention`). A narrow terminal shows fewer columns.
    """

    async def work(view: View) -> int:
        if request is not None:
            return await deferred.show_request(view, RequestId(request), _of_one(form))
        owner = None if tenant is None else TenantId(tenant)
        wish = deferred.Wish(None if state is None else RequestState(state), owner, model, limit)
        return await deferred.list_requests(view, wish, Format(form))

    _look(config_file, store, work)


@click.command()
@click.argument("batch", required=False)
@click.option("--closed", default=0, show_default=True, type=click.IntRange(0), help="And so many closed ones.")
@_with_format(Format.TABLE, Format.CSV, Format.JSON)
@_of_a_store
def batches(batch: str | None, closed: int, *, form: str, store: str | None, config_file: Path | None) -> None:
    """Open batches, the oldest first: the provider's word on them, how far they are, and their tightest deadlines.

    With the id of a BATCH: all about that one, and which of its requests are still open. `expected by` is when nine of
    ten batches like it are back (`quoted_share`), as far as that was learned.
    """

    async def work(view: View) -> int:
        if batch is not None:
            return await jobs.show_batch(view, BatchId(batch), _of_one(form))
        return await jobs.list_batches(view, closed, Format(form))

    _look(config_file, store, work)


@click.command()
@click.option("--once", is_flag=True, help="Show it once, and end; as it is where there is no terminal.")
@_of_a_store
def top(*, once: bool, store: str | None, config_file: Path | None) -> None:
    """Live, until Ctrl-C: what was bought today, what waits, the open batches and the next deadlines."""
    _look(config_file, store, lambda view: live.top(view, once=once))


def _of_one(form: str) -> Format:
    if form == Format.CSV:
        raise ConfigFault("--format csv is for lists; one thing is shown as table or json")
    return Format(form)


def _dimensions(by: str) -> tuple[Dimension, ...]:
    names = [name.strip() for name in by.split(",") if name.strip()]
    try:
        found = tuple(Dimension(name) for name in names)
    except ValueError:
        raise ConfigFault(f"--by {by}: can be any of {', '.join(Dimension)}, separated by commas") from None
    if not found or len(set(found)) < len(found):
        raise ConfigFault(f"--by {by!r}: give each of {', '.join(Dimension)} once at most, and one at least")
    return found


def _look(config_file: Path | None, store: str | None, work: Callable[[View], Awaitable[int]]) -> None:
    async def whole() -> int:
        config = read_to_look(config_file or (CONFIG_FILE if CONFIG_FILE.exists() else None), os.environ, store=store)
        async with looking(config) as view:
            return await work(view)

    with Faults():
        run(whole())

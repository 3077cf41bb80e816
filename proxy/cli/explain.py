"""`standby explain`."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from proxy.cli.process import CONFIG_FILE, Faults
from proxy.config.settings import Config
from proxy.domain.errors import ConfigFault
from proxy.domain.ids import RequestId
from proxy.report.requests import explain_request
from proxy.report.view import looking
from proxy.routing.policytest import ENDPOINT, Asked
from proxy.runtime.clock import SystemClock
from proxy.runtime.command import read_to_look


@click.command()
@click.argument("request", required=False)
@click.option("--model", default="", help="The model that it asks for.")
@click.option("--endpoint", default=ENDPOINT, show_default=True, help="The path that it is sent to.")
@click.option("--prefix", default="", help="What its base URL says about time, such as /within/2h.")
@click.option("--deadline", help="Its X-Deadline header, such as 4h.")
@click.option("--priority", help="Its X-Priority header.")
@click.option("--header", "headers", multiple=True, help="Another header, as NAME:VALUE, once for each.")
@click.option("--metadata", "metadata", multiple=True, help="An entry of its metadata, as NAME=VALUE, once for each.")
@click.option("--service-tier", help="The tier that its body names.")
@click.option("--stream", is_flag=True, help="It asks for a stream.")
@click.option("--tools", is_flag=True, help="It offers tools.")
@click.option("--input-tokens", default=100, show_default=True, type=click.IntRange(1), help="Its prompt's size.")
@click.option("--output-tokens", type=click.IntRange(1), help="Its own limit on the answer.")
@click.option("--tenant", default="", help="Whose request it is.")
@click.option("--key", default="", help="The name of the proxy key that it comes with.")
@click.option("--at", help="When it comes: 23:00, 'sat 23:00', or an instant. Default: now.")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="Default: the configured policy.")
@click.option("--store", help="Where to look for the request, or for what was learned. Default: as for serve.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Default: ./config.yaml if it is there.")
def explain(
    request: str | None,
    config_file: Path | None,
    policy_file: Path | None,
    store: str | None,
    *,
    at: str | None,
    headers: tuple[str, ...],
    metadata: tuple[str, ...],
    **said: object,
) -> None:
    """Which rule, which tier, and why not the others, with the numbers.

    Of a request that the options describe: what would be decided, with the configured policy, prices and what the store
    has learned about batches. With the id of a REQUEST (X-Standby-Request-Id): what was decided about that one, and
    what was bought for it.
    """
    with Faults():
        config = read_to_look(config_file or (CONFIG_FILE if CONFIG_FILE.exists() else None), os.environ, store=store)
        if request is not None:
            sys.exit(asyncio.run(_kept(config, RequestId(request))))
        sys.exit(asyncio.run(_asked(config, policy_file, _read(config, at, headers, metadata, said))))


async def _kept(config: Config, request_id: RequestId) -> int:
    async with looking(config) as view:
        return await explain_request(view, request_id)


async def _asked(config: Config, policy_file: Path | None, asked: Asked) -> int:
    from proxy.check.explain import explain_asked  # noqa: PLC0415  the prices are long to read

    return await explain_asked(asked, config, policy_file, SystemClock(), click.echo)


def _read(
    config: Config, at: str | None, headers: tuple[str, ...], metadata: tuple[str, ...], said: dict[str, object]
) -> Asked:
    now = datetime.fromtimestamp(SystemClock().now(), UTC).isoformat(timespec="seconds")
    deadlines = {key.name: key.deadline_seconds for key in config.keys}
    try:
        return Asked(
            at=now if at is None else at,
            headers=_pairs("--header", ":", headers),
            metadata=_pairs("--metadata", "=", metadata),
            key_deadline_seconds=deadlines.get(str(said["key"])),
            **said,  # type: ignore[arg-type]  # click types them
        )
    except ValueError as error:
        raise ConfigFault(f"--{str(error).replace('_', '-', 1)}") from error


def _pairs(option: str, sign: str, said: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition(sign) for text in said]
    if not all(found and name.strip() for name, found, _ in pairs):
        raise ConfigFault(f"{option}: write NAME{sign}VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}

"""The `standby` command."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import click

from proxy import __version__
from proxy.domain.errors import ConfigFault, StandbyError
from proxy.runtime import command
from proxy.runtime.loop import new_event_loop

EXIT_CONFIG = 2
"""The exit code for a configuration, a policy or a command line that cannot be used."""
CONFIG_FILE = Path("config.yaml")
WORLDS = ("normal", "congested", "outage", "stuck", "slow3")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="standby")
def main() -> None:
    """An OpenAI-compatible proxy that decides, for each request, sync or batch."""


@main.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file. Default: ./config.yaml if it is there, else built-in defaults.",
)
@click.option("--host", help="Address to listen on. Default: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, 0 for any free one. Default: 8080.")
@click.option("--store", help="sqlite:PATH for one process, redis://HOST:PORT/DB for many. Default: sqlite:standby.db.")
@click.option("--upstream", help="Base URL of the first upstream. Default: https://api.openai.com/v1.")
@click.option("--open-to-network", is_flag=True, help="Listen beyond loopback although no proxy keys are configured.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes; Redis only.")
def serve(config_file: Path | None, *, open_to_network: bool, workers: int, **overrides: str | int | None) -> None:
    """Run the proxy until SIGTERM or Ctrl-C, then drain and stop. SIGHUP reloads the policy."""
    file = config_file or (CONFIG_FILE if CONFIG_FILE.exists() else None)
    with _Faults():
        config = command.read_config(
            file,
            os.environ,
            **(overrides | {"open_to_network": open_to_network or None}),  # type: ignore[arg-type]  # click types them
        )
        if workers > 1:
            sys.exit(command.serve_with_workers(config, os.environ, workers, click.echo, _Faults()))
        _run(command.serve(config, os.environ, click.echo))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9100, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--seed", default=0, show_default=True, help="Everything random follows from it.")
@click.option(
    "--time-scale", default=1.0, show_default=True, help="Provider seconds per second: 1440 makes a day a minute."
)
@click.option("--rpm", default=10_000, show_default=True, help="Requests a minute per key and model.")
@click.option("--tpm", default=10_000_000, show_default=True, help="Tokens a minute per key and model.")
@click.option("--latency-seconds", default=0.0, show_default=True, help="Provider seconds of a synchronous call.")
@click.option("--flex-refusal-probability", default=0.0, show_default=True, help="Share of flex calls that get a 429.")
@click.option(
    "--turnaround",
    default="mixture",
    show_default=True,
    help="How long batches take: constant:SECONDS, lognormal:MEDIAN,SIGMA, mixture[:SLOWNESS], stuck[:DONE_SHARE].",
)
@click.option("--key", "keys", multiple=True, help="A key that is an account, once for each. Default: any key is one.")
def emulate(host: str, port: int, turnaround: str, keys: tuple[str, ...], **settings: float) -> None:
    """Run a strict, OpenAI-shaped fake provider. A bearer token is an account; GET /emulator/account is its bill."""
    with _Faults():
        allowed = frozenset(keys) or None
        _run(command.emulate(host, port, turnaround, settings | {"keys": allowed}, click.echo))


@main.command()
@click.option("--seed", default=0, show_default=True, help="Which requests come when follows from it.")
def demo(seed: int) -> None:
    """Show it: fake provider, proxy and the stock openai package; ends within two minutes with a settlement."""
    from proxy.demo.show import show  # noqa: PLC0415  it imports openai, which the other commands do without

    with _Faults():
        _run(show(seed))


@main.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "policies",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Policy file, once for each that is to be compared. Default: the policy that comes with Standby.",
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file with prices and batching.")
@click.option("--world", default="normal", show_default=True, type=click.Choice(WORLDS), help="How long batches take.")
@click.option("--rpm", default=60, show_default=True, type=click.IntRange(1), help="Rate limit per model and minute.")
@click.option("--seed", default=1, show_default=True, help="Deadlines, bulk jobs and completion times follow from it.")
@click.option("--bulk-per-day", default=4.0, show_default=True, type=click.FloatRange(0), help="Bulk jobs added.")
@click.option("--flex-refusals", type=click.FloatRange(0, 1), help="Sell flex; so many calls find no capacity.")
@click.option("--days", type=click.FloatRange(0, min_open=True), help="Only so many first days of the trace.")
@click.option("--recommend", is_flag=True, help="Turn the knobs one by one and say which setting saves most.")
@click.option(
    "--deadlines-met",
    default=0.999,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The share of deadlines that a recommended setting has to meet.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to a JSON file.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Draw the figures on a self-contained page.")
def backtest(
    trace: Path,
    policies: tuple[Path, ...],
    config_file: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    *,
    world: str,
    rpm: int,
    seed: int,
    bulk_per_day: float,
    flex_refusals: float | None,
    days: float | None,
    recommend: bool,
    deadlines_met: float,
) -> None:
    """What policies would have saved on a recorded TRACE (.csv or .jsonl, plain or .gz), on virtual time.

    The real planner, store and engine are played over the trace in front of a simulated provider. Requests without a
    deadline of their own are given one from a mix, and bulk jobs are added. Columns: offset_ms (or offset_s,
    timestamp), prompt_tokens, completion_tokens, and if known model and deadline_s. The proxy's own JSON log at level
    debug is a trace as well.
    """
    from proxy.backtest.run import Scenario  # noqa: PLC0415  nothing else needs what it imports
    from proxy.backtest.show import Wishes, show  # noqa: PLC0415
    from proxy.backtest.weather import World  # noqa: PLC0415

    with _Faults():
        scenario = Scenario(trace, World(world), seed, rpm, bulk_per_day, flex_refusals, days)
        show(scenario, policies, config_file, Wishes(json_file, html_file, recommend, deadlines_met))


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file with the time zone and prices. Default: ./config.yaml if it is there, else built-in defaults.",
)
@click.option("--json", "as_json", is_flag=True, help="Say it in JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of policy files instead.")
def check(files: tuple[Path, ...], config_file: Path | None, *, as_json: bool, schema: bool) -> None:
    """Check policy FILES (standby:NAME for one that comes with Standby; default: the configured policy).

    Runs their tests through the real decision, counts how many come to each rule, and names rules that can never match.
    Exits with 1 when a test fails, with 2 when a file cannot be used.
    """
    from proxy.check import show  # noqa: PLC0415  serving needs none of it

    if schema:
        click.echo(show.schema())
        return
    with _Faults():
        file = config_file or (CONFIG_FILE if CONFIG_FILE.exists() else None)
        sys.exit(show.check(files, file, as_json=as_json))


class _Faults:
    """Turns what we know how to say into one clear line and an exit code."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        match error:
            case ConfigFault():
                click.echo(f"standby: {error}", err=True)
                sys.exit(EXIT_CONFIG)
            case StandbyError() | OSError():
                click.echo(f"standby: {error}", err=True)
                sys.exit(1)
            case KeyboardInterrupt():
                sys.exit(128 + signal.SIGINT)
            case _:
                return


def _run(work: Coroutine[None, None, int]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(work))


if __name__ == "__main__":
    main()

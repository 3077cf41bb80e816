"""`standby serve`, and what shows and tries it: `emulate` and `demo`."""

import os
import sys
from pathlib import Path

import click

from proxy.cli.process import CONFIG_FILE, Faults, run
from proxy.runtime import command


@click.command()
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
    with Faults():
        config = command.read_config(
            file,
            os.environ,
            **(overrides | {"open_to_network": open_to_network or None}),  # type: ignore[arg-type]  # click types them
        )
        if workers > 1:
            sys.exit(command.serve_with_workers(config, os.environ, workers, click.echo, Faults()))
        run(command.serve(config, os.environ, click.echo))


@click.command()
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
    with Faults():
        allowed = frozenset(keys) or None
        run(command.emulate(host, port, turnaround, settings | {"keys": allowed}, click.echo))


@click.command()
@click.option("--seed", default=0, show_default=True, help="Which requests come when follows from it.")
def demo(seed: int) -> None:
    """Show it: fake provider, proxy and the stock openai package; ends within two minutes with a settlement."""
    from proxy.demo.show import show  # noqa: PLC0415  it imports openai, which the other commands do without

    with Faults():
        run(show(seed))

"""The `standby` command: options are parsed here, and what they ask for is done below. One module per family."""

import click

from proxy import __version__
from proxy.cli.backtest import backtest
from proxy.cli.explain import explain
from proxy.cli.look import batches, report, requests, top
from proxy.cli.policies import check
from proxy.cli.serve import demo, emulate, serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="standby")
def main() -> None:
    """An OpenAI-compatible proxy that decides, for each request, sync or batch."""


for _command in (serve, check, explain, emulate, demo, backtest, report, requests, batches, top):
    main.add_command(_command)

"""What is asked about policies: `standby check`."""

import sys
from pathlib import Path

import click

from proxy.cli.process import CONFIG_FILE, Faults


@click.command()
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
    with Faults():
        file = config_file or (CONFIG_FILE if CONFIG_FILE.exists() else None)
        sys.exit(show.check(files, file, as_json=as_json))

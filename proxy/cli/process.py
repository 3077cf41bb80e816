"""What every command is as a process: its exit code, and what it says when something is wrong."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path

import click

from proxy.domain.errors import ConfigFault, StandbyError
from proxy.runtime.loop import new_event_loop

EXIT_CONFIG = 2
"""The exit code for a configuration, a policy or a command line that cannot be used."""
CONFIG_FILE = Path("config.yaml")
"""Where a configuration is looked for that no option names."""


class Faults:
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


def run(work: Coroutine[None, None, int]) -> None:
    """Run it to its end; its result is the exit code."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(work))

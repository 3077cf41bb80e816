"""`python -m proxy` is the `standby` command."""

from proxy.cli import main

main()

"""The ``redrive`` program: the library's commands, and those that need the local stack."""

from __future__ import annotations

import sys

from deployments import run
from deployments.approve import approve
from deployments.automations import automations
from deployments.deploy import deploy
from deployments.local.cli import app as local
from deployments.pace import pace
from deployments.up import up
from redrive.cli import app, exit_code
from redrive.errors import RedriveError

app.add_typer(local, name="local")
app.add_typer(run.app, name="run")
app.command()(approve)
app.command()(pace)
app.command()(automations)
app.command()(deploy)
app.command()(up)


def main() -> None:
    """Run a command; what Redrive raises on purpose becomes one line and an exit code."""
    try:
        app()
    except RedriveError as error:
        print(f"redrive: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(exit_code(error))

"""The commands of the library, for the ``redrive`` program (which adds those that need Prefect or the local stack)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from redrive.cli import (
    backfill,
    cluster,
    config,
    debts,
    dlq,
    gateway,
    operations,
    rules,
    schemas,
    security,
    standby,
    topics,
)
from redrive.cli.consume import consume
from redrive.cli.exits import exit_code
from redrive.cli.health import health
from redrive.cli.metrics import metrics
from redrive.cli.publish import publish

__all__ = ["app", "exit_code"]

app = typer.Typer(
    help="Brings every event back: recovery and maintenance of an event-driven platform on Kafka.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def settings(
    file: Annotated[
        Path | None, typer.Option("--config", help="The settings; else $REDRIVE_CONFIG, else ./redrive.toml.")
    ] = None,
) -> None:
    """Bring every event back: recovery and maintenance of an event-driven platform on Kafka."""
    if file is not None:
        # So that what a command starts, such as a flow run in another process, follows the same settings.
        os.environ["REDRIVE_CONFIG"] = str(file.absolute())


app.add_typer(config.app, name="config")
app.command()(health)
app.command()(metrics)
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schemas")
app.add_typer(cluster.app, name="cluster")
app.command()(publish)
app.command()(consume)
app.add_typer(gateway.app, name="gateway")
app.add_typer(standby.app, name="standby")
app.add_typer(dlq.app, name="dlq")
app.add_typer(rules.app, name="rules")
app.add_typer(backfill.app, name="backfill")
app.add_typer(operations.app, name="operations")
app.add_typer(debts.app, name="debts")
app.add_typer(security.app, name="security")

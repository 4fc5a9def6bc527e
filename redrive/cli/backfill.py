"""``redrive backfill``."""

from __future__ import annotations

from typing import Annotated

import typer

from redrive.cli.ledger import open_ledger
from redrive.cli.output import out
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.person import person

app = typer.Typer(help="Backfills of topics to other schemas.", no_args_is_help=True)


@app.callback()
def _backfills() -> None:
    """Backfills of topics to other schemas."""


@app.command()
def abandon(
    source: Annotated[str, typer.Argument(help="The topic that was copied; it stays as it is.")],
    target: Annotated[str, typer.Argument(help="The topic that was filled; it is deleted.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for programs.")] = False,
) -> None:
    """Give a backfill up: delete the topic that it has filled, and forget how far it had come.

    Refuses if producers have been switched to it, if it holds events that are not copies, if a consumer group consumes
    it, or if a run of the job works at it. Exit code 0: it is gone. 1: refused. 3: the cluster does not answer.
    """
    from redrive.ledger.acting import acting
    from redrive.migrations.abandoning import abandon as give_up
    from redrive.migrations.abandoning import held
    from redrive.migrations.unit import JOB

    config = Config.load()
    cluster = config.topic(source).cluster
    config.topic(target)
    if source == target:  # before anybody is asked whether to delete it
        raise ConfigError("target", f"{target} is the source: what was migrated in place can't be given up")
    if not yes:
        events = held(config, target)
        what = "which is not there; how far it had come is forgotten" if events is None else f"with {events:,} offsets"
        typer.confirm(f"Delete topic {target} on {cluster}, {what}?", abort=True, err=True)
    resource = f"{cluster}/{target}"
    parameters = {"goal": "abandon", "source": source, "target": target}
    with (
        open_ledger() as ledger,
        acting(ledger, JOB, cluster=cluster, resources=[resource], who=person(), parameters=parameters) as operation,
    ):
        ledger.claim([resource], operation)
        begun = give_up(config, source, target)
        operation.finish("done", counts={"partitions": begun})
    out.print(f"{target} is deleted; {begun} partitions of it had been begun.", markup=False, highlight=False)

"""``redrive config``."""

from __future__ import annotations

import sys

import typer

from redrive.cli.exits import WRONG
from redrive.cli.output import Json, note, out, show_json
from redrive.config import Config

app = typer.Typer(help="The settings.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The settings."""


@app.command()
def check(json: Json = False) -> None:
    """Name each mistake in the settings, with its line. Exit code 2 if there is one.

    A secret that is not set here is named, too; that is no mistake, as it may be set where it is used.
    """
    mistakes = Config.check()
    if json:
        show_json([{"setting": m.setting, "reason": m.reason, "where": m.where} for m in mistakes])
    elif mistakes:
        for mistake in mistakes:
            out.print(str(mistake), markup=False, highlight=False)
    else:
        config = Config.load()
        counted = f"clusters {len(config.clusters)}, domains {len(config.domains)}, topics {len(config.topics)}"
        out.print(f"No mistake in the settings: {counted}.", highlight=False)
    if mistakes:
        raise typer.Exit(WRONG)
    for absent in Config.load().absent_secrets():
        note(f"not here: {absent}")


@app.command()
def reference() -> None:
    """Print all settings, with what each takes and what it is unless set, as Markdown."""
    from redrive.config.reference import page

    sys.stdout.write(page())

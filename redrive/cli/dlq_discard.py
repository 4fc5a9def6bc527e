"""``redrive dlq discard``."""

from __future__ import annotations

from typing import Annotated

import typer

from redrive.cli.exits import BAD
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, note, out, show_json
from redrive.cli.selecting import selecting
from redrive.config import Config
from redrive.deadletters.selection import Selection
from redrive.errors import ConfigError
from redrive.person import person


@selecting
def discard(
    selection: Selection,
    why: Annotated[str, typer.Option("--why", help="Why nothing more is to become of them; goes into the journal.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for programs.")] = False,
    json: Json = False,
) -> None:
    """Give letters up, for good: no correction takes them any more. They stay in Kafka, and in the ledger.

    At least one option has to say which; of those, the open ones. (--reason selects, as everywhere: by the reason why
    they became dead letters.)
    """
    from redrive.cli.letters import show_groups
    from redrive.deadletters.discarding import Discard

    if not why.strip():
        raise ConfigError("--why", "is empty; say why these letters are given up")
    if not selection.model_fields_set:
        raise ConfigError("discard", "say which letters, such as by --id, --reason or --until; see --help")
    config = Config.load()
    with open_ledger() as ledger:
        doomed = Discard.count(config, ledger, selection)
        if not doomed.letters:
            _end("No such letters are open: nothing is discarded.", None, 0, json)
            return
        if not json:
            show_groups(ledger.letters.groups(selection))
        if not yes:
            typer.confirm(f"Discard {doomed.letters:,} letters, for good?", abort=True, err=True)
        done = doomed.carry_out(person(), why)
    _end(f"{done.letters:,} letters discarded, by operation {done.operation}.", done.operation, done.letters, json)
    for finding in done.findings:
        note(finding)
    if done.findings:
        raise typer.Exit(BAD)


def _end(line: str, operation: str | None, letters: int, json: bool) -> None:
    if json:
        show_json({"operation": operation, "discarded": letters})
    else:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

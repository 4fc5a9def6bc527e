"""``redrive dlq discard``."""

from __future__ import annotations

from typing import Annotated

import typer

from redrive.cli.exits import BAD, UNAVAILABLE
from redrive.cli.giving_up import ask, see_that_it_is_said, show_end
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, note
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

    Letters on a cluster that does not answer while others do are left: they may have been corrected, and nobody has
    entered that yet. Exit code 3 then; what was discarded is all the same.
    """
    from redrive.cli.letters import show_groups
    from redrive.deadletters.discarding import Discard

    see_that_it_is_said("--why", why, "why these letters are given up")
    if not selection.model_fields_set:
        raise ConfigError("discard", "say which letters, such as by --id, --reason or --until; see --help")
    config = Config.load()
    with open_ledger() as ledger:
        doomed = Discard.count(config, ledger, selection)
        if not doomed.letters:
            show_end("No such letters are open: nothing is discarded.", None, 0, json=json, more={"left": {}})
            return
        if not json:
            show_groups(ledger.letters.groups(selection))
        ask(f"Discard {doomed.letters:,} letters, for good?", yes=yes)
        done = doomed.carry_out(person(), why)
    line = f"{done.letters:,} letters discarded, by operation {done.operation}."
    show_end(line, done.operation, done.letters, json=json, more={"left": done.left})
    for name, letters in done.left.items():
        note(f"{letters:,} letters on {name}, which does not answer, are left as they are: discard them once it does")
    for finding in done.findings:
        note(finding)
    if done.findings:
        raise typer.Exit(BAD)
    if done.left:
        raise typer.Exit(UNAVAILABLE)

"""``redrive dlq``: looking at dead letters, and dealing with them by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from redrive.cli.dlq_accept import accept
from redrive.cli.dlq_discard import discard
from redrive.cli.dlq_fix import fix
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, note, out, show_json, show_table
from redrive.cli.selecting import selecting
from redrive.config import Config
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection

if TYPE_CHECKING:
    from redrive.ledger import Ledger

app = typer.Typer(help="Dead letters: what there is, why, and what became of it.", no_args_is_help=True)


@app.command("list")
@selecting
def list_(
    selection: Selection,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this letter.")] = None,
    json: Json = False,
) -> None:
    """Show the open dead letters, or those that are selected: by main topic, then as they stand in Kafka.

    A letter is selected if it meets all options; of one that is repeated, any one of its values.
    """
    from redrive.cli.letters import BRIEF, as_row, brief

    with open_ledger() as ledger:
        last = ledger.letters.story(LetterId.parse(after)).letter.place if after is not None else None
        total = ledger.letters.count(selection)
        found = ledger.letters.find(selection, after=last, limit=limit + 1)
        if not total:
            _say_why_none(ledger, json)
    shown = found[:limit]
    following = str(shown[-1].id) if len(found) > limit else None
    if json:
        show_json({"total": total, "letters": [as_row(letter) for letter in shown], "next": following})
    elif total:
        rows = ((*brief(letter), letter.fate) for letter in shown)
        show_table((*BRIEF, "fate"), rows, numbers=("attempts", "age"))
        more = f" Go on with --after {following}" if following else ""
        out.print(f"{len(shown):,} of {total:,} letters.{more}", markup=False, highlight=False, soft_wrap=True)


@app.command()
@selecting
def groups(selection: Selection, json: Json = False) -> None:
    """Count the open dead letters, or those that are selected, by reason, producer and main topic.

    Correctable are letters that have all of their value; attempts are the most that one of them has.
    """
    with open_ledger() as ledger:
        found = ledger.letters.groups(selection)
        waiting = ledger.letters.waiting(selection)
        if not found:
            _say_why_none(ledger, json)
    if json:
        show_json({"total": sum(group.letters for group in found), "groups": found, "waiting": waiting})
        return
    if found:
        from redrive.cli.letters import show_groups

        show_groups(found)
    for fate, letters in waiting.items():
        line = f"{letters:,} letters are {fate}, and wait for a person: --fate {fate}"
        out.print(line, highlight=False, soft_wrap=True)


@app.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The letter, such as dlq.flights/2/4711.")],
    raw: Annotated[bool, typer.Option("--raw", help="The bytes of the value, all of them, not decoded.")] = False,
    json: Json = False,
) -> None:
    """Show one letter: what the ledger has, and the letter itself, with its value, as it is in Kafka now.

    The value goes to this terminal only: into no log, and not into the ledger.

    A parked letter that its topic no longer has is read from its copy in the parking topic. One that is no longer in
    Kafka is said to be gone. Exit code 3 if Kafka or the schema registry does not answer;
    what the ledger has is shown even so.
    """
    from redrive.cli.letter_found import fetch, found_row, show_found
    from redrive.cli.letters import show_story, story_row

    config = Config.load()
    with open_ledger() as ledger:
        story = ledger.letters.story(LetterId.parse(letter))
    if not json:
        show_story(story)  # before Kafka, which may take its time
    found = fetch(config, story, raw=raw)
    if json:
        show_json(story_row(story) | found_row(found, story.letter))
    else:
        show_found(found, story.letter, raw=raw)
    if found.code:
        raise typer.Exit(found.code)


@app.command()
def history(
    event: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id: its header ce_id.")],
    json: Json = False,
) -> None:
    """Show all dead letters that an event has become, by attempt, and what became of each."""
    from redrive.cli.letters import BRIEF, brief, story_row, told

    with open_ledger() as ledger:
        stories = ledger.letters.history(event)
        if not stories:
            _say_why_none(ledger, json)
    if json:
        show_json([story_row(story) for story in stories])
    elif stories:
        rows = ((*brief(story.letter), "\n".join(map(told, story.decisions)) or None) for story in stories)
        show_table((*BRIEF, "what became of it"), rows, numbers=("attempts", "age"))


app.command()(fix)
app.command()(discard)
app.command()(accept)


def _say_why_none(ledger: Ledger, json: bool) -> None:
    """Tell an empty answer from a ledger that can't have another one."""
    known = ledger.letters.count(Selection(fates=[]))
    if known:
        line = f"No such letters among the {known:,} that the ledger has, open or not."
    else:
        line = "The ledger has no dead letters. To enter what is in Kafka: redrive run dlq-triage"
    if json:
        note(line)  # apart from the document
    else:
        out.print(line, highlight=False)

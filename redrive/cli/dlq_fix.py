"""``redrive dlq fix``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from redrive.cli.exits import BAD
from redrive.cli.ledger import open_ledger
from redrive.cli.output import note, out, safe, show_table
from redrive.config import Config
from redrive.deadletters.letter_id import LetterId
from redrive.errors import HeldError, RedriveError, StalePlanError, UnavailableError
from redrive.person import person

if TYPE_CHECKING:
    from redrive.deadletters.correction.by_hand import LetterInHand
    from redrive.deadletters.correction.plan import Plan

Order = Literal["hold", "publish", "skip"]


def fix(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The letter, such as dlq.flights/2/4711.")],
    order: Annotated[
        Order | None,
        typer.Option(
            help="If a newer event of its key has passed: leave the letter open, publish it all the same, or give it "
            "up. Else you are asked then."
        ),
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="What this does anyway.")] = True,
) -> None:
    """Correct one letter by hand: edit its value in $VISUAL or $EDITOR, see what changes, and publish it.

    The value is checked as strictly as any event, and goes to the letter's main topic exactly once, with the key, time
    and id that it had. It is in no log, and not in the ledger, which keeps who did it and what became of the letter.

    Exit code 0: it has the fate that you have asked for, proved. 1: you gave up, or it could not be proved. 2: it can't
    be corrected. 3: Kafka, the registry or the ledger does not answer.
    """
    from redrive.cli.editing import edit as edit_value
    from redrive.deadletters.correction.by_hand import Edit, LetterInHand
    from redrive.schemas import SchemaRegistry

    config = Config.load()
    with open_ledger() as ledger, closing(SchemaRegistry(config.registry_client_config())) as registry:
        in_hand = LetterInHand.take(config, ledger, registry, LetterId.parse(letter))
        new = Edit(edit_value(in_hand.value, list(_about(in_hand)), in_hand.check))
        while True:
            try:
                plan = in_hand.plan(new)
                _show(plan)
                done = in_hand.carry_out(new, plan, _ask(in_hand, plan, order), person())
                break
            except (HeldError, StalePlanError, UnavailableError) as error:
                _ask_again(error)  # what was typed is in no file any more
    fate = done.fate
    where = "" if fate.topic is None else f" as {fate.topic}/{fate.partition}/{fate.offset}"
    why = f" ({fate.reason})" if fate.reason else ""
    out.print(f"{fate.name}{where}{why}, by operation {done.operation}", markup=False, highlight=False, soft_wrap=True)
    for finding in done.findings:
        note(finding)
    if done.findings or fate.name in ("parked", "rejected"):
        raise typer.Exit(BAD)


def _ask_again(error: RedriveError) -> None:
    """Ask whether to try again with the value as it was written; else, and where nobody can be asked, that's all."""
    if not sys.stdin.isatty():
        raise error
    note(str(error))
    if not typer.confirm("Try again, with the value as you have written it?", err=True):
        raise error


def _about(in_hand: LetterInHand) -> Iterator[str]:
    letter, target = in_hand.letter, in_hand.target
    yield f"letter {in_hand.known.id}, for {target.topic}, whose schema is version {target.version}"
    yield f"{letter.reason}{f', field {letter.field}' if letter.field else ''}"
    if in_hand.goes_to != target.topic:
        yield f"producers of {target.topic} were switched: it goes to {in_hand.goes_to}, by the rules that theirs go by"
    if letter.detail:
        yield letter.detail
    if in_hand.copy is not None:
        what = "its copy" if in_hand.copy.is_whole else "what a correction had made of it, and Kafka has refused"
        yield f"its topic no longer has it; this is {what}: {in_hand.copy}"
    yield 'What JSON lacks is written like {"$bytes": "base64"}, {"$decimal": "1.10"} or'
    yield '{"$datetime": "2026-03-29T08:00:00+00:00"}. Save and close to go on; an empty file: nothing is done.'


def _show(plan: Plan) -> None:
    changes = [change for sample in plan.samples for change in sample.changes]
    rows = ((safe(change.path) or "(value)", change.before, change.after) for change in changes)
    show_table(("field", "before", "after"), rows)


def _ask(in_hand: LetterInHand, plan: Plan, order: Order | None) -> Order:
    """Have the person confirm what will happen; give what becomes of the letter if it is overtaken."""
    topic = in_hand.goes_to
    if not plan.overtaken:
        typer.confirm(f"Publish it to {topic}?", abort=True, err=True)
        return order or "hold"
    note(f"A newer event of its key is on {topic} already. What becomes of the letter then is what --order says.")
    if order is None:
        if typer.confirm("Publish it all the same (--order publish)?", err=True):
            return "publish"
        order = "hold"
    words = {
        "hold": "Hold it (--order hold): leave it open, without this edit?",
        "publish": "Publish it all the same (--order publish)?",
        "skip": "Skip it (--order skip): give it up, for good?",
    }
    typer.confirm(words[order], abort=True, err=True)
    return order

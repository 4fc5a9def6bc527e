"""``redrive rules``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.text import Text

from redrive.cli.exits import BAD, WRONG
from redrive.cli.output import Json, note, out, show_json, show_table
from redrive.errors import RulesError

if TYPE_CHECKING:
    from redrive.rules import Direction, Outcome, RuleFile, Tried

DIRECTIONS = "up", "down"

app = typer.Typer(help="Rules that correct dead letters, or migrate events.", no_args_is_help=True)


@app.command("test")
def run_examples(file: Annotated[Path, typer.Argument(help="The rules, in YAML.")], json: Json = False) -> None:
    """Run the examples in a file of rules, of corrections or of a migration, and show what came out.

    Exit code 1 if one came out otherwise than expected, 2 if the file has mistakes.
    """
    from redrive.rules import RuleFile, digest_of, read_either

    # Functions that rules name are modules of the folder in which one stands, as for `python -m`.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        rules = read_either(file)
        digest = digest_of(rules)
    except RulesError as error:
        _show_mistakes(error, json)
        raise typer.Exit(WRONG) from None
    if isinstance(rules, RuleFile):
        told, good = _run(rules, json)
    else:
        told, good = {}, True
        for name in DIRECTIONS:
            body = getattr(rules, name)
            if not json:
                out.print(f"{name}:" if body else f"{name}: no rules; Avro's own resolution", highlight=False)
            if body is not None:
                told[name], fine = _run(body, json)
                good = good and fine
    if json:
        show_json({"digest": digest, **told})
    else:
        out.print(f"digest {digest}", highlight=False, soft_wrap=True)
    if not good:
        raise typer.Exit(BAD)


@app.command()
def schema(
    migration: Annotated[bool, typer.Option("--migration", help="That of migrations, not of corrections.")] = False,
) -> None:
    """Print the JSON Schema of files of rules, for editors and other checkers."""
    from redrive.rules import MigrationFile, RuleFile, json_schema

    show_json(json_schema(MigrationFile if migration else RuleFile))


def _run(rules: RuleFile | Direction, json: bool) -> tuple[dict[str, Any], bool]:
    from redrive.rules import try_examples, unexercised

    tried = try_examples(rules)
    untried = unexercised(rules, tried)
    if not json:
        _show(rules, tried, untried)
    examples = (
        [
            {"name": one.name, "outcome": _outcome(one.outcome), "good": not one.complaint, "complaint": one.complaint}
            for one in tried
        ]
        if json
        else []
    )
    return {"examples": examples, "unexercised": untried}, not any(one.complaint for one in tried)


def _show_mistakes(error: RulesError, json: bool) -> None:
    if json:
        fields = ("file", "line", "column", "at", "reason")
        show_json({"mistakes": [{name: getattr(one, name) for name in fields} for one in error.mistakes]})
        return
    for mistake in error.mistakes:
        out.print(str(mistake), markup=False, highlight=False, soft_wrap=True)


def _show(rules: RuleFile | Direction, tried: list[Tried], untried: list[str]) -> None:
    if tried:
        rows = ((one.name, ", ".join(one.rules) or None, _said(one.outcome), _verdict(one.complaint)) for one in tried)
        show_table(("example", "by", "came out", "verdict"), rows)
    failed = sum(bool(one.complaint) for one in tried)
    out.print(f"rules {len(rules.rules)}, examples {len(tried)}, failed {failed}", highlight=False)
    for name in untried:
        note(f"no example exercises the rule {name!r}")


def _verdict(complaint: str) -> Text:
    return Text(complaint, "red") if complaint else Text("good", "green")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    from redrive import tagged_json

    told: dict[str, Any] = {"kind": type(outcome).__name__.lower(), **msgspec.structs.asdict(outcome)}
    if "value" in told:
        told["value"] = msgspec.Raw(tagged_json.encode(told["value"])[0])
    return told


def _said(outcome: Outcome) -> str:
    told = _outcome(outcome)
    if "value" in told:
        return bytes(told["value"]).decode()
    return f"{told['kind']}: {told['reason']}" if "reason" in told else str(told["kind"])
